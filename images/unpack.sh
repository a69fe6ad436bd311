#!/bin/sh
# Unpacks a root filesystem, as root, with all that belongs to each file: unpack.sh ARCHIVE DIRECTORY
#
# GNU tar brings extended attributes, such as file capabilities, and access control lists when told; bsdtar by itself.
set -eu
archive=$1 directory=$2
set -- -xpf "$archive" -C "$directory" --numeric-owner
case $(tar --version 2>/dev/null) in
*'GNU tar'*) set -- "$@" --xattrs '--xattrs-include=*' --acls ;;
esac
tar "$@"
