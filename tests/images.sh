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
parts=${*:-builds_what_changed shows_its_surroundings writes_archives signs_archives hands_values_on makes_parents runs_commands_in_the_pod
	keeps_the_last_id gives_owners refuses_what_cannot_be_built downloads}

if [ "$(id -u)" -ne 0 ]; then
	echo 'skipped: images are built in pods, which takes root'
	exit 77
fi

work=$(mktemp -d "${TMPDIR:-/var/tmp}/jetpack-images.XXXXXX")
server=
# Ends the server and destroys every pod before their files go; where something is still mounted, they stay.
cleanup() {
	code=$?
	trap '' INT TERM HUP
	cd /
	[ -z "$server" ] || kill "$server" 2>/dev/null || true
	wait
	if [ -d "$work/store" ]; then
		jetpack list -H 2>/dev/null | awk '{ print $1 }' | while read -r pod; do
			jetpack kill "$pod" >/dev/null 2>&1 || true
			jetpack destroy "$pod" >/dev/null 2>&1 || true
		done
	fi
	if mount | grep -qF " $work/"; then
		echo "something is still mounted below $work, which is therefore left" >&2
		exit 1
	fi
	if command -v chflags >/dev/null; then chflags -R 0 "$work"; fi
	rm -rf "$work"
	exit $code
}
trap cleanup EXIT
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

no_pods() {
	left=$(jetpack list -H)
	expect 'pods that are left' "$left" ''
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

# An archive is signed when there is a new one, and what is signed can be imported by who trusts the key.
signs_archives() {
	command -v gpg >/dev/null || { echo 'skipped: gpg is missing' && return; }
	export GNUPGHOME="$work/gnupg"
	mkdir -m 700 "$GNUPGHOME"
	gpg --batch --quiet --passphrase '' --quick-generate-key 'A Signer <signer@example.com>' ed25519 sign 0
	folder signed <<-'END'
		BASE_ACI = base.aci
		ACI_FILE = base.aci
		SIGNING_KEY = A Signer <signer@example.com>
		base.aci: ; cp ../images/busybox-base/busybox-base.aci $@
	END
	make -C images/busybox-base aci
	make -C signed aci
	cp signed/base.aci.asc first.asc
	make -C signed aci
	cmp signed/base.aci.asc first.asc
	sleep 1
	touch signed/base.aci
	make -C signed aci SIGNING_KEY=
	[ ! -e signed/base.aci.asc ] || fail 'the signature of an older archive is still there'
	make -C signed aci
	gpg --armor --export signer@example.com >signer.asc
	fingerprint=$(gpg --with-colons --list-keys signer@example.com | awk -F: '$1 == "fpr" { print $10; exit }')
	jetpack trust --root --fingerprint "$fingerprint" signer.asc
	jetpack import signed/base.aci
	jetpack untrust "$fingerprint"
	gpgconf --kill all
	make -C signed clean
	expect 'after clean' "$(ls signed)" "Makefile
build.sh
manifest.json"
}

# Values get through make, the script and the pod unchanged.
hands_values_on() {
	folder values <<-'END'
		PARENT_IMAGE = busybox-base
		BUILD_VARS = ONE TWO UNSET FROM_OUTSIDE DOLLAR
		ONE = it's "one" $$HOME `id` \n
		TWO =
		BUILD_ARGS = 'an argument' second
	END
	# shellcheck disable=SC2016 # for the shell in the pod
	echo 'printf "<%s>" "$ONE" "${TWO-unset}" "${UNSET-unset}" "$FROM_OUTSIDE" "$DOLLAR" "$@" >/etc/values' >values/build.sh
	# Make expands what comes from the environment as well.
	# shellcheck disable=SC2016 # for make
	FROM_OUTSIDE='a  b' DOLLAR='pa$$HOME' make -C values
	expect 'values' "$(jetpack run --destroy test/values -- cat /etc/values)" \
		"<it's \"one\" \$HOME \`id\` \\n><><unset><a  b><pa\$HOME><an argument><second><ONE=it's \"one\" \$HOME \`id\` \\n><TWO=><FROM_OUTSIDE=a  b><DOLLAR=pa\$HOME>"
}

# What was said about one image is not said about the one that it stands on; the store and the macros may have a space.
makes_parents() {
	mkdir -p 'with space'
	cp images/*.sh images/*.mk 'with space'
	sed "s|^root.path = .*|root.path = $work/with space/store|" "$JETPACK_CONF" >spaced.conf
	jetpack --config spaced.conf init
	jetpack --config spaced.conf --insecure-options image import images/busybox-base/busybox-base.aci
	cd 'with space'
	folder under <<-'END'
		PARENT_IMAGE ?= busybox-base
		BUILD_ARGS ?= default
		CLEAN_FILES ?= made
	END
	echo 'echo "$*" >/etc/values' >under/build.sh
	folder over <<-'END'
		PARENT_IMAGE = `cat ../under/image.aci.id`
		BUILD_ARGS = over
		prepare: ; @$(MAKE_PARENT) -C ../under
		spoil: ; @$(MAKE_PARENT) -C ../under clean
	END
	sed -i.bak 's|images/||' under/Makefile over/Makefile
	flags="--config '$work/spaced.conf' -o 'root.path=$work/with space/store'"
	make -C over "JETPACK_FLAGS=$flags" "ACI_ID_FILE='$work/with space/over.id'" BUILD_FLAGS='--net host'
	expect "the parent's arguments" \
		"$(jetpack --config "$work/spaced.conf" run --destroy test/under -- cat /etc/values)" default
	[ -s under/image.aci.id ] || fail "the parent's id is not where it belongs"
	[ "$(cat over.id)" != "$(cat under/image.aci.id)" ] || fail 'the ids are the same'
	touch under/made precious
	make -C over spoil ACI_FILE="$work/precious" CLEAN_FILES="$work/precious" TIDY_FILES="$work/precious"
	[ ! -e under/made ] || fail "the parent's own CLEAN_FILES did not count"
	cd "$work"
	[ -e 'with space/precious' ] || fail 'another folder removed what was said of this one'
}

# A command is a line for the shell in the pod, and no word is taken for anything else.
runs_commands_in_the_pod() {
	folder command <<-'END'
		PARENT_IMAGE = busybox-base
		BUILD_COMMAND = echo "it's $$0" >/etc/first && touch here && printf '<%s>' >/etc/values
		BUILD_ARGS = :5000 :command -- 'two words'
	END
	make -C command
	[ ! -e command/here ] || fail 'half of the command ran on the host'
	expect 'arguments' "$(jetpack run --destroy test/command -- cat /etc/values)" '<:5000><:command><--><two words>'
	expect 'the shell' "$(jetpack run --destroy test/command -- cat /etc/first)" "it's sh"
	folder plain <<-'END'
		PARENT_IMAGE = busybox-base
		BUILD_COMMAND = cd / && (echo "$$ONE" >/etc/one; exit 0)
	END
	make -C plain
	echo 'PARENT_IMAGE = busybox-base other' | folder two
	failing make -C two | grep 'PARENT_IMAGE is one word, and not: busybox-base other'
}

# An image that cannot be built leaves the id of the last one, and a file that is gone is a change.
keeps_the_last_id() {
	folder kept <<-'END'
		PARENT_IMAGE = busybox-base
		BUILD_CP = ../kept-extra
	END
	: >kept-extra
	: >kept/other
	make -C kept
	first=$(cat kept/image.aci.id)
	rm kept-extra
	failing make -C kept | grep kept-extra
	: >kept-extra
	sleep 1
	touch kept/build.sh
	failing make -C kept JETPACK=false
	failing make -C kept JETPACK_FLAGS="-o root.path=$work/nosuch"
	expect 'the id of the last image' "$(cat kept/image.aci.id)" "$first"
	make -C kept
	make -C kept | grep 'up to date'
	sleep 1
	rm kept/other
	make -C kept >said
	! grep 'up to date' said || fail 'a file that is gone is no change'
	: >kept/other
	make -C kept ACI_ID_FILE=o
	make -C kept ACI_ID_FILE=o | grep 'o is up to date'
	sleep 1
	rm kept/other
	make -C kept ACI_ID_FILE=o >said
	! grep 'up to date' said || fail 'a file whose name begins as the one of the id does was not looked at'
	rm kept/build.sh
	failing make -C kept
	base=$(cat images/busybox-base/busybox-base.aci.id)
	touch images/busybox-base/busybox-base.aci
	failing make -C images/busybox-base JETPACK=false
	expect 'the id of the base' "$(cat images/busybox-base/busybox-base.aci.id)" "$base"
	make -C images/busybox-base
}

makeaci() {
	sh images/makeaci.sh -c none -o 1:1 "$@"
}

# What tar lists, GNU's or bsdtar, as `UID NAME`.
owners_and_names() {
	awk '{ split($2, owner, "/"); sub(/\/$/, "", $NF); print $2 ~ "/" ? owner[1] : $3, $NF }' | LC_ALL=C sort -k 2
}

# The owners that makeaci gives, by each tar that is here.
gives_owners() {
	mkdir -p owned/bin/deep owned/a owned/b 'owned/*' owned/closed
	: >owned/bin/deep/file
	: >owned/a/file
	: >'owned/*/file'
	: >owned/closed/file
	echo '{}' >owned.json
	chmod a+x "$work"
	chmod -R a+rX owned owned.json images
	for tar in tar gtar bsdtar; do
		command -v "$tar" >/dev/null || continue
		echo "-- $tar"
		export TAR="$tar"
		failing makeaci -o 5:5:/nosuch owned.json owned owned.aci | grep nosuch
		failing makeaci -o 5:5:/bin -o 6:6:bin/ owned.json owned owned.aci | grep 'more than one owner is said for: bin'
		failing makeaci -o 5:5:/bin/../a owned.json owned owned.aci | grep "an owner's path has no . or .."
		! ls owned.aci* 2>/dev/null || fail 'it left an image'
		makeaci -o 5:5://bin// -o '6:6:/bin/deep/' -o '7:7:/*' owned.json owned owned.aci
		expect "names by $tar" "$(tar -tf owned.aci | sort | uniq -d)" ''
		expect "owners by $tar" "$(tar --numeric-owner -tvf owned.aci | owners_and_names)" '0 manifest
1 rootfs
7 rootfs/*
7 rootfs/*/file
1 rootfs/a
1 rootfs/a/file
1 rootfs/b
5 rootfs/bin
6 rootfs/bin/deep
6 rootfs/bin/deep/file
1 rootfs/closed
1 rootfs/closed/file'
		sh images/makeaci.sh -c none -o 8:8:/ owned.json owned all.aci
		expect "all by $tar" "$(tar --numeric-owner -tvf all.aci | grep -c 8.8)" 11
		rm -f owned.aci all.aci
		# A directory that cannot be read is not an empty one.
		if command -v setpriv >/dev/null; then
			chmod 700 owned/closed
			mkdir -m 777 -p others
			failing setpriv --reuid=65534 --regid=65534 --clear-groups sh images/makeaci.sh owned.json owned others/owned.aci | grep closed
			expect 'what it left' "$(ls others)" ''
			chmod 755 owned/closed
		fi
	done
	unset TAR
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
	no_pods
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
	: >published/u/bin/ping
	capability=
	if tar --version | grep -q GNU && setcap cap_net_raw+ep published/u/bin/ping 2>/dev/null; then capability=security.capability; fi
	tar -C published/u ${capability:+--xattrs "--xattrs-include=$capability"} -cJf "published/$tarball" .
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
	[ -z "$capability" ] || gzip -dc images/ubuntu/*.aci | tar --xattrs '--xattrs-include=*' -tvvf - | grep "$capability"
	freebsd image aci
	jetpack show-image freebsd-base | grep '14.3.2'
	xz -dc <published/base.txz >/dev/null
	gzip -dc images/freebsd-base/freebsd-14.3.aci | tar -xOf - rootfs/etc/freebsd-update.conf | grep 'Components world/base'

	# With a checksum of one's own, the kept file is enough.
	right_base=$(sha256sum <published/base.txz | cut -d ' ' -f 1)
	mv published/base.txz published/MANIFEST .
	rm -f images/freebsd-base/MANIFEST
	freebsd clean-files CLEAN_FILES=
	freebsd SHA256="$right_base"
	freebsd clean-files CLEAN_FILES=
	failing freebsd SHA256="$wrong" | grep 'cannot get'

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
	server=
	grep 'Welcome to nginx!' page
}

jetpack_runs_pod() {
	[ -s pod ] && jetpack list -H | grep "^$(cat pod).*running"
}

until_true() {
	tries=100
	until "$@" 2>last-try; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || fail "it never came true: $*: $(cat last-try)"
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
no_pods
