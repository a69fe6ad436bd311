#!/bin/sh
# Prints the name that the App Container specification has for a processor: arch.sh [NAME]
#
# NAME is what uname(1), Debian or FreeBSD call it; the processor of this machine unless told.
set -eu
case $(uname -s):${1:-$(uname -m)} in
*:x86_64 | *:amd64) echo amd64 ;;
*:i?86) echo i386 ;;
*:aarch64 | *:arm64) echo aarch64 ;;
Linux:armv7* | Linux:armhf) echo armv7l ;;
Linux:armv6* | Linux:armel) echo armv6l ;;
FreeBSD:arm*) echo arm ;;
*:ppc64el) echo ppc64le ;;
*) echo "${1:-$(uname -m)}" ;;
esac
