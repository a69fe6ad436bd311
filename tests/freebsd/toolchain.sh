#!/bin/sh
# Makes a toolchain that compiles and links Jetpack for FreeBSD on Debian, in a folder of its own:
#
#   tests/freebsd/toolchain.sh DIR
#   . DIR/env
#   cargo-zigbuild zigbuild --target x86_64-unknown-freebsd
#
# A folder that this recipe has made before is left as it is; another takes its place when it is whole.
#
# The compiler is Debian's rustc-web, unpacked and not installed: its packages are one matching set of compiler, clippy and
# the source of the standard library, of which the one for FreeBSD is compiled here. Zig brings FreeBSD's headers and libc
# (14 and newer), and links.
#
# Exits 77 with a line `skipped: REASON` where this machine cannot have it. What the steps print goes into DIR.log.
set -eu
target=x86_64-unknown-freebsd
ziglang=0.15.2
zigbuild=0.24.0
packages='rustc-web cargo-web rust-web-clippy rust-web-src libstd-rust-web-dev'

top=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$(dirname "$1")"
dir=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
log=$dir.log
rust=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$top/Cargo.toml")
recipe="recipe 1 for $(uname -m), rust $rust, ziglang $ziglang, cargo-zigbuild $zigbuild"

is_made() {
	[ "$(head -n 1 "$dir/stamp" 2>/dev/null)" = "$recipe" ]
}

skip() {
	echo "skipped: $*"
	exit 77
}

apt() {
	LC_ALL=C apt-get -q -o APT::Sandbox::User=root "$@"
}

# Sets $wanted to the packages of the compiler and to those that they need and this machine lacks.
choose_packages() {
	# shellcheck disable=SC2086 # a list of words
	apt -s --no-install-recommends install $packages >"$new/plan" &&
		wanted=$({ awk '/^Inst /{print $2}' "$new/plan" && echo "$packages" | tr ' ' '\n'; } | sort -u)
}

is_old_compiler() {
	version=$(apt-cache policy rustc-web | sed -n 's/^ *Candidate: //p')
	dpkg --compare-versions "$version" lt "$rust"
}

unpack_packages() {
	mkdir "$new/debs"
	# shellcheck disable=SC2086
	(cd "$new/debs" && apt download $wanted) &&
		for deb in "$new"/debs/*.deb; do dpkg -x "$deb" "$new/root" || return 1; done &&
		rm -rf "$new/debs" "$new/root/usr/share"
}

fetch_zig() {
	python3 -m venv "$new/venv" &&
		"$new/venv/bin/pip" install -q --target "$new/zig" "ziglang==$ziglang" "cargo-zigbuild==$zigbuild" &&
		rm -rf "$new/venv"
}

# The folder of the shared libraries, as Debian names it for this machine.
multiarch() (
	cd "$new/root/usr/lib" && echo *-linux-gnu
)

# The file to be sourced, for a toolchain that stands in $1. C is compiled with what FreeBSD's libc has; the linker must not
# collect the note by which the kernel knows the program's ABI.
environment() {
	cat <<-END
		unset RUSTFLAGS RUSTUP_TOOLCHAIN
		export PATH="$1/root/usr/bin:$1/zig/bin:\$PATH" PYTHONPATH="$1/zig"
		export LD_LIBRARY_PATH="$1/root/usr/lib/$(multiarch)"
		export RUSTC="$1/root/usr/bin/rustc" RUSTDOC="$1/root/usr/bin/rustdoc"
		export CFLAGS_x86_64_unknown_freebsd="-DHAVE_CLOCK_GETTIME=1 -DHAVE_DECL_CLOCK_MONOTONIC=1 -DHAVE_CLOCK_MONOTONIC=1"
		export CARGO_TARGET_X86_64_UNKNOWN_FREEBSD_RUSTFLAGS="-C link-arg=-Wl,--no-gc-sections"
	END
}

# Compiles the standard library for FreeBSD and puts it where the compiler looks for it.
compile_std() (
	mkdir -p "$new/std/src"
	: >"$new/std/src/lib.rs"
	printf '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n' >"$new/std/Cargo.toml"
	environment "$new" >"$new/env"
	# shellcheck disable=SC1091
	. "$new/env"
	cd "$new/std"
	RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$new/std/target cargo build -q --release --target "$target" \
		-Zbuild-std=std,panic_abort,panic_unwind,proc_macro,test || exit 1
	lib=$new/root/usr/lib/rustlib/$target/lib
	mkdir -p "$lib"
	find "$new/std/target/$target/release/deps" -name '*.rlib' ! -name 'libempty*' -exec cp {} "$lib/" \;
	rm -rf "$new/std" "$new/root/usr/src"
)

# Moves the new toolchain to its place, with an environment that says so.
settle() {
	{ echo "$recipe" && LD_LIBRARY_PATH=$new/root/usr/lib/$(multiarch) "$new/root/usr/bin/rustc" -V; } >"$new/stamp"
	environment "$dir" >"$new/env"
	rm -f "$new/plan"
	chmod 755 "$new"
	[ ! -e "$dir" ] || mv -T "$dir" "$new/old"
	mv -T "$new" "$dir"
	rm -rf "$dir/old"
}

logged() {
	"$@" >>"$log" 2>&1
}

command -v apt-get >/dev/null || skip 'no apt-get, and the compiler is taken from Debian'
exec 9>"$dir.lock"
flock 9
is_made && exit 0
new=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

: >"$log"
logged choose_packages || { [ "$(id -u)" -eq 0 ] && logged apt update && logged choose_packages; } ||
	skip "apt-get knows no rustc-web; see $log"
! is_old_compiler || skip "rustc-web is older than Rust $rust"
logged unpack_packages || skip "apt-get cannot download the compiler; see $log"
logged fetch_zig || skip "pip cannot install zig (Debian's python3-venv is needed); see $log"
logged compile_std || { tail -n 20 "$log" && exit 1; }
settle
