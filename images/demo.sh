#!/bin/sh
# Builds Jetpack and shows pods at work, in a store of its own that is removed afterwards; `make demo` calls it.
#
#   images/demo.sh PREFIX
set -eu
cd "$(dirname "$0")/.."
unset MAKEFLAGS MFLAGS MAKELEVEL
# The demo is the same whatever the host's configuration says.
export JETPACK_CONF=/dev/null
jetpack=${CARGO_TARGET_DIR:-target}/release/jetpack
images=images/busybox-base

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
	# shellcheck disable=SC2086 # a list of words
	"$jetpack" -o "root.path=$store" $storage "$@"
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

case $(uname -s) in
FreeBSD) storage='-o root.zfs= -o storage=dir' ;;
*) storage= && sh conf/packages.sh busybox make xz ;;
esac
sh conf/build.sh "$1"
work=$(mktemp -d "${TMPDIR:-/var/tmp}/jetpack-demo.XXXXXX")
store=$work/store
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say 'Making two images: a root filesystem, and the same with an app in it'
make -C $images

say 'Making a store'
if ! jet init; then
	storage='-o storage=dir'
	say 'overlayfs does not work here, so that pods get plain directories'
	jet init
fi

say 'Importing the images, which nobody has signed'
base=$(jet --insecure-options image import $images/busybox-base.aci)
demo=$(jet --insecure-options image import $images/busybox-demo.aci)
jet images

say 'Running the app as the user of its image, with arguments, environment and a working directory'
jet run --destroy --saveid "$work/pod" "$demo" --env COLOUR=blue --workdir /tmp -- one 'two words'
rm -f "$work/pod"

say 'And as another, whom the command line names'
jet run --destroy --saveid "$work/pod" "$base" --exec /bin/sh --user nobody --group nogroup -- -c 'id; pwd'
rm -f "$work/pod"

say 'An image without an app gives a console'
if [ -t 0 ]; then
	echo 'This is root in a pod of its own. To end it, and the demo with it: exit'
	jet run -t --destroy --saveid "$work/pod" "$base" || true
else
	echo "skipped, because stdin is no terminal; it would be: jetpack run -t --destroy busybox-base"
fi

say 'Done; the store of the demo is removed'
