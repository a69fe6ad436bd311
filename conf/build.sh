#!/bin/sh
# Builds the release executable for a prefix, and notes the prefix beside it for conf/install.sh.
#
#   conf/build.sh PREFIX
#   conf/build.sh --clean
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}

if [ "$1" = --clean ]; then
	rm -rf "$target" images/*/*.aci images/*/*.aci.id images/*/*.aci.id.files
	exit 0
fi

sh conf/packages.sh cargo cc
prefix=${1%/} # as conf/install.sh compares it
JETPACK_PREFIX=$prefix cargo build --locked --release
printf '%s\n' "$prefix" >"$target${CARGO_BUILD_TARGET:+/$CARGO_BUILD_TARGET}/release/.jetpack-prefix"
