#!/bin/sh
# Runs every test there is; `make check` calls it.
#
# A step that fails does not keep the next from running. Each step counts as one, beside the tests that cargo counts itself.
# What cannot run here says `skipped: REASON` and counts as skipped. The last line is the sum; the exit code is 0 when nothing
# failed.
set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL PREFIX prefix DESTDIR
target=${CARGO_TARGET_DIR:-target}
logs=$target/check
mkdir -p "$logs"
work=$(mktemp -d "${TMPDIR:-/var/tmp}/jetpack-check.XXXXXX") && chmod 1777 "$work" || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
passed=0 failed=0 skipped=0 failures=

# Runs one step, `step NAME COMMAND…`, in a shell of its own that stops at its first error; 77 means skipped.
step() {
	name=$1
	shift
	echo "--- $name"
	begin=$(date +%s)
	(
		set -e
		"$@"
	)
	code=$?
	case $code in
	0) passed=$((passed + 1)) verdict=passed ;;
	77) skipped=$((skipped + 1)) verdict=skipped ;;
	*) failed=$((failed + 1)) verdict=FAILED failures="$failures
  $name" ;;
	esac
	echo "--- $name: $verdict ($(($(date +%s) - begin)) s)"
}

skip() {
	echo "skipped: $*"
	exit 77
}

need() {
	for command in "$@"; do
		command -v "$command" >/dev/null || skip "$command is missing"
	done
}

check_format() {
	cargo fmt --version >/dev/null 2>&1 || skip 'cargo fmt is missing'
	cargo fmt --check
}

check_lints() {
	cargo clippy --version >/dev/null 2>&1 || skip 'cargo clippy is missing'
	cargo clippy --locked --all-targets --features testing -- -D warnings
}

# Runs cargo's tests, `test_with COMMAND…` for those that find what they need by a command; what they print is kept.
test_with() {
	echo 1 >"$logs/test.code" # what the last run left is not of this one
	{
		"$@" cargo test --locked --features testing --no-fail-fast -- --show-output 2>&1
		echo $? >"$logs/test.code"
	} | tee "$logs/test.log"
}

# Whether the tests failed beside a ZFS daemon that had died. That is no defect of what is tested, and says nothing about it.
lost_zfs() {
	[ "$(cat "$logs/test.code")" -ne 0 ] && grep -q '^zfs-fuse has died' "$logs/test.log"
}

# Cargo's tests are counted one by one, and find a ZFS pool where one can be made. A test that finds that it cannot run here passes for cargo, and says why.
run_cargo_tests() {
	echo '--- cargo test'
	test_with sh tests/zfs.sh
	if lost_zfs; then
		echo '--- cargo test: again, with another ZFS daemon'
		test_with sh tests/zfs.sh
	fi
	if lost_zfs; then
		echo '--- cargo test: again, without ZFS'
		test_with env JETPACK_TEST_NO_ZFS='zfs-fuse has died twice'
	fi
	code=$(cat "$logs/test.code")
	# shellcheck disable=SC2046 # three numbers
	set -- $(awk '
		/^test result:/ { gsub(/[.;]/, ""); for (i = 2; i <= NF; i++) sum[$i] += $(i - 1) }
		/^skipped: / { unable++ }
		END { print sum["passed"] - unable, sum["failed"] + 0, sum["ignored"] + unable }' "$logs/test.log")
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
	if [ "$code" -ne 0 ]; then
		failures="$failures
  cargo test: $logs/test.log"
	fi
	if [ "$code" -ne 0 ] && [ "$2" -eq 0 ]; then
		failed=$((failed + 1))
		echo '--- cargo test: FAILED before it could count'
	else
		echo "--- cargo test: $1 passed, $2 failed, $3 skipped"
	fi
}

# Every file that begins with a line that names a shell.
scripts() {
	find .ci conf images tests -type f ! -name '*.aci' | sort | while read -r file; do
		case $(head -n 1 "$file" | tr -d '\0') in
		'#!'*sh) echo "$file" ;;
		esac
	done
}

check_scripts() {
	need shellcheck
	for script in $(scripts); do
		case $(head -n 1 "$script") in
		*bash) bash -n "$script" ;;
		*)
			sh -n "$script"
			if command -v dash >/dev/null; then dash -n "$script"; fi
			;;
		esac
	done
	# shellcheck disable=SC2046 # a list of words
	shellcheck $(scripts)
}

check_manuals() {
	need mandoc
	mandoc -T lint -W warning conf/man/*.[1-9]
}

# The makes that are here, as `NAME COMMAND`.
makes() {
	for command in gmake make; do
		if "$command" --version 2>/dev/null | grep -q '^GNU'; then echo "gnu $command" && break; fi
	done
	for command in bmake make; do
		if [ -n "$("$command" -r -f /dev/null -V MAKE_VERSION 2>/dev/null)" ]; then echo "bsd $command" && break; fi
	done
}

need_both_makes() {
	[ "$(makes | wc -l)" -eq 2 ] || skip 'GNU make and bmake are not both here'
}

# Whether root runs the tests and can become an ordinary user, who may read the sources.
has_another_user() {
	[ "$(id -u)" -eq 0 ] && setpriv --reuid=65534 --regid=65534 --clear-groups test -r tests/check.sh 2>/dev/null
}

# Runs a command as an ordinary user, where that can be.
ordinary() {
	if has_another_user; then
		setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
	else
		"$@"
	fi
}

run_as() { # me|ordinary COMMAND…
	if [ "$1" = ordinary ]; then "$@"; else shift && "$@"; fi
}

# Makes busybox-base, whose tar archive is then in base.tar.
make_base() { # FLAVOUR MAKE USER
	copy=$work/images-$1-$3
	cp -R images "$copy"
	rm -f "$copy"/*/*.aci "$copy"/*/*.aci.id*
	chmod -R a+rwX "$copy"
	run_as "$3" "$2" -C "$copy/busybox-base" aci >"$logs/images.log" 2>&1 || { cat "$logs/images.log" && false; }
	xz -dc "$copy/busybox-base/busybox-base.aci" >"$copy/base.tar"
}

# The same image from either make.
check_images() {
	need_both_makes
	makes >"$work/makes"
	while read -r flavour make <&3; do
		make_base "$flavour" "$make" me
		cmp "$work/images-$flavour-me/base.tar" "$work/images-gnu-me/base.tar"
	done 3<"$work/makes"
}

# The same image from root and an ordinary user.
check_owners() {
	need_both_makes
	has_another_user || skip 'it takes root, and setpriv to become a user who may read the sources'
	makes >"$work/makes"
	while read -r flavour make <&3; do
		make_base "$flavour" "$make" ordinary
		cmp "$work/images-$flavour-ordinary/base.tar" "$work/images-$flavour-me/base.tar"
	done 3<"$work/makes"
}

# Makes images with a make, in a store and folder of their own; what they say stays in a file.
make_images() { # macros|examples|packages FLAVOUR MAKE
	log=$logs/images-$1-$2.log
	set +e
	sh tests/images.sh "$1" "$3" >"$log" 2>&1
	code=$?
	case $code in
	0) ;;
	77) grep '^skipped: ' "$log" ;;
	*) cat "$log" ;;
	esac
	exit $code
}

# What `make install` should have put below the current directory.
installed_files() { # PREFIX ETC
	for page in conf/man/*.[1-9]; do
		echo ".$1/share/man/man${page##*.}/${page##*/}"
	done
	printf '%s\n' ".$1/bin/jetpack" ".$1/share/jetpack/jetpack.image.mk" ".$1/share/jetpack/jetpack.image.sh" \
		".$1/share/jetpack/makeaci.sh" ".$2/jetpack.conf.sample" ".$1/share/bash-completion/completions/jetpack" \
		".$1/share/fish/vendor_completions.d/jetpack.fish" ".$1/share/zsh/site-functions/_jetpack"
	[ "$(uname -s)" != FreeBSD ] || printf '%s\n' ".$2/rc.d/jetpack" ".$2/periodic/daily/415.status-jetpack" \
		".$2/newsyslog.conf.d/jetpack.conf.sample" ".$1/libexec/jetpack/reopen-logs"
}

list_files() { # DIRECTORY
	(cd "$1" && find . -type f | sort)
}

# Installs for a prefix below a new directory, twice, and removes it again; a jetpack.conf that was there stays.
install_and_remove() { # MAKE PREFIX ETC VARIABLE
	make=$1 prefix=$2 etc=$3 variable=$4
	root=$(ordinary mktemp -d "$work/install.XXXXXX")
	installed_files "$prefix" "$etc" | sort >"$work/expected"
	ordinary "$make" install "DESTDIR=$root" "$variable=$prefix"
	list_files "$root" | diff "$work/expected" -
	[ -d "$root$prefix/libexec/jetpack" ]
	echo 'debug = on' | ordinary tee "$root$etc/jetpack.conf" >/dev/null
	ordinary "$make" install "DESTDIR=$root" "$variable=$prefix"
	[ "$(cat "$root$etc/jetpack.conf")" = 'debug = on' ]
	"$root$prefix/bin/jetpack" version
	grep -qxF ".It Pa $etc/jetpack.conf" "$root$prefix/share/man/man5/jetpack.conf.5"
	[ "$prefix" = /usr/local ] || ! grep /usr/local "$root$prefix"/share/man/man*/*
	ordinary "$make" uninstall "DESTDIR=$root" "$variable=$prefix"
	[ "$(list_files "$root")" = ".$etc/jetpack.conf" ]
}

# The executable that was built stands in for one built for /usr, so that only its place is tested for that prefix.
pretend_usr_build() {
	mkdir -p "$work/usr/release"
	cp "$target/release/jetpack" "$work/usr/release/jetpack"
	echo /usr >"$work/usr/release/.jetpack-prefix"
	chmod -R a+rX "$work/usr"
}

check_install() {
	need_both_makes
	makes >"$work/makes"
	pretend_usr_build
	while read -r flavour make <&3; do
		case $flavour in gnu) variable=prefix ;; *) variable=PREFIX ;; esac
		install_and_remove "$make" /usr/local /usr/local/etc "$variable"
		(
			CARGO_TARGET_DIR=$work/usr
			export CARGO_TARGET_DIR
			install_and_remove "$make" /usr /etc "$variable"
		)
	done 3<"$work/makes"
}

check_vagrant() {
	need ruby
	ruby -c Vagrantfile
}

# The cross toolchain says itself why it cannot be had.
check_toolchain() {
	[ "$(uname -s)" != FreeBSD ] || skip 'freebsd cross build: this is FreeBSD'
	set +e
	said=$(sh tests/freebsd/cross.sh toolchain)
	code=$?
	printf '%s' "$said" | sed 's/^skipped: /&freebsd cross build: /'
	[ -z "$said" ] || echo
	exit $code
}

case $(uname -s) in
FreeBSD) sh conf/packages.sh cargo gmake shellcheck ;;
*) sh conf/packages.sh cargo cc make bmake busybox shellcheck mandoc getfacl setfattr capsh xz zstd bzip2 python3 setpriv debootstrap zfs-fuse fuser ruby gpg ;;
esac

step format check_format
step clippy check_lints
run_cargo_tests
step 'shell scripts' check_scripts
step 'manual pages' check_manuals
step 'images: the same from GNU make and bmake' check_images
step 'images: the same from root and others' check_owners
step 'release build' sh conf/build.sh /usr/local
step 'install and uninstall' check_install
step 'freebsd: rc.d script' sh tests/rcd.sh
step 'freebsd: port' sh tests/freebsd/port.sh
step 'freebsd: disk of a fresh host' sh tests/provision.sh
step 'vagrant' check_vagrant
makes >"$work/makes"
while read -r flavour make <&3; do
	for part in macros examples packages; do
		step "images: $part, with $flavour make" make_images "$part" "$flavour" "$make"
	done
done 3<"$work/makes"
step 'freebsd: toolchain' check_toolchain
if [ "$verdict" = passed ]; then
	step 'freebsd: clippy' sh tests/freebsd/cross.sh clippy
	step 'freebsd: link' sh tests/freebsd/cross.sh link
fi

[ -z "$failures" ] || echo "failed:$failures"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
