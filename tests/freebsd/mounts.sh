# shellcheck shell=sh
# Part of run.sh: what is mounted in a jail, and images of Linux.
# shellcheck disable=SC2154 # programs, work, store and here are run.sh's

# The mounts of the host at and below a directory: kinds and places, one a line.
mounts_at() {
	mount -p | awk -v at="$1" '$2 == at || index($2, at "/") == 1 { print $3, $2 }' | sort
}

# without_modules KIND COMMAND…: runs a command while the kernel finds no module of that name; 77 if it cannot do without.
without_modules() {
	kind=$1
	shift
	if kldstat -q -m "$kind" && ! kldunload "$kind"; then return 77; fi
	path=$(sysctl -n kern.module_path)
	sysctl -q kern.module_path="$work" || return 77
	"$@"
	found=$?
	sysctl -q kern.module_path="$path"
	return "$found"
}

descriptors_in_dev() {
	expect 'descriptors' "$(in_pod 'exec 7</etc/passwd; ls /dev/fd | grep -c "^7$"; head -n 1 /dev/fd/7 | cut -c 1-4' 2>&1)" "$(printf '1\nroot')"
	without_modules fdescfs in_pod 'ls /dev/fd' >"$work/out" 2>"$work/err" || skip 'the module fdescfs cannot be taken away here'
	cat "$work/err"
	expect 'without' "$(tr '\n' ' ' <"$work/out")" '0 1 2 '
	grep -q 'cannot mount fdescfs at /dev/fd: the kernel has no module fdescfs' "$work/err"
	expect 'again' "$(in_pod 'exec 7</etc/passwd; ls /dev/fd | grep -c "^7$"')" 1
	expect 'leftovers' "$(leftovers)" ''
}

procfs_on_request() {
	kldstat -q -m procfs || [ -e /boot/kernel/procfs.ko ] || skip 'the kernel has no procfs'
	# shellcheck disable=SC2016 # for the shell in the pod
	script='cat /proc/$$/status 2>/dev/null | cut -d " " -f 1 || echo none'
	expect 'unless asked for' "$(in_pod "$script")" ''
	expect 'asked for' "$(jetpack run --destroy -a jetpack/procfs=true busybox-base -- sh -c "$script")" sh
	expect 'leftovers' "$(leftovers)" ''
}

# An image of one program of Linux's.
import_linux() {
	[ -x "$programs/linux-busybox" ] || skip 'the host that linked these programs had no busybox'
	case $(uname -m) in
	amd64) arch=amd64 ;;
	*) skip "there is no busybox for a $(uname -m)" ;;
	esac
	rm -rf "$work/linux"
	mkdir -p "$work/linux/bin" "$work/linux/etc"
	cp "$programs/linux-busybox" "$work/linux/bin/busybox"
	for name in sh cat ls uname grep stat touch id; do ln -s busybox "$work/linux/bin/$name"; done
	echo 'root:x:0:0::/root:/bin/sh' >"$work/linux/etc/passwd"
	cat >"$work/manifest" <<-END
		{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "linux", "labels": [{"name": "os", "value": "linux"},
		{"name": "arch", "value": "$arch"}], "app": {"exec": ["/bin/sh", "-c"], "user": "0", "group": "0"}}
	END
	sh "$here/images/makeaci.sh" -c none "$work/manifest" "$work/linux" "$work/linux.aci"
	jetpack --insecure-options image import "$work/linux.aci"
}

linux_without_module() {
	if kldstat -q -m linux64elf; then skip 'the kernel has the module linux64 already'; fi
	import_linux
	expect 'refused' "$(code_of jetpack run linux -- 'uname -a' 2>"$work/err")" 125
	cat "$work/err"
	grep -q 'is made for linux/amd64, and this host is freebsd/amd64, whose kernel has no module linux64' "$work/err"
	# shellcheck disable=SC2016 # no command of this one's
	grep -q '^help: `kldload linux64` loads it' "$work/err"
	jetpack destroy-image linux
	expect 'leftovers' "$(leftovers)" ''
}

linux_image() {
	loaded=
	if ! kldstat -q -m linux64elf; then
		kldload linux64 2>/dev/null || skip 'the kernel has no module linux64'
		loaded=yes
	fi
	import_linux
	# shellcheck disable=SC2016 # for the shell in the pod
	script='uname -s; grep ^Name: /proc/self/status; cat /proc/mounts; exec 7</etc/passwd; ls /dev/fd/ | grep 7; stat -c "%a" /dev/shm
		touch /dev/shm/x && ls /dev/shm; ls -d /sys/class; grep -c processor /proc/cpuinfo; ls /dev/mem 2>/dev/null; id -u'
	said=$(jetpack run --destroy linux -- "$script")
	printf '%s\n' "$said"
	expect 'inside' "$(printf '%s\n' "$said" | sed '3d; /^[0-9]*$/d')" "$(printf 'Linux\nName:\tgrep\nx\n/sys/class')"
	printf '%s\n' "$said" | grep -qx 7
	printf '%s\n' "$said" | grep -qx 1777
	printf '%s\n' "$said" | sed -n 3p | grep -q ' / '
	pod=$(jetpack -q prepare linux -- 'echo ready; while :; do :; done')
	jetpack run "$pod" >"$work/out" &
	runner=$!
	wait_for 20 grep -q ready "$work/out"
	expect 'mounts' "$(mounts_at "$store" | awk '{ print $1 }' | tr '\n' ' ')" 'devfs fdescfs tmpfs linprocfs linsysfs '
	expect 'exec' "$(jetpack exec "$pod" /bin/uname -s)" Linux
	kill -KILL "$runner"
	wait "$runner" || true
	wait_for 20 is_exited "$pod"
	expect 'after SIGKILL' "$(mounts_at "$store")" ''
	expect 'again' "$(jetpack exec "$pod" /bin/uname -s)" Linux
	if [ -n "$loaded" ]; then
		for kind in linprocfs linsysfs linux64; do kldunload "$kind" 2>/dev/null || true; done
	fi
	if ! kldstat -q -m linux64elf; then
		expect 'without the module' "$(code_of jetpack run "$pod" 2>"$work/err")" 125
		grep -q 'has no module linux64' "$work/err"
	fi
	jetpack destroy "$pod"
	jetpack destroy-image linux
	expect 'leftovers' "$(leftovers)" ''
}
