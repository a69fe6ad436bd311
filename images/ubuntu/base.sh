#!/bin/sh
# Makes the image: base.sh URL ARCH OUT.aci
#
# The tarball is kept in this folder. Its checksum is the one in SHA256SUMS beside it, or $SHA256.
set -eu
cd "$(dirname "$0")"
url=$1 arch=$2 out=$3
tarball=${url##*/}
umask 022

fail() {
	echo "ubuntu: $*" >&2
	exit 1
}

[ "$(id -u)" -eq 0 ] || fail 'only root can keep the owners of the files in the tarball'

if [ -z "${SHA256-}" ]; then
	sh ../download.sh "${url%/*}/SHA256SUMS" SHA256SUMS
	SHA256=$(awk -v file="$tarball" '$2 == file || $2 == "*" file { print $1 }' SHA256SUMS)
	[ -n "$SHA256" ] || fail "SHA256SUMS has no checksum of $tarball"
fi
sh ../download.sh "$url" "$tarball" "$SHA256"

work=$(mktemp -d "${TMPDIR:-/var/tmp}/ubuntu.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
root=$work/root
mkdir "$root"
sh ../unpack.sh "$tarball" "$root"

# A field of a file of NAME=VALUE.
field() {
	sed -n "s/^$1[=:] *//p" "$2" 2>/dev/null | tr -d '"' | head -n 1
}

version=$(field VERSION_ID "$root/etc/os-release")
[ -n "$version" ] || fail "$tarball is no root filesystem: it has no etc/os-release"
codename=$(field VERSION_CODENAME "$root/etc/os-release")
serial=$(field serial "$root/etc/cloud/build.info" || true)

# What a pod has of its own, and nothing that starts services when a package is installed.
(cd "$root" && rm -rf etc/hostname etc/resolv.conf dev/* run/* tmp/*)
mkdir -p "$root/usr/sbin"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
for changed in . etc dev run tmp usr usr/sbin usr/sbin/policy-rc.d; do
	[ ! -e "$root/$changed" ] || touch -r "$root/etc/os-release" "$root/$changed"
done

sed -e "s|@VERSION@|$version${serial:+-$serial}|" -e "s|@CODENAME@|$codename|" -e "s|@ARCH@|$(sh ../arch.sh "$arch")|" \
	manifest.json.in >"$work/manifest"
sh ../makeaci.sh -c gzip "$work/manifest" "$root" "$out"
