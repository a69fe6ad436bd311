#!/bin/sh
# Writes Makefile.crates, the crates of Cargo.lock as USES=cargo wants them, to standard output:
#
#   sh conf/freebsd/port/crates.sh >conf/freebsd/port/Makefile.crates
#
# The ports' own `make cargo-crates` says the same, but takes a tree of ports and the distribution file.
set -eu
cd "$(dirname "$0")/../../.."
crates=$(awk -F '"' '
	/^name = / { name = $2 }
	/^version = / { version = $2 }
	/^source = "registry\+https:\/\/github.com\/rust-lang\/crates.io-index"$/ { print name "-" version; next }
	/^source = / { print "not of crates.io: " name | "cat >&2"; exit 1 }
' Cargo.lock)
printf '%s\n' "$crates" | LC_ALL=C sort | awk '
	NR == 1 { printf "CARGO_CRATES=\t%s", $0; next }
	{ printf " \\\n\t\t%s", $0 }
	END { print "" }'
