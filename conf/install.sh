#!/bin/sh
# Installs Jetpack, or removes it again.
#
#   conf/install.sh install|uninstall PREFIX [DESTDIR [SYSTEM]]
#
# SYSTEM is whose files are installed, `uname -s` unless told: FreeBSD has rc.d(8), newsyslog(8) and periodic(8).
#
# Builds first, unless the executable is there for this prefix and newer than its sources: so a root without a Rust
# toolchain can install what an ordinary user has built. An existing jetpack.conf is never touched, and none is made.
set -eu
cd "$(dirname "$0")/.."
action=$1 prefix=$2 destdir=${3-} system=${4:-$(uname -s)}
# Where cargo puts what it builds for a platform that it is told, as FreeBSD's ports do.
release=${CARGO_TARGET_DIR:-target}${CARGO_BUILD_TARGET:+/$CARGO_BUILD_TARGET}/release
built=$release/.jetpack-prefix

case $prefix in
/) prefix= ;;
/*) prefix=${prefix%/} ;;
*) echo "the prefix is no absolute path: $prefix" >&2 && exit 1 ;;
esac
case $prefix in
/usr) etc=$destdir/etc ;;
*) etc=$destdir$prefix/etc ;;
esac
bin=$destdir$prefix/bin
libexec=$destdir$prefix/libexec/jetpack
share=$destdir$prefix/share/jetpack
man=$destdir$prefix/share/man

is_current() {
	[ -x "$release/jetpack" ] && [ -f "$built" ] && [ "$(cat "$built")" = "$prefix" ] &&
		[ -z "$(find Cargo.toml Cargo.lock src -newer "$built" -type f | head -n 1)" ]
}

put() { # MODE FILE DIRECTORY
	install -d -m 755 "$3"
	install -m "$1" "$2" "$3/"
}

# Puts the completion scripts where the shells look for them, or takes them away.
completions() { # install|uninstall
	for script in bash:bash-completion/completions/jetpack fish:fish/vendor_completions.d/jetpack.fish \
		zsh:zsh/site-functions/_jetpack; do
		path=$destdir$prefix/share/${script#*:}
		if [ "$1" = install ]; then
			install -d -m 755 "${path%/*}"
			"$release/jetpack" completions "${script%%:*}" >"$path"
			chmod 644 "$path"
		else
			rm -f "$path"
		fi
	done
}

# A manual page or a script, which is written for /usr/local, with the places of this prefix.
put_text() { # MODE FILE PATH
	install -d -m 755 "${3%/*}"
	rm -f "$3"
	sed -e "s|/usr/local/etc|${etc#"$destdir"}|g" -e "s|/usr/local|$prefix|g" "$2" >"$3"
	chmod "$1" "$3"
}

# What only FreeBSD has, as `MODE FILE PATH`. newsyslog(8) reads what ends in .conf; that is the administrator's to make.
freebsd_files() {
	[ "$system" = FreeBSD ] || return 0
	echo "555 conf/rc.d/jetpack $etc/rc.d/jetpack"
	echo "555 conf/freebsd/reopen-logs $libexec/reopen-logs"
	echo "644 conf/newsyslog.conf.d/jetpack.conf $etc/newsyslog.conf.d/jetpack.conf.sample"
	echo "555 conf/periodic/daily/415.status-jetpack $etc/periodic/daily/415.status-jetpack"
}

install_all() {
	is_current || sh conf/build.sh "$prefix"
	put 755 "$release/jetpack" "$bin"
	install -d -m 755 "$libexec"
	put 755 images/makeaci.sh "$share"
	put 644 images/jetpack.image.mk "$share"
	put 755 images/jetpack.image.sh "$share"
	for page in conf/man/*.[1-9]; do
		put_text 644 "$page" "$man/man${page##*.}/${page##*/}"
	done
	freebsd_files | while read -r mode file path; do
		put_text "$mode" "$file" "$path"
	done
	put 644 conf/jetpack.conf.sample "$etc"
	completions install
	echo "jetpack is installed in $destdir$prefix; its configuration is read from ${etc#"$destdir"}/jetpack.conf"
}

uninstall_all() {
	rm -f "$bin/jetpack" "$etc/jetpack.conf.sample"
	for page in conf/man/*.[1-9]; do
		rm -f "$man/man${page##*.}/${page##*/}"
	done
	freebsd_files | while read -r _ _ path; do
		rm -f "$path"
	done
	completions uninstall
	rm -rf "$libexec" "$share"
	[ ! -e "$etc/jetpack.conf" ] || echo "left in place: $etc/jetpack.conf"
}

case $action in
install) install_all ;;
uninstall) uninstall_all ;;
*) echo "conf/install.sh install|uninstall PREFIX [DESTDIR [SYSTEM]]" >&2 && exit 1 ;;
esac
