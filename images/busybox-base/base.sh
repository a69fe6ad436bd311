#!/bin/sh
# Makes the image: base.sh OUT.aci
#
# The root filesystem is busybox with a link for each of its commands, from Debian's package busybox-static; on FreeBSD it
# is the host's /rescue. The same program gives the same image, whoever builds it.
set -eu
cd "$(dirname "$0")"
out=$1
SOURCE_DATE_EPOCH=0
export SOURCE_DATE_EPOCH
umask 022

work=$(mktemp -d "${TMPDIR:-/var/tmp}/busybox-base.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
root=$work/root

# What every root has.
make_skeleton() {
	mkdir "$root"
	(cd "$root" && mkdir -p bin dev etc home/demo proc root run sbin sys tmp usr/bin usr/sbin usr/local/bin var/log var/run var/tmp)
	chmod 700 "$root/root"
	chmod 1777 "$root/tmp" "$root/var/tmp"
	cat >"$root/etc/group" <<-'END'
		root:x:0:
		daemon:x:1:
		demo:x:1000:
		nogroup:x:65534:
	END
	echo /bin/sh >"$root/etc/shells"
	# shellcheck disable=SC2016 # for the shell in the pod
	echo 'PS1='\''\u@\h:\w\$ '\' >"$root/etc/profile"
}

from_busybox() {
	busybox=$(command -v busybox) || { echo 'busybox is missing: install busybox-static' >&2 && exit 1; }
	if ldd "$busybox" 2>/dev/null | grep -q '=>'; then
		echo "$busybox needs shared libraries: install busybox-static" >&2
		exit 1
	fi
	cp "$busybox" "$root/bin/busybox"
	chmod 755 "$root/bin/busybox"
	"$busybox" --list-full >"$work/names"
	while read -r path; do
		case $path in
		bin/busybox) ;;
		usr/*/*) ln -s ../../bin/busybox "$root/$path" ;;
		bin/*) ln -s busybox "$root/$path" ;;
		*/*) ln -s ../bin/busybox "$root/$path" ;;
		esac
	done <"$work/names"
	cat >"$root/etc/passwd" <<-'END'
		root:x:0:0:root:/root:/bin/sh
		daemon:x:1:1:daemon:/usr/sbin:/bin/false
		demo:x:1000:1000:demo:/home/demo:/bin/sh
		nobody:x:65534:65534:nobody:/nonexistent:/bin/false
	END
	os=linux
	version=$("$busybox" | sed -n '1s/^BusyBox v\([^ ]*\).*/\1/p')
	homepage=https://busybox.net/
}

# /rescue is one program under many names. It keeps its place, because its shell looks there for commands; each name is
# linked from the directory where the host has that command too.
from_rescue() {
	rmdir "$root/sys" "$root/run"
	mkdir "$root/rescue"
	cp /rescue/sh "$root/rescue/sh"
	chmod 755 "$root/rescue/sh"
	for path in /rescue/*; do
		name=${path#/rescue/}
		[ "$name" = sh ] || ln "$root/rescue/sh" "$root/rescue/$name"
		case $(command -p -v "$name") in
		/sbin/*) ln -s "../rescue/$name" "$root/sbin/$name" ;;
		/usr/sbin/*) ln -s "../../rescue/$name" "$root/usr/sbin/$name" ;;
		/usr/bin/*) ln -s "../../rescue/$name" "$root/usr/bin/$name" ;;
		*) ln -s "../rescue/$name" "$root/bin/$name" ;;
		esac
	done
	sed -i '' -e 's/^root:/wheel:/' "$root/etc/group"
	cat >"$root/etc/master.passwd" <<-'END'
		root:*:0:0::0:0:root:/root:/bin/sh
		daemon:*:1:1::0:0:daemon:/root:/nonexistent
		demo:*:1000:1000::0:0:demo:/home/demo:/bin/sh
		nobody:*:65534:65534::0:0:nobody:/nonexistent:/nonexistent
	END
	chmod 600 "$root/etc/master.passwd"
	pwd_mkdb -p -d "$root/etc" "$root/etc/master.passwd"
	os=freebsd
	version=$(freebsd-version -u | sed 's/-.*//')
	homepage=https://www.freebsd.org/
	chflags -R 0 "$root"
}

make_skeleton
case $(uname -s) in
FreeBSD) from_rescue ;;
*) from_busybox ;;
esac
sed -e "s|@VERSION@|$version|" -e "s|@OS@|$os|" -e "s|@ARCH@|$(sh ../arch.sh)|" -e "s|@HOMEPAGE@|$homepage|" manifest.json.in >"$work/manifest"
TZ=UTC find "$root" -exec touch -h -t 197001010000.00 {} +
sh ../makeaci.sh -o 0:0 -o 1000:1000:/home/demo "$work/manifest" "$root" "$out"
