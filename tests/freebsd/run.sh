#!/bin/sh
# The tests on a real FreeBSD: run.sh [DIRECTORY]
#
# DIRECTORY (default: target/freebsd beside these sources) holds what `tests/freebsd/cross.sh link` made: the program
# `jetpack` and test programs. Nothing else is needed but the base system: no cargo, no packages, no network. Run it as root;
# it makes its store below TMPDIR (default /var/tmp) and leaves the host as it found it.
#
# The last line is `N passed, N failed, N skipped`; the exit code is 0 when nothing failed. Every skip says why.
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
programs=$(cd "${1:-$here/target/freebsd}" && pwd) || exit 1
if [ "$(uname -s)" != FreeBSD ]; then
	echo 'skipped: this is not FreeBSD'
	echo '0 passed, 0 failed, 1 skipped'
	exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
	echo 'skipped: only root can make jails'
	echo '0 passed, 0 failed, 1 skipped'
	exit 0
fi

work=$(mktemp -d "${TMPDIR:-/var/tmp}/jetpack-freebsd.XXXXXX") || exit 1
store=$work/store
pool='' disk=''
passed=0 failed=0 skipped=0
# Jails that are not of these tests.
others=$(jls jid 2>/dev/null | tr '\n' ' ')
trap 'clean_up' EXIT
trap 'exit 130' INT TERM HUP

# Takes away what a failed test left, so that the host is as it was in any case.
clean_up() {
	for jid in $(jls -N name jid 2>/dev/null | awk '/^jetpack\// { print $NF }'); do
		case " $others " in *" $jid "*) ;; *) jail -r "$jid" ;; esac
	done
	mount -p | awk -v work="$work" 'index($2, work) == 1 { print $2 }' | sort -r | while read -r target; do
		umount -f "$target"
	done
	if [ -n "$pool" ]; then
		mount -p | awk -v store="$work/zfs" 'index($2, store) == 1 && $3 != "zfs" { print $2 }' | sort -r | xargs -n 1 umount -f
		zpool destroy -f "$pool"
	fi
	[ -z "$disk" ] || mdconfig -d -u "$disk"
	chflags -R 0 "$work" 2>/dev/null
	rm -rf "$work"
}

jetpack() {
	"$programs/jetpack" -o root.zfs= -o storage=dir -o "root.path=$store" "$@"
}

# check NAME COMMAND…: runs a test in a shell of its own; its output is shown when it fails. 77 means skipped.
check() {
	name=$1
	shift
	(
		set -e
		"$@"
	) >"$work/log" 2>&1
	case $? in
	0) passed=$((passed + 1)) && echo "ok: $name" ;;
	77) skipped=$((skipped + 1)) && tail -n 1 "$work/log" ;;
	*) failed=$((failed + 1)) && echo "FAILED: $name" && sed 's/^/    /' "$work/log" ;;
	esac
}

skip() {
	echo "skipped: $name: $*"
	exit 77
}

# expect WHAT IS SHOULD-BE
expect() {
	[ "$2" = "$3" ] || {
		printf '%s: is\n%s\nshould be\n%s\n' "$1" "$2" "$3"
		return 1
	}
}

# The exit code of a command, without stopping the test.
code_of() {
	code=0
	"$@" || code=$?
	echo "$code"
}

# in_pod COMMAND: what a shell in a new pod prints.
in_pod() {
	jetpack run --destroy busybox-base -- sh -c "$1"
}

# What jails and mounts of ours the host has, and what pods the store.
leftovers() {
	jls -N name | grep '^jetpack/' || true
	mount -p | awk -v store="$store" 'index($2, store) == 1'
	jetpack -q list
}

wait_for() { # SECONDS COMMAND…
	left=$(($1 * 10))
	shift
	until "$@"; do
		left=$((left - 1))
		[ "$left" -gt 0 ] || return 1
		sleep 0.1
	done
}

image_of_rescue() {
	sh "$here/images/busybox-base/base.sh" "$work/base.aci"
}

store_and_import() {
	jetpack init
	jetpack init | grep 'there is a store'
	expect 'mode of the store' "$(stat -f %Lp "$store")" 700
	expect 'unsigned' "$(code_of jetpack import "$work/base.aci")" 125
	jetpack --insecure-options image import "$work/base.aci"
	id=$(xz -dc "$work/base.aci" | sha512 -q)
	expect 'id' "$(jetpack images -l -H | awk '/busybox-base/ { print $1 }')" "sha512-$id"
	jetpack show-image busybox-base
	jetpack image-manifest busybox-base | grep '"ImageManifest"'
}

user_and_arguments() {
	# shellcheck disable=SC2016 # for the shell in the pod
	said=$(jetpack run --destroy busybox-base --exec /bin/sh --user demo --group demo -- -c 'id; printf "[%s]\n" "$@"' sh one 'two words')
	printf '%s\n' "$said"
	printf '%s\n' "$said" | grep -q '^uid=1000(demo) gid=1000(demo)'
	printf '%s\n' "$said" | grep -qF '[two words]'
}

isolation() {
	# shellcheck disable=SC2016 # for the shell in the pod
	said=$(in_pod 'sysctl -n security.jail.jailed; hostname; pwd; sysctl -n kern.securelevel; ls /dev; echo end of dev; ps -ax -o pid=')
	printf '%s\n' "$said"
	expect 'jailed' "$(printf '%s\n' "$said" | head -n 1)" 1
	printf '%s\n' "$said" | sed -n 2p | grep -Eq '^[0-9a-f-]{36}$'
	expect 'directory' "$(printf '%s\n' "$said" | sed -n 3p)" /
	expect 'securelevel' "$(printf '%s\n' "$said" | sed -n 4p)" 2
	# devfs ruleset 4 hides disks and memory.
	devices=$(printf '%s\n' "$said" | sed -n '5,/^end of dev$/p')
	for hidden in mem kmem io md0 vtbd0 ada0 da0 bpf pf; do
		if printf '%s\n' "$devices" | grep -qx "$hidden"; then echo "$hidden is visible" && return 1; fi
	done
	printf '%s\n' "$devices" | grep -qx null
	# The shell, ps and the agent: nothing of the host.
	[ "$(printf '%s\n' "$said" | sed '1,/^end of dev$/d' | wc -l)" -le 3 ]
}

# Without its rules the ruleset hides nothing: no jail is made then.
ruleset_must_have_rules() {
	devfs rule -s 4 show >"$work/rules"
	[ -s "$work/rules" ] || skip 'the devfs ruleset 4 is not loaded here'
	devfs rule -s 4 delset
	code=$(code_of in_pod ':')
	sed 's/^[0-9]* //' "$work/rules" | while read -r rule; do
		# shellcheck disable=SC2086 # the words of a rule
		devfs rule -s 4 add $rule
	done
	expect 'exit code' "$code" 125
	expect 'rules' "$(devfs rule -s 4 show | wc -l)" "$(wc -l <"$work/rules")"
	in_pod ':'
}

host_out_of_reach() {
	sleep 60 &
	pid=$!
	said=$(in_pod "kill -0 $pid 2>&1; mount -t tmpfs tmpfs /tmp 2>&1; sysctl kern.hostname=changed 2>&1; hostname changed; hostname" || true)
	kill "$pid"
	printf '%s\n' "$said"
	printf '%s\n' "$said" | grep -q 'No such process'
	printf '%s\n' "$said" | grep -qi 'not permitted'
	[ "$(hostname)" != changed ]
}

no_network_or_the_hosts() {
	expect 'none' "$(in_pod 'ifconfig lo0' | grep inet || true)" ''
	jetpack run --destroy --net host busybox-base -- ifconfig lo0 | grep 'inet 127.0.0.1'
}

no_descriptor_of_the_hosts() {
	exec 7</etc/passwd 9</etc/group
	# shellcheck disable=SC2016 # for the shell in the pod
	said=$(jetpack run --destroy busybox-base -- sh -c 'for n in 3 4 5 6 7 8 9; do (: <&$n) 2>/dev/null && echo "open: $n"; done; :')
	exec 7<&- 9<&-
	expect 'descriptors' "$said" ''
}

users() {
	run() { jetpack run --destroy busybox-base --exec id "$@"; }
	expect 'by name' "$(run --user demo --group demo | sed 's/ groups=.*//')" 'uid=1000(demo) gid=1000(demo)'
	expect 'by number' "$(run --user 1234 --group 4321 | sed 's/ groups=.*//')" 'uid=1234 gid=4321'
	expect 'by path' "$(run --user /home/demo --group /home/demo -- -u)" 1000
	expect 'unknown' "$(code_of run --user nosuch)" 125
	# shellcheck disable=SC2016 # for the shell in the pod
	expect 'environment' "$(in_pod 'echo $PATH $AC_APP_NAME $container $HOME')" \
		'/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin busybox-base jetpack /root'
}

exit_codes() {
	expect 'own' "$(code_of in_pod 'exit 3')" 3
	# shellcheck disable=SC2016 # for the shell in the pod
	expect 'killed' "$(code_of in_pod 'kill -9 $$')" 137
	expect 'not there' "$(code_of jetpack run busybox-base --exec nosuch)" 127
	expect 'not executable' "$(code_of jetpack run busybox-base --exec /etc/passwd)" 126
	expect 'no such directory' "$(code_of jetpack run busybox-base --exec /bin/sh --workdir /nosuch)" 125
	expect 'leftovers' "$(leftovers)" ''
}

input_and_output() {
	head -c 300000 /dev/random >"$work/bytes"
	jetpack run --destroy busybox-base -- cat <"$work/bytes" >"$work/copy"
	cmp "$work/bytes" "$work/copy"
	expect 'stderr' "$(in_pod 'echo out; echo err >&2' 2>/dev/null)" out
	expect 'early close' "$(in_pod 'while :; do echo y; done' 2>&1 | head -n 1)" y
}

read_only_root() {
	said=$(jetpack run --destroy busybox-base --readonly-rootfs -- sh -c '(: >/x) 2>&1; [ -e /etc/resolv.conf ] && echo there' || true)
	printf '%s\n' "$said"
	printf '%s\n' "$said" | grep -q 'Read-only'
	[ ! -e /etc/resolv.conf ] || printf '%s\n' "$said" | grep -q there
}

runs_again() {
	pod=$(jetpack prepare busybox-base -- sh -c 'cat /var/run-count 2>/dev/null; echo again >>/var/run-count')
	expect 'state' "$(jetpack list -H | awk -v pod="$pod" '$1 == pod { print $2 }')" prepared
	expect 'first' "$(jetpack run "$pod")" ''
	expect 'second' "$(jetpack run "$pod")" again
	expect 'state' "$(jetpack list -H | awk -v pod="$pod" '$1 == pod { print $2 }')" exited
	expect 'in use' "$(code_of jetpack destroy-image busybox-base)" 125
	jetpack destroy "$pod"
	expect 'leftovers' "$(leftovers)" ''
}

signals_reach_the_app() {
	# shellcheck disable=SC2016 # for the shell in the pod
	jetpack run --destroy busybox-base -- sh -c 'trap "echo got it; exit 7" TERM; echo ready; while :; do sleep 0.1; done' >"$work/out" &
	runner=$!
	wait_for 20 grep -q ready "$work/out"
	kill -TERM "$runner"
	code=0
	wait "$runner" || code=$?
	expect 'exit code' "$code" 7
	grep -q 'got it' "$work/out"
}

daemons_die_with_the_pod() {
	in_pod '(sleep 300 >/dev/null 2>&1 &) ; :'
	expect 'daemons' "$(pgrep -f 'sleep 300' || true)" ''
}

# After SIGKILL the jail is an orphan; the next list takes it away with its mounts, and the pod can run again.
orphans_are_reaped() {
	pod=$(jetpack prepare busybox-base -- sh -c 'echo ready; sleep 300 & wait')
	jetpack run "$pod" >"$work/out" &
	runner=$!
	wait_for 20 grep -q ready "$work/out"
	jls -N name | grep -q "^jetpack/$pod"
	kill -KILL "$runner"
	wait "$runner" || true
	wait_for 20 is_exited "$pod"
	expect 'jails' "$(jls -N name | grep '^jetpack/' || true)" ''
	expect 'mounts' "$(mount -p | awk -v store="$store" 'index($2, store) == 1')" ''
	jetpack destroy "$pod"
	expect 'leftovers' "$(leftovers)" ''
}

is_exited() {
	[ "$(jetpack list -H | awk -v pod="$1" '$1 == pod { print $2 }')" = exited ]
}

two_pods_at_once() {
	for n in 1 2; do
		jetpack run --destroy busybox-base -- sh -c "echo ready; sleep 2; echo $n" >"$work/out$n" &
	done
	wait_for 20 grep -q ready "$work/out1"
	wait_for 20 grep -q ready "$work/out2"
	expect 'jails' "$(jls -N name | grep -c '^jetpack/')" 2
	wait
	expect 'leftovers' "$(leftovers)" ''
}

terminal() {
	command -v script >/dev/null || skip 'script(1) is missing'
	# script(1) gives a terminal; its input ends at once, which the pod sees as the end of its input.
	# shellcheck disable=SC2016 # for the shell in the pod
	said=$(script -q /dev/null "$programs/jetpack" -o root.zfs= -o storage=dir -o "root.path=$store" \
		run -t --destroy busybox-base -- sh -c '[ -t 0 ] && [ -t 1 ] && stty size && ls /dev/pts && ps -o tt= -p $$; exit 5' </dev/null || echo "code $?")
	printf '%s\n' "$said"
	printf '%s\n' "$said" | grep -Eq '[0-9]+ [0-9]+'
	printf '%s\n' "$said" | grep -Eq '^(pts/)?[0-9]+ *.?$'
	printf '%s\n' "$said" | grep -q 'code 5'
}

# Runs a pod that waits: its UUID is in $pod, its runner's number in $runner.
start_waiting() {
	pod=$(jetpack prepare busybox-base -- sh -c 'echo ready; while :; do sleep 0.1; done')
	jetpack run "$pod" >"$work/out" &
	runner=$!
	wait_for 20 grep -q ready "$work/out"
}

stop_waiting() {
	kill -TERM "$runner"
	code=0
	wait "$runner" || code=$?
	expect 'exit code of the pod' "$code" 143
	jetpack destroy "$pod"
	expect 'leftovers' "$(leftovers)" ''
}

commands_in_a_pod() {
	start_waiting
	expect 'own' "$(code_of jetpack exec "$pod" sh -c 'exit 7')" 7
	# shellcheck disable=SC2016 # for the shell in the pod
	expect 'killed' "$(code_of jetpack exec "$pod" sh -c 'kill -9 $$')" 137
	expect 'not there' "$(code_of jetpack exec "$pod" nosuch)" 127
	expect 'app' "$(code_of jetpack exec "$pod:nosuch" true)" 125
	expect 'jailed' "$(jetpack exec "$pod" sysctl -n security.jail.jailed)" 1
	expect 'user' "$(jetpack exec --user demo "$pod" id | sed 's/ groups=.*//')" 'uid=1000(demo) gid=1000(demo)'
	# shellcheck disable=SC2016 # for the shell in the pod
	expect 'options' "$(jetpack exec "$pod" --cwd /tmp --env A=b -- sh -c 'echo $PWD $A')" '/tmp b'
	head -c 1048576 /dev/random >"$work/bytes"
	jetpack exec "$pod" cat <"$work/bytes" >"$work/copy"
	cmp "$work/bytes" "$work/copy"
	exec 7</etc/passwd
	# shellcheck disable=SC2016 # for the shell in the pod
	said=$(jetpack exec "$pod" sh -c 'for n in 3 4 5 6 7 8 9; do (: <&$n) 2>/dev/null && echo "open: $n"; done; :')
	exec 7<&-
	expect 'descriptors' "$said" ''
	expect 'sockets' "$(jetpack exec "$pod" sh -c 'ls -a / /tmp /var/run | grep control; :')" ''
	stop_waiting
}

commands_end_with_the_pod() {
	start_waiting
	jetpack exec "$pod" sh -c 'trap "" TERM HUP; echo begun; while :; do sleep 0.1; done' >"$work/out2" 2>"$work/err2" &
	command=$!
	wait_for 20 grep -q begun "$work/out2"
	stop_waiting
	code=0
	wait "$command" || code=$?
	expect 'exit code of the command' "$code" 137
	grep -q 'has ended, and the command with it' "$work/err2"
}

# kill: TERM, or KILL after the time of grace. What does not run is an error.
ends_pods() {
	start_waiting
	jetpack kill "$pod"
	is_exited "$pod"
	code=0
	wait "$runner" || code=$?
	expect 'ended' "$code" 143
	expect 'does not run' "$(code_of jetpack kill "$pod")" 125
	jetpack destroy "$pod"
	pod=$(jetpack prepare busybox-base -- sh -c 'trap "" TERM; echo ready; while :; do sleep 0.1; done')
	jetpack run "$pod" >"$work/out" &
	runner=$!
	wait_for 20 grep -q ready "$work/out"
	jetpack kill --grace 1 "$pod"
	code=0
	wait "$runner" || code=$?
	expect 'killed' "$code" 137
	expect 'jails' "$(jls -N name | grep '^jetpack/' || true)" ''
	jetpack destroy "$pod"
	expect 'leftovers' "$(leftovers)" ''
}

# ps, top and killall: every process of the jail, and none of the host's.
processes_of_a_pod() {
	sleep 1234 &
	host=$!
	pod=$(jetpack prepare busybox-base -- sh -c 'sleep 1234 & sleep 1235 & sh -c "while :; do :; done" & echo ready; wait')
	jetpack run "$pod" >"$work/out" &
	runner=$!
	wait_for 20 grep -q ready "$work/out"
	wait_for 20 sh -c "[ \"\$(pgrep -j '$(jls -j "jetpack/$pod" jid)' sleep | wc -l)\" -eq 2 ]"
	jetpack ps "$pod"
	expect 'numbers' "$(jetpack -q ps "$pod" | sort)" "$(pgrep -S -j "$(jls -j "jetpack/$pod" jid)" . | sort)"
	jetpack --format json ps "$pod" | grep -q '"command": "sleep 1235"'
	expect 'agents' "$(jetpack ps -H "$pod" | grep -c 'jetpack agent$')" 1
	jetpack top -d 1 -n 2 "$pod" | tee "$work/top"
	expect 'blocks' "$(grep -c '%CPU$\|^PID' "$work/top")" 2
	# The busiest comes first, with more than nothing.
	grep -A1 '^PID' "$work/top" | tail -n 1 | awk '$4 <= 1 { exit 1 }'
	expect 'missing' "$(jetpack killall "$pod" nosuch sleep 2>&1 || true)" "jetpack: pod $pod has no process called nosuch"
	wait_for 20 sh -c "! pgrep -j '$(jls -j "jetpack/$pod" jid)' sleep"
	kill -0 "$host"
	kill "$host"
	expect 'the agent' "$(code_of jetpack killall -s KILL "$pod" jetpack)" 125
	jetpack killall -s KILL "$pod" sh
	code=0
	wait "$runner" || code=$?
	expect 'exit code of the pod' "$code" 137
	expect 'does not run' "$(code_of jetpack ps "$pod")" 125
	jetpack destroy "$pod"
	expect 'leftovers' "$(leftovers)" ''
}

commands_start_a_pod() {
	pod=$(jetpack prepare busybox-base -- sh -c 'echo app >>/var/notes')
	for runs in x xx; do
		expect "runs $runs" "$(jetpack exec "$pod" sh -c 'printf x >>/var/runs; cat /var/runs; ls /var/notes 2>/dev/null')" "$runs"
		is_exited "$pod"
	done
	jetpack destroy "$pod"
	expect 'leftovers' "$(leftovers)" ''
}

consoles() {
	start_waiting
	# shellcheck disable=SC2016 # for the shell in the pod
	expect 'root' "$(echo 'id -un; echo $0 $PWD' | jetpack console "$pod")" "$(printf 'root\n-sh /root')"
	expect 'demo' "$(echo 'id -un; pwd' | jetpack console -u demo "$pod")" "$(printf 'demo\n/home/demo')"
	expect 'unknown' "$(code_of jetpack console -u nosuch "$pod")" 125
	if command -v script >/dev/null; then
		# shellcheck disable=SC2016 # for the shell in the pod
		said=$(script -q /dev/null "$programs/jetpack" -o root.zfs= -o storage=dir -o "root.path=$store" \
			exec -t "$pod" sh -c '[ -t 0 ] && stty size && ps -o tt= -p $$; exit 5' </dev/null || echo "code $?")
		printf '%s\n' "$said"
		printf '%s\n' "$said" | grep -Eq '^(pts/)?[0-9]+ *.?$'
		printf '%s\n' "$said" | grep -q 'code 5'
	fi
	stop_waiting
}

copies() {
	pod=$(jetpack prepare busybox-base -- sh -c 'sleep 1000')
	mkdir -p "$work/tree/sub"
	echo deep >"$work/tree/sub/file"
	chmod 4755 "$work/tree/sub/file"
	jetpack cp "$work/tree" "$pod:/root"
	# What comes is root's, and has no rights of its own.
	expect 'in' "$(jetpack exec "$pod" cat /root/tree/sub/file)" deep
	jetpack exec "$pod" sh -c 'ls -ln /root/tree/sub' | grep -q '^-rwxr-xr-x  *1 0  *0 '
	jetpack exec "$pod" sh -c 'ln -s /etc/passwd /root/link; chflags uappnd /root/tree/sub/file'
	jetpack cp -L "$pod:/root/link" "$work/passwd"
	grep -q '^demo:' "$work/passwd"
	jetpack cp -a "$pod:/root/tree" "$work/back"
	expect 'out' "$(cat "$work/back/sub/file") $(stat -f %Sf "$work/back/sub/file")" 'deep uappnd'
	chflags 0 "$work/back/sub/file"
	expect 'missing' "$(code_of jetpack cp "$pod:/none" "$work/none")" 125
	expect 'half' "$(find "$work" -name '.jetpack-cp-*')" ''
	jetpack destroy "$pod"
	expect 'leftovers' "$(leftovers)" ''
}

hostile_links() {
	mkdir -p "$work/hostile/bin" "$work/outside"
	cp /rescue/sh "$work/hostile/bin/sh"
	ln -s "$work/outside" "$work/hostile/etc"
	ln -s "$work/outside" "$work/hostile/dev"
	echo '{"acKind":"ImageManifest","acVersion":"0.8.11","name":"hostile"}' >"$work/manifest"
	sh "$here/images/makeaci.sh" -c none "$work/manifest" "$work/hostile" "$work/hostile.aci"
	jetpack --insecure-options image import "$work/hostile.aci"
	code_of jetpack run --destroy hostile -- /bin/sh -c ':'
	expect 'outside' "$(ls -A "$work/outside")" ''
	jetpack destroy-image hostile
}

# A volume is a nullfs mount of a directory of the pod's, at the end of a link that leads nowhere outside the jail.
volumes() {
	mkdir -p "$work/volumes/bin" "$work/outside" "$work/volumes/$work/outside"
	cp /rescue/sh "$work/volumes/bin/sh"
	ln -s "$work/outside" "$work/volumes/srv"
	cat >"$work/manifest" <<-'END'
		{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "volumes", "app": {"exec": ["/bin/sh", "-c"],
		"user": "0", "group": "0", "mountPoints": [{"name": "data", "path": "/data"}, {"name": "deep", "path": "/data/deep"},
		{"name": "read", "path": "/read", "readOnly": true}, {"name": "far", "path": "/srv/far"}]}}
	END
	sh "$here/images/makeaci.sh" -c none "$work/manifest" "$work/volumes" "$work/volumes.aci"
	jetpack --insecure-options image import "$work/volumes.aci"
	# shellcheck disable=SC2016 # for the shell in the pod
	script='echo more >>/data/file; echo x >/data/deep/x; echo x >/srv/far/x; while read -r l; do echo "$l"; done </data/file
		(: >/read/x) 2>/dev/null || echo stays'
	pod=$(jetpack -q prepare volumes -- "$script")
	expect 'first' "$(jetpack run "$pod")" "$(printf 'more\nstays')"
	expect 'second' "$(jetpack run "$pod")" "$(printf 'more\nmore\nstays')"
	expect 'volume' "$(cat "$store/pods/$pod/volumes/data/file" "$store/pods/$pod/volumes/far/x")" "$(printf 'more\nmore\nx')"
	expect 'outside' "$(ls -A "$work/outside")" ''
	jetpack destroy "$pod"
	jetpack destroy-image volumes
	expect 'leftovers' "$(leftovers)" ''
}

# What a jail is unmounted by never names a mount of the host's: not a mount point with a line feed in its name, in the manifest
# or at the end of a link, nor a path on which the pod has put a link since.
foreign_mounts() {
	victim=$work/victim/home
	mkdir -p "$victim" "$work/lines/bin"
	mount -t tmpfs tmpfs "$victim"
	for program in sh mv ln; do cp "/rescue/$program" "$work/lines/bin/$program"; done
	mkdir -p "$work/lines/a
$victim"
	ln -s "/a
$victim" "$work/lines/link"
	for path in "/a\\n$victim" /link /srv/home; do
		printf '{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "lines", "app": {"exec": ["/bin/sh", "-c"],
			"user": "0", "group": "0", "mountPoints": [{"name": "data", "path": "%s"}]}}' "$path" >"$work/manifest"
		sh "$here/images/makeaci.sh" -c none "$work/manifest" "$work/lines" "$work/lines.aci"
		jetpack --insecure-options image import "$work/lines.aci"
		code=$(code_of jetpack run --destroy lines -- "mv /srv /moved && ln -s ${victim%/home} /srv && echo moved" 2>"$work/err")
		cat "$work/err"
		if [ "$path" = /srv/home ]; then
			expect 'moved' "$code" "$(printf 'moved\n0')"
		else
			expect 'refused' "$code" 125
			grep -q 'control character' "$work/err"
		fi
		expect "mounts of the host's" "$(mount -p | awk -v victim="$victim" '$2 == victim' | wc -l | tr -d ' ')" 1
		jetpack destroy-image lines
		expect 'leftovers' "$(leftovers)" ''
	done
	umount "$victim"
}

setuid_out_of_reach() {
	pw usershow nobody >/dev/null
	expect 'reach' "$(code_of su -m nobody -c "ls $store/layers" 2>/dev/null)" 1
}

# A build changes file flags, removes files of its parent, and leaves nothing of the jail; the image is the same elsewhere.
build_an_image() {
	mkdir -p "$work/build" "$work/build-tmp"
	echo '{"name": "built"}' >"$work/build/manifest.json"
	echo given >"$work/build/given"
	cat >"$work/build/build.sh" <<-'END'
		set -e
		id -u
		sysctl -n kern.securelevel
		case $PWD in /.jetpack-build-*) echo at work ;; *) pwd ;; esac
		cp given /etc/given
		chflags schg /etc/given
		chflags noschg /etc/given
		chflags schg /etc/given
		rm /etc/shells
		mkdir /opt
		daemon -f sleep 1000 2>/dev/null || (sleep 1000 >/dev/null 2>&1 &)
	END
	(cd "$work/build" && SOURCE_DATE_EPOCH=5 jetpack -o images.aci.compression=none build --saveid "$work/build.id" busybox-base \
		sh ./build.sh) >"$work/said"
	cat "$work/said"
	id=$(cat "$work/build.id")
	expect 'said' "$(cat "$work/said")" "$(printf '0\n0\nat work\n%s' "$id")"
	expect 'id' "sha512-$(sha512 -q "$store/images/$id/image.aci")" "$id"
	expect 'names' "$(tar -tf "$store/images/$id/image.aci" | tr '\n' ' ')" 'manifest rootfs rootfs/etc rootfs/etc/given rootfs/opt '
	jetpack image-manifest built | grep -q '"/etc/given"'
	if jetpack image-manifest built | grep -q '"/etc/shells"'; then return 1; fi
	expect 'a failing command' "$(cd "$work/build" && code_of jetpack -q build busybox-base sh -c 'exit 7')" 7
	expect 'leftovers' "$(leftovers)" ''
	expect 'run' "$(jetpack run --destroy built -- sh -c 'cat /etc/given; ls /etc/shells 2>/dev/null || echo gone')" "$(printf 'given\ngone')"
	other() { "$programs/jetpack" -o root.zfs= -o storage=dir -o "root.path=$work/other" --insecure-options image "$@"; }
	other -q init
	other import "$work/base.aci" >/dev/null
	expect 'imported again' "$(other import "$store/images/$id/image.aci")" "$id"
	expect 'run elsewhere' "$(other run --destroy built -- sh -c 'cat /etc/given; ls -lo /etc/given' | awk '{ print $1, $5 }' | tr '\n' ' ')" \
		'given  -rw-r--r-- schg '
	other export --flat built "$work/flat.aci"
	other destroy-image built
	flat=$(other import "$work/flat.aci")
	expect 'flat' "$(other run --destroy "$flat" -- sh -c 'cat /etc/given; ls /etc/shells 2>/dev/null || echo gone')" "$(printf 'given\ngone')"
	other destroy-image "$flat"
	other destroy-image busybox-base
	jetpack destroy-image built
}

# A pool on a memory disk, for the tests from here on.
make_pool() {
	kldstat -q -m zfs || kldload zfs 2>/dev/null || return 1
	disk=$(mdconfig -a -t swap -s 1g) || return 1
	pool=jetpack$$
	zpool create -O mountpoint=none -O canmount=off "$pool" "$disk" && return 0
	pool=
	return 1
}

need_pool() {
	[ -n "$pool" ] || skip 'no ZFS pool can be made here'
}

on_zfs() {
	"$programs/jetpack" -o "root.zfs=$pool/store" -o "root.path=$work/zfs" --insecure-options image "$@"
}

# The datasets of the store, but for those that are always there.
datasets() {
	zfs list -H -o name -r "$pool/store" | sed -n "s|^$pool/store/||p" | grep / || true
}

# Takes off all that is mounted of the store, as after a boot.
unmount_datasets() {
	zfs mount | awk -v store="$pool/store/" 'index($1, store) == 1 { print $1 }' | sort -r | xargs -n 1 zfs unmount
}

pods_on_zfs() {
	need_pool
	on_zfs init
	expect 'compression' "$(zfs get -H -o value compression,atime "$pool/store/images" | tr '\n' ' ')" 'lz4 off '
	on_zfs import "$work/base.aci"
	script='cat /kept 2>/dev/null; echo again >>/kept'
	pod=$(on_zfs -q prepare busybox-base -- sh -c "$script")
	expect 'properties' "$(zfs get -H -o value canmount,jetpack:app,mounted "$pool/store/pods/$pod/app.busybox-base" | tr '\n' ' ')" \
		'noauto busybox-base no '
	expect 'first' "$(on_zfs run "$pod")" ''
	expect 'second' "$(on_zfs run "$pod")" again
	expect 'not mounted' "$(zfs get -H -o value mounted "$pool/store/pods/$pod/app.busybox-base")" no
	unmount_datasets
	expect 'after a boot' "$(on_zfs run "$pod")" "$(printf 'again\nagain')"
	expect 'read-only' "$(on_zfs run --destroy busybox-base --readonly-rootfs -- sh -c '(: >/x) 2>/dev/null || echo stays')" stays
	image=$(zfs list -H -o name -d 1 "$pool/store/images" | sed -n 2p)
	expect 'sealed' "$(zfs get -H -o value readonly,canmount "$image" | tr '\n' ' ')" 'on noauto '
	expect 'origin' "$(zfs get -H -o value origin "$pool/store/pods/$pod/app.busybox-base")" "$image@seal"
	zpool export "$pool"
	zpool import -N "$pool"
	expect 'without init' "$(code_of on_zfs list 2>/dev/null)" 125
	on_zfs init
	expect 'moved' "$(on_zfs run "$pod" | wc -l | tr -d ' ')" 3
	on_zfs destroy "$pod"
	expect 'jails' "$(jls -N name | grep '^jetpack/' || true)" ''
	expect 'datasets' "$(datasets)" "${image#"$pool/store/"}"
}

# A prepared pod runs, and pods are listed, without zfs(8): by the accounting of processes.
no_program_for_a_run() {
	need_pool
	command -v lastcomm >/dev/null || skip 'lastcomm(1) is missing'
	[ "$(sysctl -n kern.acct_configured 2>/dev/null || echo 0)" -eq 0 ] || skip 'processes are accounted for already'
	pod=$(on_zfs -q prepare busybox-base -- true)
	: >"$work/acct"
	accton "$work/acct" || skip 'this kernel does not account for processes'
	on_zfs run "$pod"
	on_zfs list >/dev/null
	zfs list >/dev/null
	accton
	on_zfs destroy "$pod"
	lastcomm -f "$work/acct" | grep -q '^jetpack '
	expect 'zfs' "$(lastcomm -f "$work/acct" | grep -c '^zfs ')" 1
}

# What `zfs diff` tells makes the image that comparing all files makes.
same_image_from_both() {
	need_pool
	mkdir -p "$work/build-same"
	echo '{"name": "same"}' >"$work/build-same/manifest.json"
	# shellcheck disable=SC2016 # for the shell in the pod
	change='set -e; mkdir -p /a/b /kept; echo 1 >/a/b/new; echo 2 >>/etc/passwd; ln /a/b/new /a/second; ln -s x "/a/a link
of two lines"; mv /etc/group /etc/group.old; cp /etc/group.old /etc/group; rm /etc/group.old; chmod 700 /root; mkdir /h1 /h2; echo 1 >/h1/f; ln /h1/f /h2/f; : >"/a/ä \\ b"; chflags schg /a/second'
	removal='rm /etc/shells; mv /a /moved; echo 3 >/moved/b/three; ln /etc/passwd /etc/passwd2; echo 4 >>/etc/passwd2; rm /h2/f'
	# The kernel looks for a file where it got its last name, and so `zfs diff` tells nothing of this one any more.
	rewrite='echo 2 >/h1/f'
	for program in jetpack on_zfs; do
		(
			cd "$work/build-same"
			SOURCE_DATE_EPOCH=1500000000
			export SOURCE_DATE_EPOCH
			$program --insecure-options image build busybox-base sh -c "$change" >"$work/same-$program"
			$program --insecure-options image build same sh -c "$removal" >>"$work/same-$program"
			second=$(sed -n 2p "$work/same-$program")
			$program --insecure-options image build "$second" sh -c "$rewrite" >>"$work/same-$program"
		)
	done
	cat "$work/same-jetpack"
	expect 'images' "$(cat "$work/same-on_zfs")" "$(cat "$work/same-jetpack")"
	for program in jetpack on_zfs; do
		expect 'rewritten' "$($program run --destroy "$(sed -n 3p "$work/same-$program")" -- cat /h1/f)" 2
		for line in 3 2 1; do $program destroy-image "$(sed -n "${line}p" "$work/same-$program")"; done
	done
}

build_on_zfs() {
	need_pool
	mkdir -p "$work/build-zfs"
	echo '{"name": "built"}' >"$work/build-zfs/manifest.json"
	(cd "$work/build-zfs" && on_zfs build busybox-base sh -c 'echo x >/etc/x; rm /etc/shells; chflags schg /etc/x')
	expect 'run' "$(on_zfs run --destroy built -- sh -c 'cat /etc/x; ls /etc/shells 2>/dev/null || echo gone; ls -lo /etc/x' | awk '{ print $1, $5 }' | tr '\n' ' ')" \
		'x  gone  -rw-r--r-- schg '
	expect 'clones' "$(zfs list -H -o origin -r "$pool/store/images" | grep -c '@seal')" 1
	expect 'a parent' "$(code_of on_zfs destroy-image busybox-base 2>/dev/null)" 125
	on_zfs destroy-image built busybox-base
	expect 'datasets' "$(datasets)" ''
}

# The unit tests of the library, cross-linked.
library_tests() {
	if [ -n "$pool" ]; then
		JETPACK_TEST_ZFS=$pool
		export JETPACK_TEST_ZFS
	fi
	[ -x "$programs/tests-lib" ] || skip 'tests-lib was not linked'
	"$programs/tests-lib" --test-threads 1
}

everything_removed() {
	jetpack destroy-image busybox-base
	expect 'images' "$(jetpack -q images)" ''
	expect 'leftovers' "$(leftovers)" ''
	expect 'files' "$(find "$store/layers" "$store/pods" "$store/tmp" "$store/images" -mindepth 1)" ''
}

# shellcheck source=tests/freebsd/rcd.sh
. "$here/tests/freebsd/rcd.sh"
# shellcheck source=tests/freebsd/mounts.sh
. "$here/tests/freebsd/mounts.sh"
# shellcheck source=tests/freebsd/packages.sh
. "$here/tests/freebsd/packages.sh"
# shellcheck source=tests/freebsd/jails.sh
. "$here/tests/freebsd/jails.sh"
# shellcheck source=tests/freebsd/fetch.sh
. "$here/tests/freebsd/fetch.sh"
# shellcheck source=tests/freebsd/trust.sh
. "$here/tests/freebsd/trust.sh"

uname -a
check 'an image made of /rescue' image_of_rescue
check 'a store, and images in it' store_and_import
check 'images that are signed' signed_images
check 'signatures that are not good' bad_signatures
check 'user and arguments' user_and_arguments
check 'what a jail sees' isolation
check 'a devfs ruleset without rules is refused' ruleset_must_have_rules
check 'the host is out of reach' host_out_of_reach
check 'no network, or the host'\''s' no_network_or_the_hosts
check 'no descriptor of the host'\''s' no_descriptor_of_the_hosts
check 'users, groups, environment' users
check 'exit codes' exit_codes
check 'input and output' input_and_output
check 'a read-only root (nullfs)' read_only_root
check 'a pod runs again' runs_again
check 'signals reach the app' signals_reach_the_app
check 'daemons die with the pod' daemons_die_with_the_pod
check 'orphans are reaped' orphans_are_reaped
jail_checks
check 'two pods at once' two_pods_at_once
check 'a terminal' terminal
check 'commands in a pod that runs' commands_in_a_pod
check 'commands end with the pod' commands_end_with_the_pod
check 'kill ends pods' ends_pods
check 'ps, top and killall' processes_of_a_pod
check 'commands start a pod that does not run' commands_start_a_pod
check 'consoles' consoles
check 'copies in and out' copies
check 'hostile links in an image' hostile_links
check 'volumes (nullfs)' volumes
check 'mounts of the host'\''s stay where they are' foreign_mounts
check 'volumes of the host, with what is mounted below' host_volumes
check 'volumes of the host that are read-only, or alone' host_volumes_limited
check 'a file as a volume' file_as_volume
check 'two pods on one volume' shared_volume
check 'links in a volume lead nowhere on the host' links_in_shared_volume
check 'a link in the place of a source leads nowhere' links_for_sources
check 'volumes after SIGKILL' volumes_after_kill
check 'sources of volumes' sources_of_volumes
check 'fdescfs on /dev/fd' descriptors_in_dev
check 'procfs for pods that ask for it' procfs_on_request
check 'an image of Linux without the module' linux_without_module
check 'an image of Linux' linux_image
check 'setuid files are out of reach' setuid_out_of_reach
check 'an image is built' build_an_image
check 'pods as a service (rc.d)' pods_as_a_service
check 'the daily report (periodic)' daily_report
check 'a user of its own (pw)' made_user
fetch_checks
make_pool >"$work/pool.log" 2>&1
check 'pods on ZFS' pods_on_zfs
check 'a run starts no zfs(8)' no_program_for_a_run
check 'the same image with and without zfs diff' same_image_from_both
check 'an image is built on ZFS' build_on_zfs
check 'a jail that dies slowly on ZFS' jail_dying_on_zfs
check 'images of another kind of store' bring_from_another_kind
check 'images move between pools' move_images
check 'pods move between pools' move_pods
check 'forged packages are refused' forged_packages
check 'unit tests' library_tests
check 'everything is removed' everything_removed
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
