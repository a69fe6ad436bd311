#!/bin/sh
# Builds Jetpack and shows pods at work, in a store of its own that is removed afterwards; `make demo` calls it.
#
#   images/demo.sh PREFIX MAKE
set -eu
cd "$(dirname "$0")/.."
# The demo is the same whatever the host's configuration and the environment say.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL JETPACK JETPACK_FLAGS PARENT_IMAGE BASE_ACI BUILD_DIR BUILD_CP BUILD_VARS \
	BUILD_ARGS BUILD_COMMAND BUILD_FLAGS PKG_INSTALL ACI_FILE ACI_ID_FILE FLAT_ACI_FILE CLEAN_FILES TIDY_FILES
case ${CARGO_TARGET_DIR-} in
/*) jetpack=$CARGO_TARGET_DIR/release/jetpack ;;
*) jetpack=$PWD/${CARGO_TARGET_DIR:-target}/release/jetpack ;;
esac
make=$2

say() {
	printf '\n*** %s\n' "$*"
}

# Shows a jetpack command as it would be typed, and runs it on the demo's store.
jet() {
	{
		printf '\n$ jetpack'
		for word in "$@"; do
			case $word in *[!-a-zA-Z0-9./_=]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
		done
		echo
	} >&2
	quiet_jet "$@"
}

quiet_jet() {
	"$jetpack" "$@"
}

# Destroys what an interrupted demo may have left, and then the store; where something is still mounted in it, it stays.
cleanup() {
	code=$?
	trap '' INT TERM HUP
	[ ! -s "$work/pod" ] || quiet_jet destroy "$(cat "$work/pod")" >/dev/null 2>&1 || true
	if mount | grep -qF " $work/"; then
		echo "something is still mounted below $work, which is therefore left" >&2
		exit 1
	fi
	if command -v chflags >/dev/null; then chflags -R 0 "$work"; fi
	rm -rf "$work"
	exit $code
}

if [ "$(id -u)" -ne 0 ]; then
	echo 'make demo: a pod is made of mounts and namespaces, or of a jail, which takes root: run it as root' >&2
	exit 1
fi

[ "$(uname -s)" = FreeBSD ] || sh conf/packages.sh busybox make xz
sh conf/build.sh "$1"
work=$(mktemp -d "${TMPDIR:-/var/tmp}/jetpack-demo.XXXXXX")
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A store and a folder of images of its own: in the folder of the sources, ids would be left of images that are gone.
mkdir "$work/bin"
ln -s "$jetpack" "$work/bin/jetpack"
cp -R images "$work/images"
rm -f "$work"/images/*/*.aci "$work"/images/*/*.aci.id*
export PATH="$work/bin:$PATH" JETPACK_CONF="$work/jetpack.conf"
echo "root.path = $work/store" >"$JETPACK_CONF"
[ "$(uname -s)" != FreeBSD ] || printf 'root.zfs =\nstorage = dir\n' >>"$JETPACK_CONF"

say 'Making a store'
if ! jet init; then
	echo 'storage = dir' >>"$JETPACK_CONF"
	say 'overlayfs does not work here, so that pods get plain directories'
	jet init
fi

say 'Building an image: an app, on a root filesystem of one program'
"$make" -C "$work/images/example.showenv"
jet images

say 'Running the app, which tells what it sees: its user, arguments, environment, mounts, and a volume with handlers'
jet run --destroy --saveid "$work/pod" example/showenv --env COLOUR=blue -- one 'two words'
rm -f "$work/pod"

say 'And another program, as another user'
jet run --destroy --saveid "$work/pod" example/showenv --exec id --user nobody --group nogroup --workdir /
rm -f "$work/pod"

say 'An image without an app gives a console'
if [ -t 0 ]; then
	echo 'This is root in a pod of its own. To end it, and the demo with it: exit'
	jet run -t --destroy --saveid "$work/pod" busybox-base || true
else
	echo "skipped, because stdin is no terminal; it would be: jetpack run -t --destroy busybox-base"
fi

say 'Done; the store of the demo is removed'
