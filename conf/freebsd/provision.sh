#!/bin/sh
# Makes a fresh FreeBSD a host for pods, and shows Jetpack on it; the Vagrantfile calls it, and it may be repeated.
#
#   conf/freebsd/provision.sh [packages|pool|interface|firewall|jetpack|demo] ...
#
# Without arguments, all of them in this order. It changes /etc/rc.conf, and makes /etc/pf.conf where there is none: it is for
# a machine that is made to be thrown away.
set -eu
cd "$(dirname "$0")/../.."
[ "$(uname -s) $(id -u)" = 'FreeBSD 0' ] || { echo "$0: this is for root on FreeBSD" >&2 && exit 1; }
# What pods have as addresses: the range of the original Jetpack.
network=172.23.0.1/16

packages() {
	ASSUME_ALWAYS_YES=yes sh conf/packages.sh cargo
}

# The beginning of a disk; less than that where it cannot be read, such as a CD drive without a CD.
beginning() {
	dd if="/dev/$1" bs=1m count=4 2>/dev/null
}

# A disk that nothing has ever been written to.
empty_disk() {
	for disk in $(sysctl -n kern.disks | tr ' ' '\n' | sort); do
		if [ "$(beginning "$disk" | wc -c)" -eq 4194304 ] && [ "$(beginning "$disk" | LC_ALL=C tr -d '\0' | wc -c)" -eq 0 ]; then
			echo "$disk"
			return
		fi
	done
	echo 'no disk is empty, and there is no pool called zroot' >&2
	return 1
}

# The pool of Jetpack's default configuration.
pool() {
	sysrc zfs_enable=YES
	kldload -n zfs
	zpool list zroot >/dev/null 2>&1 || {
		disk=$(empty_disk)
		zpool create -m none -O canmount=off zroot "$disk"
	}
	zpool list zroot
}

# A loopback interface for the addresses of pods.
interface() {
	case " $(sysrc -n cloned_interfaces) " in
	*' lo1 '*) ;;
	*) sysrc cloned_interfaces+=lo1 ;;
	esac
	sysrc ifconfig_lo1="inet $network"
	ifconfig lo1 >/dev/null 2>&1 || ifconfig lo1 create
	ifconfig lo1 inet "$network" up
	ifconfig lo1
}

# Pods reach the world under the host's address.
firewall() {
	out=$(route -n get -inet default 2>/dev/null | awk '/interface:/ { print $2 }')
	[ -n "$out" ] || { echo 'there is no default route, and so nowhere to translate addresses to' >&2 && return 1; }
	[ -e /etc/pf.conf ] || cat >/etc/pf.conf <<-END
		set skip on { lo0 lo1 }
		nat on $out inet from lo1:network to any -> ($out)
		pass
	END
	pfctl -nf /etc/pf.conf
	sysrc pf_enable=YES
	service pf status >/dev/null 2>&1 || service pf start
	pfctl -s nat
}

# The other lines that `jetpack init` prints for rc.conf are there already.
jetpack() {
	make install
	/usr/local/bin/jetpack init --user
	sysrc jetpack_enable=YES
}

demo() {
	make demo
}

[ $# -gt 0 ] || set -- packages pool interface firewall jetpack demo
for part in "$@"; do
	case $part in
	packages | pool | interface | firewall | jetpack | demo) ;;
	*) echo "no part is called $part" >&2 && exit 1 ;;
	esac
	echo "--- $part"
	"$part"
done
