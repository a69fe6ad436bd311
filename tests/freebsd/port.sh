#!/bin/sh
# Tests conf/freebsd/port as far as that goes without a tree of ports; `sh conf/build.sh /usr/local` must have been run.
set -eu
cd "$(dirname "$0")/../.."
port=conf/freebsd/port
work=$(mktemp -d "${TMPDIR:-/var/tmp}/jetpack-port.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The crates are those of Cargo.lock, and the script that lists them refuses what the ports cannot have from crates.io.
sh $port/crates.sh | diff $port/Makefile.crates - || {
	echo "help: sh $port/crates.sh >$port/Makefile.crates"
	exit 1
}
mkdir -p "$work/tree/$port"
cp $port/crates.sh "$work/tree/$port"
sed '/name = "libc"/,/source/s|^source = .*|source = "git+https://example.com/libc"|' Cargo.lock >"$work/tree/Cargo.lock"
if sh "$work/tree/$port/crates.sh" >/dev/null 2>"$work/said"; then exit 1; fi
grep -qx 'not of crates.io: libc' "$work/said"

# What is installed on FreeBSD, and with which modes, is what the package has.
sh conf/install.sh install /usr/local "$work/root" FreeBSD >/dev/null
(cd "$work/root/usr/local" && find . -type f) | sed 's|^\./||' | LC_ALL=C sort >"$work/installed"
sed -e 's/^@sample //' -e '/^share\/man\//s/\.gz$//' $port/pkg-plist | LC_ALL=C sort | diff "$work/installed" -
[ -z "$(find "$work/root" -type f -path '*/rc.d/*' ! -perm 555)" ]
[ -z "$(find "$work/root" -type f -path '*/periodic/*' ! -perm 555)" ]
sh conf/install.sh uninstall /usr/local "$work/root" FreeBSD >/dev/null
[ -z "$(find "$work/root" -type f)" ]

# The scripts have the places of another prefix, here with the same executable.
mkdir -p "$work/target/release"
cp "${CARGO_TARGET_DIR:-target}/release/jetpack" "$work/target/release"
echo /opt >"$work/target/release/.jetpack-prefix"
CARGO_TARGET_DIR=$work/target sh conf/install.sh install /opt "$work/other" FreeBSD >/dev/null
if grep -r /usr/local "$work/other/opt/etc/rc.d" "$work/other/opt/etc/periodic" "$work/other/opt/etc/newsyslog.conf.d"; then exit 1; fi
grep -qx 'jetpack_command="/opt/bin/jetpack"' "$work/other/opt/etc/rc.d/jetpack"

# A make for FreeBSD reads the Makefile; bsd.port.mk is a stand-in that takes what USES=cargo would.
make=$(command -v bmake || command -v make)
[ -n "$("$make" -r -f /dev/null -V MAKE_VERSION 2>/dev/null)" ] || {
	echo 'skipped: bmake is missing'
	exit 77
}
# shellcheck disable=SC2016 # a variable of make
echo '.sinclude "${.CURDIR}/Makefile.crates"' >"$work/bsd.port.mk"
value() { # VARIABLE
	(cd $port && "$make" -r -m "$work" -V "\${$1}" WRKSRC=. RUST_DEFAULT=rust)
}
cargo=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
rust=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
[ "$(value PORTNAME) $(value DISTVERSION)" = "jetpack $cargo" ]
[ "$(value BUILD_DEPENDS)" = "rust>=$rust.0:lang/rust" ]
[ "$(value CARGO_CRATES | wc -w)" -eq "$(grep -c '^source = ' Cargo.lock)" ]
[ "$(value COMMENT | wc -c)" -le 71 ]
[ "$(value LICENSE_FILE)" = ./LICENSE ]
[ "$(head -n 1 LICENSE) $(value LICENSE)" = 'BSD 2-Clause License BSD2CLAUSE' ]
# The first line and the last of a message with conditions are brackets, and nothing is wider than a terminal.
[ "$(sed -n '1p;$p' $port/pkg-message | tr -d '\n')" = '[]' ]
[ -z "$(awk 'length > 80' $port/pkg-descr $port/pkg-message)" ]
