#!/bin/sh
# Makes the image as it was released: base.sh VERSION URL OUT.aci
#
# URL is the directory of base.txz and MANIFEST; nothing means the release's own. base.txz is kept in this
# folder. Its checksum is the one in MANIFEST, or $SHA256.
set -eu
cd "$(dirname "$0")"
version=$1 url=$2 out=$3
umask 022

fail() {
	echo "freebsd-base: $*" >&2
	exit 1
}

[ "$(id -u)" -eq 0 ] || fail 'only root can keep the owners of the files in base.txz'

# The processor as the release's directories have it: its kind, and its name.
case $(uname -m) in
x86_64 | amd64) processor=amd64/amd64 ;;
aarch64 | arm64) processor=arm64/aarch64 ;;
*) processor=$(uname -m)/$(uname -p) ;;
esac
url=${url:-https://download.freebsd.org/releases/$processor/$version-RELEASE}
if [ -z "${SHA256-}" ]; then
	sh ../download.sh "$url/MANIFEST" MANIFEST
	SHA256=$(awk '$1 == "base.txz" { print $2 }' MANIFEST)
	[ -n "$SHA256" ] || fail "MANIFEST has no checksum of base.txz"
fi
sh ../download.sh "$url/base.txz" "base-$version.txz" "$SHA256"

work=$(mktemp -d "${TMPDIR:-/var/tmp}/freebsd-base.XXXXXX")
cleanup() {
	if command -v chflags >/dev/null; then chflags -R 0 "$work"; fi
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
root=$work/root
mkdir "$root"
sh ../unpack.sh "base-$version.txz" "$root"

cp rc.conf "$root/etc/rc.conf"
conf=$root/etc/freebsd-update.conf # has nothing to do with a kernel or sources
sed 's|^Components.*|Components world/base|' "$conf" >"$work/conf"
cat "$work/conf" >"$conf"
for changed in etc/rc.conf etc/freebsd-update.conf etc .; do
	touch -r "$root/bin/freebsd-version" "$root/$changed"
done

# 14.3-RELEASE-p2 is 14.3.2, and 14.3-RELEASE is 14.3.0.
found=$(sed -n 's/^USERLAND_VERSION="\(.*\)"/\1/p' "$root/bin/freebsd-version" | sed -e 's/-[A-Z]*-p/./' -e 's/-RELEASE$/.0/')
sed -e "s|@VERSION@|$found|" -e "s|@ARCH@|$(sh ../arch.sh "${processor#*/}")|" manifest.json.in >"$work/manifest"
sh ../makeaci.sh -c gzip "$work/manifest" "$root" "$out"
