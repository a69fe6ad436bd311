#!/bin/sh
# Part of run.sh: what is mounted in a jail, volumes of the host, and images of Linux.
# shellcheck disable=SC2154 # programs, work, store and here are run.sh's

# The mounts of the host at and below a directory: kinds and places, one a line.
mounts_at() {
	mount -p | awk -v at="$1" '$2 == at || index($2, at "/") == 1 { print $3, $2 }' | sort
}

# Makes $work/source: a directory with a file in it, and below it a tmpfs in a tmpfs, and a devfs.
make_source() {
	source=$work/source
	mkdir -p "$source/deep" "$source/dev"
	mount -t tmpfs tmpfs "$source/deep"
	mkdir "$source/deep/more"
	mount -t tmpfs tmpfs "$source/deep/more"
	mount -t devfs devfs "$source/dev"
	echo top >"$source/file"
	echo deep >"$source/deep/file"
	echo more >"$source/deep/more/file"
}

unmount_source() {
	umount "$source/dev"
	umount "$source/deep/more"
	umount "$source/deep"
	rm -rf "$source"
	expect 'mounts of the source' "$(mounts_at "$source")" ''
	expect 'leftovers' "$(leftovers)" ''
}

host_volumes() {
	make_source
	# shellcheck disable=SC2016 # for the shell in the pod
	said=$(jetpack run --destroy -v "data:$source" busybox-base -m data:/data -- sh -c '
		cat /data/file /data/deep/file /data/deep/more/file; ls /data/dev; for at in /data /data/deep /data/deep/more; do echo new >$at/new; done' 2>"$work/err")
	cat "$work/err"
	expect 'inside' "$said" "$(printf 'top\ndeep\nmore')"
	expect 'told' "$(cat "$work/err")" "jetpack: warning: $source/dev is not shown at /data/dev: it is a devfs"
	expect 'outside' "$(cat "$source/new" "$source/deep/new" "$source/deep/more/new")" "$(printf 'new\nnew\nnew')"
	unmount_source
}

host_volumes_limited() {
	make_source
	cp /rescue/id "$source/id"
	chmod 4755 "$source/id"
	# shellcheck disable=SC2016 # for the shell in the pod
	script='cat /data/file /data/deep/file /data/deep/more/file; for at in /data /data/deep /data/deep/more; do (: >$at/new) 2>/dev/null && echo $at; done; :'
	expect 'read-only' "$(jetpack -q run --destroy -v "-data:$source" busybox-base -m data:/data -- sh -c "$script")" "$(printf 'top\ndeep\nmore')"
	expect 'read-only root' "$(jetpack -q run --destroy -v "-data:$source" busybox-base --readonly-rootfs -m data:/data -- sh -c "$script")" "$(printf 'top\ndeep\nmore')"
	expect 'alone' "$(jetpack run --destroy -v "data,kind=host,source=$source,recursive=false" busybox-base -m data:/data -- \
		sh -c 'cat /data/file; ls /data/deep')" top
	expect 'set-user-ID' "$(jetpack -q run --destroy -v "data:$source" busybox-base --user demo --group demo -m data:/data -- /data/id -u)" 1000
	expect 'in a devfs' "$(code_of jetpack -q run --destroy -v "data:$source/dev" busybox-base -m data:/data -- true 2>"$work/err")" 125
	grep -q 'is in a devfs' "$work/err"
	unmount_source
}

file_as_volume() {
	mkdir -p "$work/files"
	echo one >"$work/files/one"
	code=0
	said=$(jetpack run --destroy -v "-one:$work/files/one" busybox-base -m one:/etc/hello -m one:/new/deep/one -- \
		sh -c 'cat /etc/hello /new/deep/one; (: >/etc/hello) 2>/dev/null || echo stays' 2>"$work/err") || code=$?
	cat "$work/err"
	if [ "$(uname -U)" -lt 1400000 ]; then
		expect 'refused' "$code" 125
	else
		expect 'inside' "$said" "$(printf 'one\none\nstays')"
		# Not in another volume of the host's, where nothing holds its place.
		expect 'in a volume' "$(code_of jetpack run --destroy -v "all:$work/files" -v "one:$work/files/one" busybox-base -m all:/all -m one:/all/two -- true 2>"$work/err")" 125
		grep -q 'mount the directory that the file is in' "$work/err"
	fi
	rm -rf "$work/files"
	expect 'leftovers' "$(leftovers)" ''
}

shared_volume() {
	mkdir -p "$work/shared"
	pod=$(jetpack prepare -v "data:$work/shared" busybox-base -m data:/data -- sh -c 'echo ready >/data/ready; while :; do sleep 0.1; done')
	jetpack run "$pod" &
	runner=$!
	wait_for 20 test -s "$work/shared/ready"
	expect 'other pod' "$(jetpack run --destroy -v "data:$work/shared" busybox-base -m data:/there -- sh -c 'cat /there/ready; echo other >/there/other')" ready
	expect 'first pod' "$(jetpack exec "$pod" cat /data/other)" other
	# What is mounted on the host later is not there.
	mkdir "$work/shared/later"
	mount -t tmpfs tmpfs "$work/shared/later"
	touch "$work/shared/later/file"
	expect 'later' "$(jetpack exec "$pod" ls /data/later)" ''
	jetpack kill "$pod"
	wait "$runner" || true
	expect 'then' "$(jetpack exec "$pod" ls /data/later)" file
	umount "$work/shared/later"
	jetpack destroy "$pod"
	expect 'source' "$(ls "$work/shared")" "$(printf 'later\nother\nready')"
	rm -rf "$work/shared"
	expect 'leftovers' "$(leftovers)" ''
}

# Whoever writes to a volume may put a link at the place of a mount point in it.
links_in_shared_volume() {
	mkdir -p "$work/linked" "$work/outside-of-it"
	mount -p >"$work/before"
	for to in "$work/outside-of-it" ../../../../../../../../../../../../etc /dev /; do
		ln -sfn "$to" "$work/linked/place"
		code_of jetpack -q run --destroy -v "data:$work/linked" -v own busybox-base -m data:/data -m own:/data/place -- sh -c 'echo x >/data/place/x'
	done
	expect 'outside' "$(ls -A "$work/outside-of-it")" ''
	mount -p | diff "$work/before" -
	rm -rf "$work/linked" "$work/outside-of-it"
	expect 'leftovers' "$(leftovers)" ''
}

# Whoever writes to a volume may put a link in the place of what is another pod's volume, at the moment when that is mounted.
links_for_sources() {
	mkdir -p "$work/all/sub" "$work/outside-of-it"
	echo right >"$work/all/sub/file"
	echo wrong >"$work/outside-of-it/file"
	ln -s "$work/outside-of-it" "$work/all/link"
	(cd "$work/all" && while [ ! -e stop ]; do mv sub real && mv link sub && mv sub link && mv real sub; done) &
	flipping=$!
	pod=''
	until [ -n "$pod" ]; do pod=$(jetpack -q prepare -v "data:$work/all/sub" busybox-base -m data:/data -- cat /data/file 2>/dev/null) || :; done
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		jetpack -q run "$pod" 2>&1 || :
	done >"$work/said"
	touch "$work/all/stop"
	wait "$flipping" || :
	sort "$work/said" | uniq -c
	expect 'through a link' "$(grep -c wrong "$work/said")" 0
	jetpack destroy "$pod"
	rm -rf "$work/all" "$work/outside-of-it"
	expect 'leftovers' "$(leftovers)" ''
}

volumes_after_kill() {
	make_source
	pod=$(jetpack -q prepare -v "data:$source" busybox-base -m data:/data -- sh -c 'echo ready; sleep 300 & wait')
	jetpack -q run "$pod" >"$work/out" &
	runner=$!
	wait_for 20 grep -q ready "$work/out"
	expect 'mounted' "$(mounts_at "$store" | awk '{ print $1 }' | sort | uniq -c | awk '{ print $1, $2 }')" \
		"$(printf '1 devfs\n1 fdescfs\n3 nullfs')"
	mount -p | awk -v store="$store" 'index($2, store) == 1 && $3 == "nullfs" && $4 !~ /nosuid/ { print; bad = 1 } END { exit bad }'
	kill -KILL "$runner"
	wait "$runner" || true
	wait_for 20 is_exited "$pod"
	expect 'mounts' "$(mounts_at "$store")" ''
	jetpack destroy "$pod"
	expect 'files' "$(cat "$source/file" "$source/deep/more/file")" "$(printf 'top\nmore')"
	unmount_source
}

sources_of_volumes() {
	mkdir -p "$work/real"
	ln -s real "$work/alias"
	for bad in "$work/none" "$work/alias" "$store" "$work" "$store/pods" /dev/null; do
		expect "$bad" "$(code_of jetpack prepare -v "data:$bad" busybox-base -m data:/data 2>"$work/err")" 125
		grep -q 'cannot be the volume data' "$work/err"
		grep -q '^help: ' "$work/err"
	done
	code_of jetpack prepare -v "data:$work/alias" busybox-base -m data:/data 2>"$work/err"
	grep -qF "source=$(realpath "$work/real")" "$work/err"
	pod=$(jetpack -q prepare -v "data:$work/real" busybox-base -m data:/data -- true)
	rmdir "$work/real"
	expect 'gone' "$(code_of jetpack run "$pod" 2>"$work/err")" 125
	grep -q 'there is no such directory' "$work/err"
	jetpack destroy "$pod"
	rm "$work/alias"
	expect 'leftovers' "$(leftovers)" ''
}

# without_modules KIND COMMAND…: runs a command while the kernel finds no module of that name; 77 if it cannot do without.
without_modules() {
	kind=$1
	shift
	if kldstat -q -m "$kind" && ! kldunload "$kind"; then return 77; fi
	path=$(sysctl -n kern.module_path)
	sysctl kern.module_path="$work" >/dev/null || return 77
	"$@"
	found=$?
	sysctl kern.module_path="$path" >/dev/null
	return "$found"
}

descriptors_in_dev() {
	# shellcheck disable=SC2016 # for the shell in the pod
	script='echo there >/root/x; exec 7</root/x; read -r line </dev/fd/7; echo $line'
	expect 'descriptors' "$(in_pod "$script")" there
	code=$(code_of without_modules fdescfs in_pod 'ls /dev/fd' 2>"$work/err")
	cat "$work/err"
	said=$(printf '%s\n' "$code" | sed '$d' | tr '\n' ' ')
	code=$(printf '%s\n' "$code" | tail -n 1)
	[ "$code" -ne 77 ] || skip 'the module fdescfs cannot be taken away here'
	expect 'exit code' "$code" 0
	expect 'without' "$said" '0 1 2 '
	grep -q 'cannot mount fdescfs at /dev/fd: the kernel has no module fdescfs' "$work/err"
	expect 'again' "$(in_pod "$script")" there
	expect 'leftovers' "$(leftovers)" ''
}

procfs_on_request() {
	kldstat -q -m procfs || [ -e /boot/kernel/procfs.ko ] || skip 'the kernel has no procfs'
	# shellcheck disable=SC2016 # for the shell in the pod
	script='{ read -r name rest </proc/$$/status && echo "$name"; } 2>/dev/null || echo none'
	expect 'unless asked for' "$(in_pod "$script")" none
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
	expect 'inside' "$(printf '%s\n' "$said" | sed '3d; /^[0-9]*$/d')" "$(printf 'Linux\nName:\tbusybox\nx\n/sys/class')"
	printf '%s\n' "$said" | grep -qx 7
	printf '%s\n' "$said" | grep -qx 1777
	printf '%s\n' "$said" | sed -n 3p | grep -q ' / '
	pod=$(jetpack -q prepare linux -- 'echo ready; while :; do :; done')
	jetpack run "$pod" >"$work/out" &
	runner=$!
	wait_for 20 grep -q ready "$work/out"
	expect 'mounts' "$(mounts_at "$store" | awk '{ print $1 }' | tr '\n' ' ')" 'devfs fdescfs linprocfs linsysfs tmpfs '
	expect 'exec' "$(jetpack exec "$pod" /bin/uname -s)" Linux
	kill -KILL "$runner"
	wait "$runner" || true
	wait_for 20 is_exited "$pod"
	expect 'after SIGKILL' "$(mounts_at "$store")" ''
	code=$(code_of without_modules linprocfs jetpack exec "$pod" /bin/uname -s 2>"$work/err")
	if [ "$code" != 77 ]; then
		expect 'without linprocfs' "$code" 125
		grep -q 'cannot mount linprocfs at /proc: the kernel has no module linprocfs' "$work/err"
		grep -q '^help: .kldload linprocfs. loads it' "$work/err"
	fi
	expect 'after an error' "$(mounts_at "$store")" ''
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
