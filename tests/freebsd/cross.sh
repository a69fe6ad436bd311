#!/bin/sh
# Checks and links Jetpack for FreeBSD with the toolchain of toolchain.sh.
#
#   tests/freebsd/cross.sh toolchain   make the toolchain, if it is not there (exit 77: it cannot be had)
#   tests/freebsd/cross.sh clippy      every target, warnings denied
#   tests/freebsd/cross.sh link        target/freebsd/: jetpack, the test programs tests-lib, tests-bin, tests-NAME, and
#                                      linux-busybox, where this host has a busybox
set -eu
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
toolchain=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/jetpack/freebsd-cross

cross() {
	# shellcheck disable=SC1091
	. "$toolchain/env"
	command=$1
	shift
	CARGO_TARGET_DIR=$target/cross CARGO_PROFILE_DEV_DEBUG=0 \
		cargo-zigbuild "$command" --locked --features testing --target x86_64-unknown-freebsd "$@"
}

# Copies the executables that cargo names on stdin, each under its kind's name.
collect() {
	mkdir -p "$target/freebsd"
	sed -n 's/.*"kind":\["\([a-z]*\)"\].*"name":"\([^"]*\)".*"executable":"\([^"]*\)".*/\1 \2 \3/p' |
		while read -r kind name path; do
			case $kind:$path in
			test:*) copy "$path" "tests-$name" ;;
			*/deps/*) copy "$path" "tests-$kind" ;;
			*) copy "$path" "$name" ;;
			esac
		done
}

copy() {
	cp "$1" "$target/freebsd/$2"
	echo "$target/freebsd/$2"
}

case $1 in
toolchain) sh tests/freebsd/toolchain.sh "$toolchain" ;;
clippy) cross clippy --all-targets -- -D warnings ;;
link)
	messages=$(cross zigbuild --bins --tests --message-format=json-render-diagnostics)
	printf '%s\n' "$messages" | collect
	# A program of Linux's, for pods of its images.
	if [ -x /bin/busybox ]; then copy /bin/busybox linux-busybox; fi
	;;
esac
