#!/bin/sh
# Builds Jetpack and shows pods at work, in a store of its own that is removed afterwards; `make demo` calls it.
#
#   images/demo.sh PREFIX MAKE
set -eu
cd "$(dirname "$0")/.."
unset MAKEFLAGS MFLAGS MAKELEVEL
# The demo is the same whatever the host's configuration says.
export JETPACK_CONF=/dev/null
jetpack=${CARGO_TARGET_DIR:-target}/release/jetpack
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

say 'Making a store'
if ! jet init; then
	storage='-o storage=dir'
	say 'overlayfs does not work here, so that pods get plain directories'
	jet init
fi

say 'Building an image: an app, on a root filesystem of one program'
JETPACK_FLAGS="-o root.path=$store $storage" "$make" -C images/example.showenv
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
