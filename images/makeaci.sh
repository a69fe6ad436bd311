#!/bin/sh
# Makes an App Container image of a manifest and a root filesystem.
#
#   makeaci.sh [-c xz|gzip|zstd|bzip2|none] [-o UID:GID[:PATH]]… MANIFEST ROOT OUT.aci
#
# ROOT is a directory, or a tar archive of one in any compression that tar(1) knows.
#
#   -c  how the image is compressed; xz unless told
#   -o  to whom PATH and what lies below it belong in the image; without PATH, everything else. Where nothing is said,
#       root's image keeps the owners of ROOT, and an ordinary user's image belongs to root (0:0).
#
# The same input gives the same bytes: entries are sorted, owners are numbers, and of the times only the files' own are
# kept. The manifest has the time SOURCE_DATE_EPOCH, or 0, and so has the root of an archive. GNU tar and bsdtar will do.
set -eu
LC_ALL=C.UTF-8 # bsdtar wants to know how names are written
export LC_ALL
umask 022

fail() {
	echo "makeaci: $*" >&2
	exit 1
}

usage() {
	fail 'usage: makeaci.sh [-c xz|gzip|zstd|bzip2|none] [-o UID:GID[:PATH]]… MANIFEST ROOT OUT.aci'
}

# Notes who owns a path, UID:GID:PATH. A path has no slash at its end and no `.`, so that find(1) knows it by its name.
own() {
	path=$(printf %s "${1#*:*:}" | sed -e 's|//*|/|g' -e 's|^/||' -e 's|/$||')
	case /$path/ in
	//) default_owner=${1%"${1#*:*:}"} && default_owner=${default_owner%:} ;;
	*/./* | */../*) fail "an owner's path has no . or ..: $1" ;;
	*) owners="$owners${1%"${1#*:*:}"}$path
" ;;
	esac
}

compression=xz default_owner='' owners=''
while getopts c:o: option; do
	case $option in
	c) compression=$OPTARG ;;
	o)
		case $OPTARG in
		*:*:*) own "$OPTARG" ;;
		*:*) default_owner=$OPTARG ;;
		*) usage ;;
		esac
		;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
[ $# -eq 3 ] || usage
manifest=$1 root=$2 out=$3
[ -f "$manifest" ] || fail "no such manifest: $manifest"
[ -e "$root" ] || fail "no such root filesystem: $root"

case $compression in
xz) compress='xz -c -T1' ;;
gzip) compress='gzip -c -n' ;;
zstd) compress='zstd -c -q -19' ;;
bzip2) compress='bzip2 -c' ;;
none) compress='cat' ;;
*) fail "unknown compression: $compression" ;;
esac

tar=${TAR:-tar}
case $("$tar" --version 2>/dev/null) in
*'GNU tar'*) flavour=gnu ;;
*bsdtar*) flavour=bsd ;;
*) fail "GNU tar or bsdtar is needed; $tar is neither (set TAR)" ;;
esac

new=
work=$(mktemp -d "${TMPDIR:-/var/tmp}/makeaci.XXXXXX")
cleanup() {
	if command -v chflags >/dev/null; then chflags -R 0 "$work"; fi
	chmod -R u+rwX "$work" 2>/dev/null || true
	rm -rf "$work"
	[ -z "$new" ] || rm -f "$new"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Gives the file $1 the time of SOURCE_DATE_EPOCH, or 0.
settle() {
	epoch=${SOURCE_DATE_EPOCH:-0}
	when=$(date -u -d "@$epoch" +%Y%m%d%H%M.%S 2>/dev/null || date -u -r "$epoch" +%Y%m%d%H%M.%S)
	TZ=UTC touch -t "$when" "$1"
}

# Unpacks the archive $root into the directory $1, with what belongs to each file.
unpack() {
	if [ "$(id -u)" -ne 0 ] && [ -z "$default_owner" ] && foreign=$(first_foreign_entry) && [ -n "$foreign" ]; then
		fail "only root can keep the owners of $root (or say -o 0:0): $foreign"
	fi
	mkdir "$1"
	case $flavour in
	gnu) "$tar" -xpf "$root" -C "$1" --numeric-owner --xattrs --xattrs-include='*' --acls ;;
	bsd) "$tar" -xpf "$root" -C "$1" --numeric-owner ;;
	esac
	settle "$1" # not every archive or tar says when the root itself was changed
}

# The first entry of the archive that does not belong to root, as tar lists it; nothing when all are root's.
first_foreign_entry() {
	case $flavour in
	gnu) "$tar" -tvf "$root" --numeric-owner | awk '$2 != "0/0" { print; exit }' ;;
	bsd) "$tar" -tvf "$root" --numeric-owner | awk '$3 != 0 || $4 != 0 { print; exit }' ;;
	esac
}

# Appends the entries of the directory $1 that the file $2 lists (names end in NUL). Their leading `.` becomes $3, and they
# belong to $4 (UID:GID; nothing: as they are). The archive's two closing blocks are cut off: tar's own appending would keep
# to the older format that it finds, and that has no room for long names.
append() {
	directory=$1 list=$2 prefix=$3 owner=$4
	set -- -c -b 1 -C "$directory" --null --no-recursion
	case $flavour in
	gnu)
		set -- "$@" --format=pax --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime --numeric-owner \
			--xattrs --xattrs-include='*' --xattrs-exclude=security.selinux --acls "--transform=s,^\\.,$prefix,S"
		[ -z "$owner" ] || set -- "$@" "--owner=${owner%:*}" "--group=${owner#*:}"
		;;
	bsd)
		set -- "$@" -s ",^\\.,$prefix,S" --numeric-owner
		[ -z "$owner" ] || set -- "$@" --uid "${owner%:*}" --gid "${owner#*:}" --uname '' --gname ''
		;;
	esac
	"$tar" "$@" -f "$work/part.tar" -T "$list"
	head -c $(($(wc -c <"$work/part.tar") - 1024)) "$work/part.tar" >>"$work/image.tar"
}

# Lists in $work/list the path $1 of the root and what lies below it, sorted, without the paths that have an owner of their own.
list_below() {
	start=$1
	set --
	while IFS=: read -r _ _ path; do
		[ -z "$path" ] || [ "./$path" = "$start" ] ||
			set -- "$@" -path "./$(printf %s "$path" | sed 's/[[*?\\]/\\&/g')" -prune -o
	done <<-END
		$owners
	END
	(cd "$tree" && find "$start" "$@" -print0) >"$work/found"
	LC_ALL=C sort -z "$work/found" >"$work/list"
}

if [ -d "$root" ]; then
	tree=$root
else
	tree=$work/root
	unpack "$tree"
fi
owners=$(printf %s "$owners" | sort -t : -k 3) # a directory comes before what lies below it
twice=$(printf '%s\n' "$owners" | cut -d : -f 3- | uniq -d)
[ -z "$twice" ] || fail "more than one owner is said for: $twice"
[ -n "$default_owner" ] || [ "$(id -u)" -eq 0 ] || default_owner=0:0

mkdir "$work/top"
cp "$manifest" "$work/top/manifest"
chmod 644 "$work/top/manifest"
settle "$work/top/manifest"
printf 'manifest\0' >"$work/list"
append "$work/top" "$work/list" '' 0:0

list_below .
append "$tree" "$work/list" rootfs "$default_owner"
while IFS=: read -r uid gid path; do
	[ -n "$path" ] || continue
	list_below "./$path"
	append "$tree" "$work/list" rootfs "$uid:$gid"
done <<END
$owners
END
head -c 1024 /dev/zero >>"$work/image.tar"

$compress "$work/image.tar" >"$work/image"
new=$(mktemp "$out.XXXXXX") # beside it, and no other's
cp "$work/image" "$new"
chmod 644 "$new"
mv -f "$new" "$out"
