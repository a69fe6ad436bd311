#!/bin/sh
# shellcheck disable=SC2154 # part of run.sh, which sets what is used here
# conf/rc.d/jetpack with the host's rc.subr(8) and daemon(8), and what periodic(8) says; all from a private place.

# The script has variables of its own here, so that the host's rc.conf(5) says nothing to it.
rcd() {
	env jetpacktest_flags="-o root.zfs= -o storage=dir -o root.path=$store" jetpacktest_pods="$pod" \
		jetpacktest_logdir="$logs" sh "$work/rcd" "$@"
}

pods_as_a_service() {
	logs=$work/service/log
	mkdir -p "$work/service"
	sed -e "s|/usr/local/bin/jetpack|$programs/jetpack|; s|/var/run/jetpack|$work/service/run|" \
		-e 's/jetpack_/jetpacktest_/g; s/^name="jetpack"/name="jetpacktest"/' "$here/conf/rc.d/jetpack" >"$work/rcd"
	pod=$(jetpack prepare busybox-base -- sh -c 'echo output; trap "echo ended; exit" TERM; while :; do sleep 0.1; done')
	expect 'not enabled' "$(rcd start 2>&1 | grep -c 'Set jetpacktest_enable to YES')" 1
	expect 'status' "$(rcd onestatus || echo "code $?")" "$(printf 'pod %s is not running\ncode 1' "$pod")"
	rcd onestart
	expect 'state' "$(jetpack list -H | awk -v pod="$pod" '$1 == pod { print $2 }')" running
	rcd onestatus | grep -qx "pod $pod is running as pid [0-9]*"
	expect 'start again' "$(rcd onestart | tail -n 1)" "pod $pod is running already"
	wait_for 10 grep -qx output "$logs/$pod.log"
	mv "$logs/$pod.log" "$logs/old"
	rcd onereload
	wait_for 10 test -e "$logs/$pod.log"
	rcd onestop
	expect 'status' "$(rcd onestatus "$pod" || echo "code $?")" "$(printf 'pod %s is not running\ncode 1' "$pod")"
	expect 'after newsyslog' "$(cat "$logs/$pod.log")" ended
	expect 'pid files' "$(ls "$work/service/run")" ''
	expect 'restart' "$(rcd onerestart | grep -c "$pod")" 1
	expect 'state' "$(jetpack list -H | awk -v pod="$pod" '$1 == pod { print $2 }')" running
	rcd onestop
	expect 'no such pod' "$(code_of rcd onestart nosuch | tail -n 1)" 1
	jetpack destroy "$pod"
	expect 'leftovers' "$(leftovers)" ''
}

daily_report() {
	printf 'root.zfs =\nstorage = dir\nroot.path = %s\n' "$store" >"$work/report.conf"
	sed -e "s|/usr/local/bin/jetpack|$programs/jetpack|; s/status_jetpack/status_jetpacktest/; s/service jetpack/service jetpacktest/g" \
		"$here/conf/periodic/daily/415.status-jetpack" >"$work/report"
	report() { env JETPACK_CONF="$work/report.conf" daily_status_jetpacktest_enable="$1" sh "$work/report"; }
	expect 'not asked for' "$(report NO)" ''
	pod=$(jetpack prepare busybox-base -- true)
	report YES | grep "^$pod *prepared"
	# A jail with the name of a pod that does not run is told.
	jail -c persist children.max=1 name="jetpack/00000000-1111-2222-3333-444444444444" path=/
	jail -c persist name="jetpack/00000000-1111-2222-3333-444444444444.inner" path=/
	code=$(code_of report YES 2>&1)
	jail -r "jetpack/00000000-1111-2222-3333-444444444444" || true
	printf '%s\n' "$code"
	expect 'code' "$(printf '%s\n' "$code" | tail -n 1)" 2
	expect 'orphans' "$(printf '%s\n' "$code" | grep '^0000')" 00000000-1111-2222-3333-444444444444
	jetpack destroy "$pod"
}

# A user is made where there is none, and taken away again.
made_user() {
	! pw usershow _jetpacktest >/dev/null 2>&1 || skip 'there is a user _jetpacktest'
	said=$(jetpack -o mds.user=_jetpacktest init --user)
	account=$(pw usershow _jetpacktest)
	group=$(pw groupshow _jetpacktest)
	again=$(jetpack -o mds.user=_jetpacktest init --user | sed -n 2p)
	pw userdel _jetpacktest
	expect 'said' "$(printf '%s\n' "$said" | sed -n '2,3p')" "$(printf 'made a user _jetpacktest\nto start pods at boot, put into /etc/rc.conf:')"
	printf '%s\n' "$said" | grep -qx '    jetpack_enable="YES"'
	expect 'account' "$(printf '%s\n' "$account" | cut -d : -f 2,8-)" '*:Jetpack:/nonexistent:/usr/sbin/nologin'
	printf '%s\n' "$group" | grep -q '^_jetpacktest:'
	expect 'again' "$again" 'there is a user _jetpacktest'
	[ ! -e /nonexistent ]
}
