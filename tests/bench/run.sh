#!/bin/sh
# Measures Jetpack beside its peers and prints tables; `make bench` calls it.
#
#   tests/bench/run.sh [NAME…]   the benchmarks tests/bench/NAME.sh, or all
#
# ROUNDS (5) is how often each command is timed, always in turn, so that what else the host does meets all of them alike. Tables
# have the medians, and each command's ratio to the first of its table. A peer that is missing is said to be, and left out.
# What is measured with is kept in target/bench.
set -eu
cd "$(dirname "$0")/../.."
case ${CARGO_TARGET_DIR-} in
/*) target=$CARGO_TARGET_DIR ;;
*) target=$PWD/${CARGO_TARGET_DIR:-target} ;;
esac
rounds=${ROUNDS:-5}
data=$target/bench
mkdir -p "$data"
[ "$(id -u)" -eq 0 ] || { echo 'only root can make images and pods' >&2 && exit 1; }
if ! [ -x /usr/bin/time ]; then echo 'GNU time(1) is missing: install the package time' >&2 && exit 1; fi
cargo build --release --locked --quiet
# shellcheck disable=SC2034 # for what is measured
jetpack=$target/release/jetpack
work=$(mktemp -d "${BENCH_DIR:-/var/tmp}/jetpack-bench.XXXXXX")
cleanup() {
	code=$?
	trap '' INT TERM HUP
	leave 2>/dev/null || true
	rm -rf --one-file-system "$work"
	exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# What a benchmark leaves beside files; one that needs it defines it anew.
leave() { :; }

has() {
	for command in "$@"; do
		command -v "$command" >/dev/null || { echo "not measured: $command is missing" >&2 && return 1; }
	done
}

# A command of the table, and what has to be done before it each time, unmeasured: contender NAME COMMAND [BEFORE]
contender() {
	printf '%s\n' "$1" >>"$work/names"
	count=$(wc -l <"$work/names")
	printf '%s\n' "$2" >"$work/command.$count"
	printf '%s\n' "${3:-:}" >"$work/before.$count"
	: >"$work/times.$count"
}

# Times all contenders in turn and prints the table: table TITLE
table() {
	count=$(wc -l <"$work/names")
	round=0
	while [ "$round" -lt "$rounds" ]; do
		round=$((round + 1))
		number=0
		while [ "$number" -lt "$count" ]; do
			number=$((number + 1))
			sh -eu "$work/before.$number" >/dev/null 2>"$work/err" || failed "$number"
			/usr/bin/time -a -o "$work/times.$number" -f '%e %U %S %M' sh -eu "$work/command.$number" >/dev/null 2>"$work/err" ||
				failed "$number"
		done
	done
	printf '\n%s (median of %s)\n' "$1" "$rounds"
	printf '%-34s %9s %9s %7s %9s\n' '' 'wall s' 'cpu s' 'ratio' 'MiB'
	number=0 first=
	while [ "$number" -lt "$count" ]; do
		number=$((number + 1))
		wall=$(median "$work/times.$number" 1)
		first=${first:-$wall}
		awk -v name="$(sed -n "${number}p" "$work/names")" -v wall="$wall" -v first="$first" -v cpu="$(median "$work/times.$number" 2)" -v memory="$(median "$work/times.$number" 3)" \
			'BEGIN { printf "%-34s %9.3f %9.3f %7.2f %9.0f\n", name, wall, cpu, first > 0 ? wall / first : 0, memory / 1024 }'
	done
	rm -f "$work/names" "$work"/times.*
}

failed() {
	echo "cannot measure $(sed -n "${1}p" "$work/names"): $(tail -n 3 "$work/err")" >&2
	exit 1
}

# The median of what was measured: wall time (1), time on processors (2) or memory in KiB (3).
median() { # FILE WHICH
	awk -v which="$2" '{ print which == 1 ? $1 : which == 2 ? $2 + $3 : $4 }' "$1" | sort -n | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'
}

[ $# -gt 0 ] || set -- import
for name in "$@"; do
	# shellcheck source=/dev/null
	. "tests/bench/$name.sh"
done
