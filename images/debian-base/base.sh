#!/bin/sh
# Makes the image: base.sh SUITE OUT.aci
#
# The environment may have MIRROR, SECURITY_MIRROR and PACKAGES, as the Makefile says. From the same state of the archive come
# the same bytes: nothing in the image is younger than the archive's Release file, or than SOURCE_DATE_EPOCH.
set -eu
cd "$(dirname "$0")"
suite=$1 out=$2
umask 022

fail() {
	echo "debian-base: $*" >&2
	exit 1
}

[ "$(uname -s)" = Linux ] || fail 'it takes Linux, since debootstrap runs the programs of what it installs'
[ "$(id -u)" -eq 0 ] || fail 'debootstrap takes root'
command -v debootstrap >/dev/null || fail 'debootstrap is missing: install it'

work=$(mktemp -d "${TMPDIR:-/var/tmp}/debian-base.XXXXXX")
root=$work/root
cleanup() {
	awk -v below="$root/" 'index($2, below) == 1 { print $2 }' /proc/self/mounts | sort -r | xargs -r umount -l
	rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Where this host has the packages of a suite from, if it does.
host_mirror() {
	command -v apt-get >/dev/null || return 0
	# shellcheck disable=SC2016 # apt-get's own variables
	apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Identifier: Packages' 2>/dev/null |
		awk -v suite="$1" '$1 == suite { sub(/\/$/, "", $2); print $2; exit }'
}

# A field of the Release file, which debootstrap has verified.
release() {
	cat "$root"/var/lib/apt/lists/*Release | sed -n "s/^$1: //p" | head -n 1
}

bootstrap() {
	mirror=${MIRROR:-$(host_mirror "$suite")}
	if [ -z "${http_proxy-}" ] && command -v apt-config >/dev/null; then
		proxy=
		eval "$(apt-config shell proxy Acquire::http::Proxy)"
		[ -z "$proxy" ] || export "http_proxy=$proxy"
	fi
	set -- --variant=minbase --force-check-gpg
	if [ -n "${PACKAGES-}" ]; then
		mkdir -p "$PACKAGES"
		set -- "$@" "--cache-dir=$(cd "$PACKAGES" && pwd)"
	fi
	# What is half made is thrown away, and so dpkg need not wait for the disk.
	DPKG_FORCE=unsafe-io debootstrap "$@" "$suite" "$root" ${mirror:+"$mirror"} >"$work/log" 2>&1 || {
		tail -n 10 "$work/log" >&2
		fail "debootstrap could not make $suite"
	}
}

add_security() {
	security=${SECURITY_MIRROR:-$(host_mirror "$suite-security")}
	case $(release Origin):$(release Suite) in
	Debian:*stable) security=${security:-http://deb.debian.org/debian-security} ;;
	esac
	[ -z "$security" ] || echo "deb $security $suite-security main" >>"$root/etc/apt/sources.list"
}

# Removes the user and the password of a mirror, which are the host's own.
forget_passwords() {
	sed -i -E 's,(://)[^/ ]*@,\1,g' "$root/etc/apt/sources.list"
}

# Nothing starts services in a pod, and so a package that is installed must not either.
forbid_services() {
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
}

# Removes what belongs to this host, to this hour, or to nobody.
clean() {
	(
		cd "$root"
		rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/*.log var/log/apt/* var/cache/ldconfig/* var/cache/debconf/*-old \
			var/lib/dpkg/*-old etc/*- etc/.pwd.lock etc/hostname etc/resolv.conf var/lib/dbus/machine-id run/* tmp/* dev/*
		: >etc/machine-id
		sed -i -E "s/^([^:]*:[^:]*):[0-9]+:/\\1:$((epoch / 86400)):/" etc/shadow
		find . -newermt "@$epoch" -exec touch -h -d "@$epoch" {} +
	)
}

bootstrap
epoch=${SOURCE_DATE_EPOCH:-$(date -u -d "$(release Date)" +%s)}
export SOURCE_DATE_EPOCH="$epoch"
add_security
forget_passwords
forbid_services
version=$(tr / - <"$root/etc/debian_version")
codename=$(release Codename)
arch=$(sh ../arch.sh "$(chroot "$root" dpkg --print-architecture)")
clean
sed -e "s|@VERSION@|$version|" -e "s|@CODENAME@|$codename|" -e "s|@ARCH@|$arch|" manifest.json.in >"$work/manifest"
# gzip takes seconds where xz takes minutes.
sh ../makeaci.sh -c gzip "$work/manifest" "$root" "$out"
