#!/bin/sh
# Makes images with the make macros, in a store of its own that is removed afterwards; tests/check.sh calls it.
#
#   tests/images.sh macros MAKE [PART…]   the macros, on images of busybox and of small archives made here
#   tests/images.sh examples MAKE         IMAGES.md: each block of sh is run, and each that names a file is written there
#   tests/images.sh packages MAKE         of IMAGES.md what fetches packages, and whether the server in the image serves
#
# Exits with 77 when it cannot run here, and says why. It needs root and a built jetpack.
set -eu
cd "$(dirname "$0")/.."
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL JETPACK JETPACK_FLAGS
top=$PWD
case ${CARGO_TARGET_DIR-} in
/*) target=$CARGO_TARGET_DIR ;;
*) target=$top/${CARGO_TARGET_DIR:-target} ;;
esac
what=$1 make=$(command -v "$2")
shift 2
parts=${*:-builds_what_changed shows_its_surroundings writes_archives hands_values_on refuses_what_cannot_be_built downloads}

if [ "$(id -u)" -ne 0 ]; then
	echo 'skipped: images are built in pods, which takes root'
	exit 77
fi

work=$(mktemp -d "${TMPDIR:-/var/tmp}/jetpack-images.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Here `jetpack` and `make` are those under test, and the images lie outside of the sources.
mkdir "$work/bin"
ln -s "$target/release/jetpack" "$work/bin/jetpack"
ln -s "$make" "$work/bin/make"
cp -R images "$work/images"
rm -f "$work"/images/*/*.aci "$work"/images/*/*.aci.id*
export PATH="$work/bin:$PATH" JETPACK_SHARE="$work/images" JETPACK_CONF="$work/jetpack.conf"
export PACKAGES="${XDG_CACHE_HOME:-$HOME/.cache}/jetpack/debootstrap"
echo "root.path = $work/store" >"$JETPACK_CONF"
if ! jetpack init >/dev/null 2>&1; then
	echo 'storage = dir' >>"$JETPACK_CONF"
	jetpack init
fi
cd "$work"

fail() {
	echo "$*" >&2
	exit 1
}

expect() { # WHAT FOUND EXPECTED
	[ "$2" = "$3" ] || fail "$1: $2, and not $3"
}

# What a command says that has to fail.
failing() {
	if said=$("$@" 2>&1); then
		fail "it did not fail: $*: $said"
	fi
	printf '%s\n' "$said"
}

stored() {
	jetpack -q images | sort
}

# A folder with the build of an image of busybox: `folder NAME`, with more lines of its Makefile on standard input.
folder() {
	mkdir -p "$1"
	{
		cat
		echo 'include ../images/jetpack.image.mk'
	} >"$1/Makefile"
	echo 'echo built >/etc/built' >"$1/build.sh"
	echo "{ \"name\": \"test/$1\" }" >"$1/manifest.json"
}

builds_what_changed() {
	folder lower <<-'END'
		PARENT_IMAGE = busybox-base
	END
	folder upper <<-'END'
		PARENT_IMAGE = `cat ../lower/image.aci.id`
		BUILD_CP = ../extra
	END
	: >extra
	make -C lower
	make -C upper
	first=$(cat upper/image.aci.id)
	make -C upper | grep 'image.aci.id is up to date'
	expect 'nothing changed' "$(cat upper/image.aci.id)" "$first"
	for change in 'touch upper/build.sh' 'touch extra' 'touch upper/Makefile' 'make -C lower clean image'; do
		sleep 1 # an image of the same second would be the same image
		$change >/dev/null
		make -C upper >/dev/null
		second=$(cat upper/image.aci.id)
		[ "$first" != "$second" ] || fail "not built anew: $change"
		first=$second
	done
	jetpack destroy-image "$first"
	make -C upper
	jetpack show-image "$(cat upper/image.aci.id)" | grep 'test/upper'
	make -C upper clean
	expect 'after clean' "$(ls upper)" "Makefile
build.sh
manifest.json"
}

shows_its_surroundings() {
	make -C images/example.showenv
	pod=$(jetpack prepare -q example/showenv -- 'one more')
	jetpack run "$pod" >first
	jetpack run "$pod" >second
	jetpack destroy "$pod"
	cat first
	for line in 'Program: /usr/local/bin/showenv' 'Arguments: foo bar baz quux one more' 'I am: uid=1000(demo)' \
		'Working directory: /opt/data' "export FOO='bar'" '/opt/data ' 'pre-start id: uid=0(root)' 'post-stop id: none'; do
		grep -qF "$line" first || fail "not said: $line"
	done
	grep 'post-stop id: uid=0(root)' second
	! grep '^Metadata' first || fail 'there is no service of metadata'
}

writes_archives() {
	make -C images/example.showenv aci flat-aci ACI_FILE="$work/showenv.aci" FLAT_ACI_FILE="$work/flat.aci"
	id=$(cat showenv.aci.id)
	make -C images/example.showenv aci ACI_FILE="$work/showenv.aci"
	expect 'the id' "$(cat showenv.aci.id)" "$id"
	echo "root.path = $work/other" | cat "$JETPACK_CONF" - >other.conf
	sed -i.bak "s|^root.path = $work/store||" other.conf
	jetpack --config other.conf init
	jetpack --config other.conf --insecure-options image import flat.aci
	jetpack --config other.conf run --destroy example/showenv | grep 'I am: uid=1000(demo)'
	make -C images/busybox-base aci ACI_FILE="$work/copy.aci"
	cmp copy.aci images/busybox-base/busybox-base.aci
}

# Values get through make, the script and the pod unchanged.
hands_values_on() {
	folder values <<-'END'
		PARENT_IMAGE = busybox-base
		BUILD_VARS = ONE TWO UNSET FROM_OUTSIDE
		ONE = it's "one" $$HOME `id` \n
		TWO =
		BUILD_ARGS = 'an argument' second
	END
	# shellcheck disable=SC2016 # for the shell in the pod
	echo 'printf "<%s>" "$ONE" "${TWO-unset}" "${UNSET-unset}" "$FROM_OUTSIDE" "$@" >/etc/values' >values/build.sh
	FROM_OUTSIDE='a  b' make -C values
	expect 'values' "$(jetpack run --destroy test/values -- cat /etc/values)" \
		"<it's \"one\" \$HOME \`id\` \\n><><unset><a  b><an argument><second><ONE=it's \"one\" \$HOME \`id\` \\n><TWO=><FROM_OUTSIDE=a  b>"
}

refuses_what_cannot_be_built() {
	stored >before
	folder orphan </dev/null
	failing make -C orphan | grep 'image: PARENT_IMAGE is not set'
	failing make -C orphan aci | grep 'PARENT_IMAGE = NAME'
	make -C orphan clean tidy
	echo 'PARENT_IMAGE = nosuch' | folder lost
	failing make -C lost | grep nosuch
	echo 'PARENT_IMAGE = busybox-base' | folder broken
	echo 'echo now it breaks; exit 3' >broken/build.sh
	failing make -C broken flat-aci | grep 'now it breaks'
	echo 'PARENT_IMAGE = busybox-base' | folder unnamed
	rm unnamed/manifest.json
	failing make -C unnamed | grep 'manifest.json'
	printf 'PARENT_IMAGE = busybox-base\nPKG_INSTALL = nginx\n' | folder packages
	failing make -C packages | grep 'this image has none of them'
	for name in orphan lost broken unnamed packages; do
		! ls "$name"/*.aci* 2>/dev/null || fail "$name left files"
	done
	stored | diff before -
	expect 'pods' "$(jetpack list -H)" ''
	if [ "$(uname -s)" = Linux ]; then
		failing make -C images/portbuilder | grep 'it takes FreeBSD'
		failing make -C images/freebsd-base | grep 'NO_UPDATE=1'
	fi
}

# Small archives stand in for those that Ubuntu and FreeBSD publish.
downloads() {
	tarball=ubuntu-24.04-minimal-cloudimg-amd64-root.tar.xz
	mkdir -p published/u/etc/cloud published/u/bin published/f/bin published/f/etc
	printf 'VERSION_ID="24.04"\nVERSION_CODENAME=noble\n' >published/u/etc/os-release
	echo 'serial: 20250101' >published/u/etc/cloud/build.info
	echo 'USERLAND_VERSION="14.3-RELEASE-p2"' >published/f/bin/freebsd-version
	echo 'Components src world kernel' >published/f/etc/freebsd-update.conf
	tar -C published/u -cJf "published/$tarball" .
	tar -C published/f -cJf published/base.txz .
	ubuntu() { make -C images/ubuntu "$@" ARCH=amd64 "URL=file://$work/published/$tarball"; }
	freebsd() { make -C images/freebsd-base "$@" NO_UPDATE=1 "URL=file://$work/published"; }

	wrong=$(printf %064d 0)
	echo "$wrong *$tarball" >published/SHA256SUMS
	printf 'base.txz\t%s\t4\tbase\t"Base system (MANDATORY)"\ton\n' "$wrong" >published/MANIFEST
	failing ubuntu | grep "the one that was published is $wrong"
	failing freebsd | grep "the one that was published is $wrong"
	! ls images/ubuntu/*.tar.xz* images/freebsd-base/*.txz* images/ubuntu/*.aci images/freebsd-base/*.aci 2>/dev/null ||
		fail 'a wrong archive was kept'
	: >published/SHA256SUMS
	failing ubuntu | grep 'SHA256SUMS has no checksum'

	right=$(sha256sum <"published/$tarball" | cut -d ' ' -f 1)
	echo "$right *$tarball" >published/SHA256SUMS
	sed "s/$wrong/$(sha256sum <published/base.txz | cut -d ' ' -f 1)/" published/MANIFEST >manifest && mv manifest published/MANIFEST
	ubuntu
	jetpack show-image ubuntu | grep '24.04-20250101'
	freebsd image aci
	jetpack show-image freebsd-base | grep '14.3.2'
	xz -dc <published/base.txz >/dev/null
	gzip -dc images/freebsd-base/freebsd-14.3.aci | tar -xOf - rootfs/etc/freebsd-update.conf | grep 'Components world/base'

	# What was downloaded is not downloaded again.
	mv "published/$tarball" elsewhere
	ubuntu clean-files
	ubuntu SHA256="$right" && fail 'the tarball came from nowhere'
	mv elsewhere "published/$tarball"
	ubuntu
	rm -f images/ubuntu/*.aci "published/$tarball"
	ubuntu
}

# nginx as its image runs it, in a pod with a network of its own, asked from inside.
serves() {
	jetpack run --destroy --saveid pod example/nginx &
	server=$!
	until_true jetpack_runs_pod
	# shellcheck disable=SC2016 # for the shell in the pod
	until_true jetpack exec "$(cat pod)" /bin/bash -c \
		'exec 3<>/dev/tcp/127.0.0.1/80 && printf "GET / HTTP/1.0\r\n\r\n" >&3 && cat <&3' >page
	kill "$server"
	wait "$server" || true
	grep 'Welcome to nginx!' page
}

jetpack_runs_pod() {
	[ -s pod ] && jetpack list -H | grep "^$(cat pod).*running"
}

until_true() {
	left=100
	until "$@" 2>last-try; do
		left=$((left - 1))
		[ $left -gt 0 ] || fail "it never came true: $*: $(cat last-try)"
		sleep 0.1
	done
}

skip() {
	echo "skipped: $*"
	exit 77
}

# Writes the blocks of IMAGES.md into files `blocks/N`, and a list: N, the language, and the file or condition.
split_examples() {
	mkdir blocks
	awk '
		/^```[a-z]/ { n++; file = sprintf("blocks/%03d", n); language = substr($1, 4); printf "%03d %s %s\n", n, language, $2; printf "" >file; next }
		/^```$/ { close(file); file = "" }
		file != "" { print >file }' "$top/IMAGES.md"
}

# Runs the blocks of sh of one kind, and writes the files that blocks name.
run_examples() { # [network]
	split_examples >blocks.list
	[ "$(wc -l <blocks.list)" -gt 20 ] || fail 'IMAGES.md has lost its blocks'
	said=skipped
	while read -r block language about <&4; do
		case $language:$about in
		*:*/* | *:*.*)
			case $about in */*) mkdir -p "${about%/*}" ;; esac
			cp "blocks/$block" "$about"
			;;
		"sh:$1") said=$(sh -eux "blocks/$block" </dev/null) || fail "$said
block $block of IMAGES.md failed" ;;
		sh: | sh:network) said=skipped ;;
		text:)
			[ "$said" = skipped ] || [ "$(printf '%s\n' "$said" | tail -n "$(wc -l <"blocks/$block")")" = "$(cat "blocks/$block")" ] ||
				fail "$said
block $block of IMAGES.md promised something else"
			;;
		*) fail "block $block of IMAGES.md is of an unknown kind: $language $about" ;;
		esac
	done 4<blocks.list
}

fetch_packages() {
	[ "$(uname -s)" = Linux ] || skip 'debian-base takes Linux'
	command -v debootstrap >/dev/null || skip 'debootstrap is missing'
	apt-get -qq -o APT::Update::Error-Mode=any update >/dev/null 2>&1 || skip 'packages of Debian cannot be fetched'
	run_examples network
	jetpack run --destroy debian-base --exec /bin/cat -- /etc/os-release | grep '^ID=debian'
	serves
}

case $what in
macros)
	make -C images/busybox-base
	for part in $parts; do
		echo "- $part"
		$part
	done
	;;
examples) run_examples '' ;;
packages) fetch_packages ;;
*) fail "no such test: $what" ;;
esac
expect 'pods that are left' "$(jetpack list -H)" ''
