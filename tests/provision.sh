#!/bin/sh
# Tests which disk conf/freebsd/provision.sh takes for a pool, with stand-ins for the disks of a FreeBSD.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d "${TMPDIR:-/var/tmp}/jetpack-provision.XXXXXX")
trap 'rm -rf "$work"' EXIT
sed -n '/^beginning()/,/^}/p; /^empty_disk()/,/^}/p' conf/freebsd/provision.sh | sed "s|/dev/|$work/|" >"$work/script"
# shellcheck disable=SC2016 # for the script
echo 'sysctl() { echo "vtbd0 da1 da0 cd0 md0"; }; dd() { command dd "$1" bs=1048576 count=4; }; empty_disk' >>"$work/script"

# da0 is in use, cd0 has no CD, md0 is too small.
truncate -s 8M "$work/da0" "$work/da1" "$work/vtbd0"
echo label | command dd of="$work/da0" bs=512 seek=100 conv=notrunc 2>/dev/null
truncate -s 1M "$work/md0"
[ "$(sh "$work/script" 2>/dev/null)" = da1 ]
cp "$work/da0" "$work/da1"
[ "$(sh "$work/script" 2>/dev/null)" = vtbd0 ]
cp "$work/da0" "$work/vtbd0"
if sh "$work/script" >"$work/said" 2>&1; then exit 1; fi
grep -q 'no disk is empty' "$work/said"
