#!/bin/sh
# Downloads a file, unless it is there already: download.sh URL FILE [SHA256]
#
# A file that has another checksum is not kept. Without a checksum it is downloaded anew each time.
set -eu
url=$1 file=$2 expected=${3-}

fail() {
	echo "download: $*" >&2
	exit 1
}

sha256_of() {
	if command -v sha256sum >/dev/null; then
		sha256sum <"$1" | cut -d ' ' -f 1
	else
		sha256 -q "$1"
	fi
}

get() { # URL FILE
	case $1 in
	file://*) cp "${1#file://}" "$2" ;;
	*)
		# What was asked for by https is not taken from elsewhere by http; only curl can be told so.
		case $1 in https://*) onward='=https' ;; *) onward='=http,https' ;; esac
		if command -v curl >/dev/null; then
			curl -fsSL --proto-redir "$onward" --connect-timeout 30 -o "$2" "$1"
		elif command -v fetch >/dev/null; then
			fetch -q -T 60 -o "$2" "$1"
		elif command -v wget >/dev/null; then
			wget -q -T 60 -O "$2" "$1"
		else
			fail 'curl, fetch or wget is needed'
		fi
		;;
	esac
}

if [ -n "$expected" ] && [ -f "$file" ] && [ "$(sha256_of "$file")" = "$expected" ]; then
	exit
fi
trap 'rm -f "$file.part"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
get "$url" "$file.part" || fail "cannot get $url"
if [ -n "$expected" ]; then
	found=$(sha256_of "$file.part")
	[ "$found" = "$expected" ] || fail "$url has the SHA256 $found
help: the one that was published is $expected"
fi
mv -f "$file.part" "$file"
