#!/bin/sh
# Tests conf/rc.d/jetpack where there is no FreeBSD: with stand-ins for rc.subr(8), daemon(8) and jetpack(8) that note what
# they are told. tests/freebsd/rcd.sh runs the same script with the real ones.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d "${TMPDIR:-/var/tmp}/jetpack-rcd.XXXXXX")
trap 'rm -f "$work"/running/*; rm -rf "$work"' EXIT
mkdir "$work/running" "$work/run" "$work/log"

cat >"$work/rc.subr" <<'STUB'
load_rc_config() { . "$work/rc.conf"; }
warn() { echo "WARNING: $*" >&2; }
check_pidfile() { [ ! -f "$1" ] || { read -r pid <"$1" 2>/dev/null && kill -0 "$pid" 2>/dev/null && echo "$pid"; }; }
wait_for_pids() { for pid; do while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done; done; }
run_rc_command() {
	rc_arg=${1#one} rc_flags=${jetpack_flags-}
	if [ "$rc_arg" = "$1" ] && [ "$jetpack_enable" != YES ]; then echo "not enabled" && return 0; fi
	# The real one looks for processes that run the command, and starts nothing when there is one.
	if [ -n "${command-}" ]; then echo "$name already running?" && return 1; fi
	shift
	eval "\$${rc_arg}_cmd" '"$@"'
}
STUB

cat >"$work/daemon" <<'STUB'
#!/bin/sh
while getopts cfHo:P:t: option; do
	case $option in
	o) output=$OPTARG ;;
	P) pidfile=$OPTARG ;;
	esac
done
shift $((OPTIND - 1))
# As the real one: the file is there at once, and has the number somewhat later.
: >"$pidfile"
(
	"$@"
	rm -f "$pidfile"
) </dev/null >>"$output" 2>&1 &
(
	sleep 0.2
	[ ! -e "$pidfile" ] || echo $! >"$pidfile"
) </dev/null >/dev/null 2>&1 &
STUB

# A pod is a file in pods, and runs as long as one is in running.
cat >"$work/jetpack" <<'STUB'
#!/bin/sh
echo "$*" >>"$work/said"
[ "$1" != --config ] || shift 2
case $1 in
manifest) [ -e "$work/pods/$2" ] || { echo "there is no pod $2" >&2 && exit 125; } ;;
ps) [ -e "$work/running/$3" ] ;;
run)
	echo "output of $2"
	case $2 in short*) exit 0 ;; esac
	sleep 0.3
	touch "$work/running/$2"
	while [ -e "$work/running/$2" ]; do sleep 0.1; done
	;;
kill) shift 3 && for pod; do rm "$work/running/$pod"; done ;;
esac
STUB
chmod +x "$work/daemon" "$work/jetpack"
mkdir "$work/pods"
touch "$work/pods/one" "$work/pods/two" "$work/pods/short" "$work/pods/by-hand"
sed -e "s|/etc/rc.subr|$work/rc.subr|; s|/usr/sbin/daemon|$work/daemon|; s|/usr/local/bin/jetpack|$work/jetpack|" \
	-e "s|/var/run/jetpack|$work/run|" conf/rc.d/jetpack >"$work/script"
export work

service() { # RC.CONF COMMAND…: its output and exit code
	echo "$1" >"$work/rc.conf"
	echo "jetpack_logdir=$work/log" >>"$work/rc.conf"
	shift
	: >"$work/said"
	code=0
	sh "$work/script" "$@" 2>&1 || code=$?
	echo "exit $code"
}

expect() { # WHAT IS SHOULD-BE
	[ "$2" = "$3" ] || {
		printf '%s: is\n%s\nshould be\n%s\n' "$1" "$2" "$3"
		exit 1
	}
}

lines() { printf '%s\n' "$@"; }

pods='jetpack_pods="one two"'
yes="jetpack_enable=YES
$pods"
expect 'not enabled' "$(service "$pods" start)" "$(lines 'not enabled' 'exit 0')"
expect 'nothing to start' "$(service 'jetpack_enable=YES' start)" "$(lines 'Starting pods:.' 'exit 0')"
expect 'start' "$(service "$yes" start)" "$(lines 'Starting pods: one two.' 'exit 0')"
expect 'output' "$(cat "$work/log/one.log")" 'output of one'
expect 'start again' "$(service "$yes" start)" \
	"$(lines 'Starting pods: one two.' 'pod one is running already' 'pod two is running already' 'exit 0')"
expect 'status' "$(service "$yes" status | sed 's/ as pid [0-9]*$/ as pid N/')" \
	"$(lines 'pod one is running as pid N' 'pod two is running as pid N' 'exit 0')"
expect 'another' "$(service "$yes" start by-hand)" "$(lines 'Starting pods: by-hand.' 'exit 0')"
expect 'stop of one' "$(service "$yes" stop one)" "$(lines 'Ending pods: one.' 'exit 0')"
expect 'status of some' "$(service "$yes" status | sed 's/ as pid [0-9]*$/ as pid N/')" \
	"$(lines 'pod one is not running' 'pod two is running as pid N' 'pod by-hand is running as pid N' 'exit 1')"
expect 'stop' "$(service "$yes
jetpack_grace=3" stop)" "$(lines 'Ending pods: two by-hand.' 'exit 0')"
expect 'one command' "$(grep '^kill' "$work/said")" 'kill --grace 3 two by-hand'
expect 'watchers' "$(ls "$work/run")" ''
expect 'stop again' "$(service "$yes" stop)" "$(lines 'Ending pods:.' 'exit 0')"
expect 'one that is not there' "$(service "$pods" onestart nosuch two)" \
	"$(lines 'Starting pods: nosuch two.' 'there is no pod nosuch' 'exit 1')"
expect 'one that ends at once' "$(service "$pods" onestart short)" \
	"$(lines 'Starting pods: short.' "WARNING: pod short has ended; its output is in $work/log/short.log" 'exit 1')"
for name in ../x -r 'a/b' 'a.b'; do
	expect 'a name' "$(service "$pods" onestart "$name")" "$(lines "Starting pods: $name." "WARNING: no name of a pod: $name" 'exit 1')"
done
expect 'flags' "$(service "$pods
jetpack_flags='--config /x'" onestop)" "$(lines 'Ending pods: two.' 'exit 0')"
expect 'flags' "$(sort -u "$work/said")" "$(lines '--config /x kill --grace 10 two' '--config /x ps -H one' '--config /x ps -H two')"
