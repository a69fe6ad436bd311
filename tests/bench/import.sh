#!/bin/sh
# shellcheck disable=SC2154 # what run.sh sets
# Import of a whole root of Debian's, beside the single stages of it and beside those who do the same; run.sh reads this.
#
# Decompressing, hashing and unpacking overlap, so that an import should take little longer than the slowest of them alone.

suite=${BENCH_SUITE:-bookworm}
packages=build-essential,git,python3,vim

# The root, as one tar archive and as an image in each compression.
make_root() {
	[ -e "$data/root.tar" ] && return
	echo "making a root of $suite" >&2
	debootstrap --variant=minbase --include="$packages" "$suite" "$work/root" >"$work/log" 2>&1 || { tail -n 3 "$work/log" >&2 && return 1; }
	rm -rf "$work/root/var/cache/apt" "$work/root/var/lib/apt/lists"
	mkdir "$work/aci" && mv "$work/root" "$work/aci/rootfs"
	cat >"$work/aci/manifest" <<-'EOF'
		{ "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "bench/root" }
	EOF
	tar -C "$work/aci" --numeric-owner -cf "$data/new.tar" manifest rootfs
	xz -T2 -c "$data/new.tar" >"$data/root.xz"
	gzip -c "$data/new.tar" >"$data/root.gz"
	zstd -q -c "$data/new.tar" >"$data/root.zst"
	if has umoci skopeo; then
		tar -C "$work/aci/rootfs" --numeric-owner -cf "$work/layer.tar" .
		umoci init --layout "$data/oci"
		umoci new --image "$data/oci:root"
		umoci raw add-layer --image "$data/oci:root" "$work/layer.tar"
		skopeo copy -q "oci:$data/oci:root" "oci-archive:$data/oci.tar"
	fi
	rm -rf "$work/aci" "$work/layer.tar"
	mv "$data/new.tar" "$data/root.tar"
}

run_jetpack() {
	echo "'$jetpack' -q --config '$work/etc/jetpack.conf'"
}

sign() {
	gpg --homedir "$work/gpg" --batch --quiet --yes --pinentry-mode loopback --passphrase '' "$@"
}

# A store, and a key that may sign what is imported. Where there is no GnuPG, everything comes in unsigned.
make_store() {
	mkdir "$work/etc"
	printf 'root.path = %s\nstorage = overlay\n' "$work/store" >"$work/etc/jetpack.conf"
	eval "$(run_jetpack) init" >/dev/null
	has gpg || return 0
	mkdir -m 700 "$work/gpg"
	sign --quick-generate-key bench@example.com ed25519 sign 0 2>"$work/log"
	sign --armor --export >"$work/key.asc"
	for file in xz gz zst; do sign --armor --output "$work/$file.asc" --detach-sign "$data/root.$file"; done
	gpgconf --homedir "$work/gpg" --kill gpg-agent
	fingerprint=$(sign --with-colons --list-keys | awk -F : '$1 == "fpr" { print $10; exit }')
	eval "$(run_jetpack) trust --prefix bench --fingerprint $fingerprint '$work/key.asc'" >/dev/null
}

# The imports of one compression: FILE DECOMPRESSOR
imports() {
	import="$(run_jetpack) --insecure-options image import '$data/$1'"
	empty="$(run_jetpack) destroy-image bench/root 2>/dev/null || true"
	remove="rm -rf '$work/out' && mkdir '$work/out'"
	contender "jetpack import root.$2" "$import" "$empty"
	if [ -e "$work/$2.asc" ]; then
		contender 'the same, signed' "$(run_jetpack) import --sig '$work/$2.asc' '$data/$1'" "$empty"
		contender 'sha512sum (of the compressed file)' "sha512sum '$data/$1'"
	fi
	contender "$3 -dc >/dev/null" "$3 -dc '$data/$1'"
	contender 'sha512sum (of the tar)' "sha512sum '$data/root.tar'"
	contender 'tar -xf (of the tar)' "tar -C '$work/out' -xf '$data/root.tar'" "$remove"
	if [ "$2" = gz ] && [ -e "$data/oci.tar" ]; then
		contender 'umoci unpack' "umoci unpack --image '$data/oci:root' '$work/bundle'" "rm -rf '$work/bundle'"
		if has podman; then
			podman="podman --root '$work/podman' --runroot '$work/podman.run' --storage-driver overlay"
			contender 'podman load' "$podman load -q -i '$data/oci.tar'" "$podman rmi -a -f || true"
		fi
	fi
	table "import of $(du -m "$data/root.tar" | cut -f 1) MB, $3"
}

leave() {
	umount "$work/podman/overlay" 2>/dev/null
}

if has debootstrap xz gzip zstd && make_root; then
	make_store
	imports root.xz xz xz
	imports root.gz gz gzip
	imports root.zst zst zstd
fi
