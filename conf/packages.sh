#!/bin/sh
# Makes sure that commands are there, and installs by the system's package manager what brings the missing ones.
#
#   conf/packages.sh COMMAND…
#
# Says what it installs. Succeeds when every command is there at the end; otherwise names the missing ones.
set -eu

# Whether the command is there; for busybox, whether it is the static one, and for python3, whether it can make a venv.
have() {
	command -v "$1" >/dev/null 2>&1 || return 1
	case $1 in
	busybox) ! ldd "$(command -v busybox)" 2>/dev/null | grep -q '=>' ;;
	python3) python3 -c 'import ensurepip' 2>/dev/null ;;
	esac
}

debian_package() {
	case $1 in
	busybox) echo busybox-static ;;
	cc) echo gcc libc6-dev ;;
	capsh) echo libcap2-bin ;;
	fuser) echo psmisc ;;
	getfacl) echo acl ;;
	gpg) echo gnupg ;;
	python3) echo python3-venv ;;
	setfattr) echo attr ;;
	setpriv) echo util-linux ;;
	xz) echo xz-utils ;;
	cargo) ;; # Debian's own is older than the crate asks for
	*) echo "$1" ;;
	esac
}

freebsd_package() {
	case $1 in
	cargo) echo rust ;;
	gpg) echo gnupg ;;
	shellcheck) echo hs-ShellCheck ;;
	*) echo "$1" ;;
	esac
}

missing() {
	for command in "$@"; do
		have "$command" || printf '%s ' "$command"
	done
}

apt_install() {
	export DEBIAN_FRONTEND=noninteractive
	apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"
}

lack=$(missing "$@")
[ -n "$lack" ] || exit 0

packages=
for command in $lack; do
	case $(uname -s) in
	FreeBSD) packages="$packages $(freebsd_package "$command")" ;;
	*) packages="$packages $(debian_package "$command")" ;;
	esac
done
packages=${packages# }

if [ -z "$packages" ]; then
	:
elif [ "$(id -u)" -ne 0 ]; then
	echo "not installed, because only root may: $packages"
elif [ "$(uname -s)" = FreeBSD ]; then
	echo "installing by pkg: $packages"
	# shellcheck disable=SC2086 # a list of words
	pkg install -qy $packages >&2 || true
elif command -v apt-get >/dev/null; then
	echo "installing by apt-get: $packages"
	# shellcheck disable=SC2086
	apt_install $packages >/dev/null 2>&1 || { apt-get -qq update && apt_install $packages >/dev/null; } || true
else
	echo "not installed, because neither apt-get nor pkg is here: $packages"
fi

lack=$(missing "$@")
[ -n "$lack" ] || exit 0
echo "missing: $lack" >&2
case " $lack" in
*' cargo '*) echo "help: Rust 1.95 or newer is needed: https://rustup.rs" >&2 ;;
esac
exit 1
