#!/bin/sh
# Part of run.sh: images and pods that move between stores.
# shellcheck disable=SC2154 # programs, work and pool are run.sh's

# A store beside the other one, in the same pool: whatever a stream builds on is there twice.
there() {
	"$programs/jetpack" -o "root.zfs=$pool/there" -o "root.path=$work/there" --insecure-options image "$@"
}

# The names of what is in that store.
in_there() {
	zfs list -H -o name -r "$pool/there" | sed -n "s|^$pool/there/||p" | grep / || true
}

bring_from_another_kind() {
	need_pool
	pod=$(jetpack -q prepare busybox-base -- true)
	there init --from "$store" >"$work/said"
	grep -q '^copied [1-9][0-9]* images* from .*; 0 here already, [1-9][0-9]* pods* left there$' "$work/said" || { cat "$work/said" && false; }
	expect 'images' "$(there -q images | sort)" "$(jetpack -q images | sort)"
	expect 'run' "$(there run --destroy busybox-base -- echo here)" here
	there init --from "$store" | grep -q '^copied 0 images '
	jetpack destroy "$pod"
	# Each after those that depend on it.
	for _ in 1 2 3; do
		there -q images | while read -r image; do there destroy-image "$image" 2>/dev/null || true; done
	done
	expect 'left' "$(in_there)" ''
}

# Makes an image `top` on busybox-base in the store that packages come from.
make_two_images() {
	on_zfs import "$work/base.aci" >/dev/null
	mkdir -p "$work/two"
	echo '{"name": "top"}' >"$work/two/manifest.json"
	(cd "$work/two" && on_zfs -o images.aci.compression=none build busybox-base sh -c 'echo top >/etc/top; chmod 4751 /etc/top; rm /etc/shells')
}

move_images() {
	need_pool
	make_two_images >"$work/id"
	on_zfs export --zfs busybox-base "$work/base.package"
	on_zfs export --zfs --incremental top "$work/top.package"
	on_zfs export --zfs top - | gzip -1 >"$work/whole.package.gz"
	there import "$work/base.package"
	there import "$work/top.package" >"$work/there-id"
	expect 'id' "$(cat "$work/there-id")" "$(cat "$work/id")"
	base=$(zfs list -H -o name -d 1 "$pool/there/images" | grep /sha512-)
	top=$(zfs list -H -o name -d 1 "$pool/there/images" | grep /rendered-)
	expect 'origin' "$(zfs get -H -o value origin "$top")" "$base@seal"
	expect 'properties' "$(zfs get -H -o value readonly,canmount,mountpoint "$top" | tr '\n' ' ')" \
		"on noauto $work/there/layers/${top##*/} "
	# shellcheck disable=SC2016 # for the shell in the pod
	look='cat /etc/top; set -- $(ls -l /etc/top); echo "$1"; ls /etc/shells 2>/dev/null || echo gone'
	expect 'files' "$(there run --destroy top -- sh -c "$look")" "$(printf 'top\n-rwsr-x--x\ngone')"
	there export top "$work/top-there.aci"
	on_zfs export top "$work/top.aci"
	cmp "$work/top-there.aci" "$work/top.aci"
	there destroy-image top
	there import - <"$work/whole.package.gz"
	top=$(zfs list -H -o name -d 1 "$pool/there/images" | grep /rendered-)
	expect 'a whole one' "$(zfs get -H -o value origin "$top")" '-'
	expect 'its files' "$(there run --destroy top -- sh -c "$look")" "$(printf 'top\n-rwsr-x--x\ngone')"
}

move_pods() {
	need_pool
	pod=$(on_zfs -q prepare busybox-base --disk 1G -- sh -c 'cat /kept 2>/dev/null; echo again >>/kept')
	on_zfs run "$pod"
	on_zfs export --zfs "$pod" "$work/pod.package"
	on_zfs export --zfs --incremental "$pod" "$work/increment.package"
	[ "$(stat -f %z "$work/increment.package")" -lt "$(stat -f %z "$work/pod.package")" ]
	expect 'snapshots' "$(zfs list -H -o name -t snapshot -r "$pool/store/pods" | grep -c @sent)" 0
	for package in pod increment; do
		expect 'UUID' "$(there import "$work/$package.package")" "$pod"
		expect 'here already' "$(code_of there import "$work/$package.package" 2>/dev/null)" 125
		app=$pool/there/pods/$pod/app.busybox-base
		expect 'properties' "$(zfs get -H -o value canmount,jetpack:app,refquota,mounted "$app" | tr '\n' ' ')" \
			'noauto busybox-base 1G no '
		expect 'run there' "$(there run "$pod")" again
		there destroy "$pod"
	done
	expect 'run here' "$(on_zfs run "$pod")" again
	on_zfs destroy "$pod"
	# Nothing that a run has put beside its files goes along.
	pod=$(on_zfs -q prepare busybox-base --readonly-rootfs -- sh -c 'echo read')
	on_zfs run "$pod"
	on_zfs export --zfs "$pod" | there import -
	expect 'read-only' "$(there run "$pod")" read
	there destroy "$pod"
	on_zfs destroy "$pod"
	there destroy-image top
	there destroy-image busybox-base
	expect 'left' "$(in_there)" ''
}

# refuse_stream WHAT EXPECTED: a package of busybox-base with standard input for its stream.
refuse_stream() {
	cat >"$work/forged/tree.zfs"
	(cd "$work/forged" && tar --format ustar -cf ../forged.package jetpack.json image.aci tree.zfs)
	expect "$1" "$(code_of there import "$work/forged.package" 2>"$work/err")" 125
	grep -q "$2" "$work/err" || { cat "$work/err" && false; }
	expect "left of $1" "$(in_there)" ''
}

forged_packages() {
	need_pool
	mkdir -p "$work/forged"
	tar -C "$work/forged" -xf "$work/base.package"
	good=$work/good.zfs
	mv "$work/forged/tree.zfs" "$good"
	expect 'a bare stream' "$(code_of there import "$good" 2>"$work/err")" 125
	grep -q 'is a bare stream of zfs(8)' "$work/err"
	head -c 100000 "$good" | refuse_stream 'a stream cut short' 'cannot run .*zfs receive'
	seal=$(zfs list -H -o name -t snapshot -r "$pool/store/images" | grep '/sha512-.*@seal')
	zfs create -o "mountpoint=$work/forge" "$pool/forge"
	zfs clone "$seal" "$pool/forge/x"
	echo root2::0:0::0:0::/:/bin/sh >>"$work/forge/x/tree/etc/passwd"
	zfs snapshot "$pool/forge/x@x"
	zfs send "$pool/forge/x@x" | refuse_stream 'another file' 'the stream is not what the archive makes: "etc/passwd"'
	zfs send -p "$pool/forge/x@x" | refuse_stream 'properties' 'several snapshots, or has properties'
	zfs send -R "$pool/forge/x@x" | refuse_stream 'a package' 'several snapshots, or has properties'
	zfs send -i "$seal" "$pool/forge/x@x" | refuse_stream 'an increment' 'it is an increment'
	zfs create -V 1M "$pool/forge/volume"
	zfs snapshot "$pool/forge/volume@x"
	zfs send "$pool/forge/volume@x" | refuse_stream 'a volume' 'not of a filesystem'
	zfs destroy -r "$pool/forge"
	# Newer ways to send it are as good.
	zfs send -Lec "$seal" >"$work/forged/tree.zfs"
	(cd "$work/forged" && tar --format ustar -cf ../forged.package jetpack.json image.aci tree.zfs)
	there import "$work/forged.package"
	there destroy-image busybox-base
	on_zfs destroy-image top
	on_zfs destroy-image busybox-base
	expect 'left there' "$(in_there)" ''
	expect 'left here' "$(datasets)" ''
}
