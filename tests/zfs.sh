#!/bin/sh
# Runs a command where tests find ZFS pools of their own: tests/zfs.sh COMMAND…
#
# A pool is a file. Where the kernel has no ZFS, Debian's zfs-fuse serves it, in a mount namespace of its own, so that neither
# a pool nor a daemon of the host's is touched, and that the pool goes with the command, however it ends. The command finds
#
#   JETPACK_TEST_ZFS        the name of the pool; its own root is not mounted
#   JETPACK_TEST_ZFS_OTHER  the name of another, as if it were another host's
#   JETPACK_TEST_ZFS_LOG    a file with the arguments of each zfs(8) that was started, a line each
#
# Where none can be had, the command runs without, and finds the reason in JETPACK_TEST_NO_ZFS.
set -u

without() {
	JETPACK_TEST_NO_ZFS=$1
	export JETPACK_TEST_NO_ZFS
	shift
	exec "$@"
}

# Begins again in a mount namespace, in which the rest is done.
if [ -z "${JETPACK_ZFS_WORK:-}" ]; then
	[ "$(uname -s)" = Linux ] || without 'this script knows Linux only' "$@"
	[ "$(id -u)" -eq 0 ] || without 'only root can make a pool' "$@"
	[ -c /dev/fuse ] || without 'there is no /dev/fuse' "$@"
	for command in zfs-fuse zpool zfs unshare setpriv flock; do
		command -v "$command" >/dev/null || without "$command is missing" "$@"
	done
	unshare --mount --propagation private true 2>/dev/null || without 'mount namespaces are not allowed here' "$@"
	JETPACK_ZFS_WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/jetpack-zfs.XXXXXX") || exit 1
	export JETPACK_ZFS_WORK
	trap 'rm -rf "$JETPACK_ZFS_WORK"' EXIT
	# Not in the background, where the command would ignore interrupts. Who ends this ends the group, and so the command, too.
	trap : TERM HUP INT
	unshare --mount --propagation private sh "$0" "$@"
	exit $?
fi

work=$JETPACK_ZFS_WORK
unset JETPACK_ZFS_WORK
daemon=
trap '[ -z "$daemon" ] || { kill -KILL "$daemon" && wait "$daemon"; } 2>/dev/null' EXIT
trap 'exit 143' TERM HUP INT

# Waits for a command to succeed, for ten seconds.
wait_for() {
	left=100
	until "$@" >/dev/null 2>&1; do
		left=$((left - 1))
		[ "$left" -gt 0 ] || return 1
		sleep 0.1
	done
}

# The daemon listens, and keeps what it knows, in places of this namespace only.
start_daemon() {
	for place in /run/zfs /etc/zfs /var/lib/zfs; do
		mkdir -p "$place" && mount -t tmpfs -o mode=0700 tmpfs "$place" || return 1
	done
	# FUSE would take mounts off below a directory that somebody may not search, if the kernel did not check that itself.
	setpriv --pdeathsig KILL zfs-fuse --no-daemon --no-kstat-mount --enable-xattr -m 64 -o default_permissions >"$work/daemon.log" 2>&1 &
	daemon=$!
	wait_for zpool list
}

# A zfs(8) that writes down how it is called, in the place of the real one. One works at a time: when two datasets are mounted at
# once, the daemon takes the one for a part of the other, and answers nobody any more.
watch_program() {
	program=$(readlink -f "$(command -v zfs)")
	cp "$program" "$work/zfs"
	: >"$work/log"
	cat >"$work/wrapper" <<-EOF
		#!/bin/sh
		echo "\$*" >>$work/log
		exec flock --no-fork $work/log $work/zfs "\$@"
	EOF
	chmod 755 "$work/wrapper"
	mount --bind "$work/wrapper" "$program"
}

# Whether the daemon does what the tests need first of all.
works() {
	mkdir "$work/probe" &&
		zfs create -o mountpoint="$work/probe" "$pool/probe" && echo x >"$work/probe/x" && grep -q x "$work/probe/x" &&
		zfs snapshot "$pool/probe@x" && zfs clone "$pool/probe@x" "$pool/clone" &&
		zfs destroy "$pool/clone" && wait_for zfs destroy -r "$pool/probe" # busy, until the daemon has seen the unmount
}

pool=jetpack$$
other=${pool}other
start_daemon || without "the daemon does not start: $(tail -n 1 "$work/daemon.log")" "$@"
for name in "$pool" "$other"; do
	truncate -s 4G "$work/$name" || exit 1
	zpool create -O mountpoint=none -O canmount=off "$name" "$work/$name" >"$work/zpool.log" 2>&1 ||
		without "no pool can be made: $(tail -n 1 "$work/zpool.log")" "$@"
done
works >"$work/zfs.log" 2>&1 || without "datasets do not work: $(tail -n 1 "$work/zfs.log")" "$@"
watch_program || without 'zfs cannot be watched' "$@"
JETPACK_TEST_ZFS=$pool JETPACK_TEST_ZFS_OTHER=$other JETPACK_TEST_ZFS_LOG=$work/log "$@"
code=$?
if ! kill -0 "$daemon" 2>/dev/null; then
	wait "$daemon"
	echo "zfs-fuse has died (exit code $?) and said: $(tail -n 3 "$work/daemon.log")"
	daemon=
fi
"$work/zfs" list -H -o name -r "$pool" "$other" | grep / | sed 's/^/left in the pool: /'
exit $code
