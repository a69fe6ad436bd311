#!/bin/sh
# Builds an image as jetpack.image.mk asks.
#
#   jetpack.image.sh image|aci|flat-aci [NAME=VALUE…] -- [VARIABLE=VALUE…]
#   jetpack.image.sh pod PACKAGES COUNT VARIABLE=VALUE… COMMAND…
#
# NAMEs are the make variables that IMAGES.md explains, each a list of words as the shell reads them, and VARIABLEs those that
# BUILD_VARS names. `pod` is what the script does in the pod where an image is built: it is copied there when packages or
# variables are wanted, and brings PACKAGES and COUNT variables in before it runs the build command.
set -eu
share=${0%/*}

fail() {
	echo "image: $*" >&2
	exit 1
}

# A word as the shell reads it again.
quote() {
	printf " '%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"
}

# The executable that was built in the tree of the sources, or else the one in PATH.
find_jetpack() {
	top=$(cd "$share/.." && pwd)
	case ${CARGO_TARGET_DIR-} in
	/*) built=$CARGO_TARGET_DIR/release/jetpack ;;
	*) built=$top/${CARGO_TARGET_DIR:-target}/release/jetpack ;;
	esac
	if [ -f "$top/Cargo.toml" ] && [ -x "$built" ]; then
		quote "$built"
	elif command -v jetpack >/dev/null; then
		quote jetpack
	elif [ -f "$top/Cargo.toml" ]; then
		fail "jetpack is not built; run make in $top, or set JETPACK"
	else
		fail 'jetpack is not in PATH; set JETPACK'
	fi
}

jet() {
	eval "set -- $JETPACK $JETPACK_FLAGS \"\$@\""
	"$@"
}

# Whether the store has the image whose id the file has.
is_stored() {
	[ -s "$1" ] && jet show-image "$(cat "$1")" >/dev/null 2>&1
}

# Brings the archive $base into the store, and its id into $base.id.
import_base() {
	if is_stored "$base.id" && [ -z "$(find "$base" -newer "$base.id")" ]; then
		echo "$base.id is up to date"
		return
	fi
	# The old id stays until there is a new one.
	jet --insecure-options image import --saveid "$base.id.$$" "$base"
	mv -f "$base.id.$$" "$base.id"
}

# The names of all files that the image is built from; with arguments of find(1), of some of them.
sources() {
	find_only=
	for word in "$@"; do find_only="$find_only$(quote "$word")"; done
	eval "set -- $copies \"\$directory\""
	[ ! -f Makefile ] || set -- "$@" Makefile
	eval "find -L \"\$@\" ! -type d ! -name '*.aci' ! -name '*.aci.id*' ! -name '*.aci.asc' ! -name \"\${id_file##*/}\" \
		! -name \"\${id_file##*/}.files\" $find_only"
}

# Whether the image is in the store, stands on the parent of today, and is made of the files $names, of which none is newer.
is_current() {
	is_stored "$id_file" || return 1
	parent_id=$(jet show-image "$parent" 2>/dev/null | awk '$1 == "id" { print $2 }')
	[ -n "$parent_id" ] && jet image-manifest "$(cat "$id_file")" | grep -qF "$parent_id" || return 1
	[ -f "$id_file.files" ] && [ "$names" = "$(cat "$id_file.files")" ] || return 1
	newer=$(sources -newer "$id_file") && [ -z "$newer" ]
}

# Builds the image from $parent by a command, which is build.sh unless told, or make where there is no build.sh.
build() { # [VARIABLE=VALUE…]
	eval "for word in $BUILD_CP; do copy \"\$word\"; done"
	# A file that is missing is for jetpack to complain of.
	names=$(sources 2>/dev/null) && names=$(printf '%s\n' "$names" | sort) || names=unknown
	if is_current; then
		echo "$id_file is up to date"
		return
	fi
	count=$#
	variables=
	for word in "$@"; do variables="$variables$(quote "$word")"; done
	eval "set -- $BUILD_ARGS \"\$@\""
	if [ -n "$BUILD_COMMAND" ] && [ $# -eq 0 ]; then
		set -- sh -c "$BUILD_COMMAND"
	elif [ -n "$BUILD_COMMAND" ]; then
		set -- sh -c "$BUILD_COMMAND \"\$@\"" sh "$@"
	elif [ ! -f "$directory/build.sh" ] && [ -f "$directory/Makefile" ]; then
		set -- make JETPACK_SHARE=. .jetpack.image.mk=./jetpack.image.mk build manifest.json "$@"
		copy "$share/jetpack.image.mk"
	else
		set -- sh ./build.sh "$@"
	fi
	if [ -n "$PKG_INSTALL$variables" ]; then
		eval "set -- sh ./jetpack.image.sh pod \"\$(echo $PKG_INSTALL)\" $count $variables \"\$@\""
		copy "$share/jetpack.image.sh"
	fi
	case $PKG_INSTALL:$BUILD_FLAGS in
	:* | *--net*) ;;
	*) BUILD_FLAGS="$BUILD_FLAGS --net host" ;;
	esac
	# The old id stays until there is a new one.
	eval "jet build --saveid \"\$id_file.\$\$\" --dir \"\$directory\" $BUILD_FLAGS $options \"\$parent\" \"\$@\""
	printf '%s\n' "$names" >"$id_file.files"
	mv -f "$id_file.$$" "$id_file"
}

# Copies a file into the directory of the build.
copy() {
	copies="$copies$(quote "$1")"
	options="$options --cp$(quote "$1")"
}

# Makes the image in the store.
make_image() { # [VARIABLE=VALUE…]
	JETPACK=${JETPACK:-$(find_jetpack)}
	[ -z "$base" ] || import_base
	if [ -n "$base" ] && [ -n "$BUILD_COMMAND" ]; then
		parent=$(cat "$base.id")
	fi
	if [ -n "$parent" ]; then
		build "$@"
	elif [ "$base.id" != "$id_file" ]; then
		cp "$base.id" "$id_file"
	fi
}

# Makes the image and writes it into a file: make_file FILE EXPORT [VARIABLE=VALUE…]. A base is that file already, and needs
# no store.
make_file() {
	file=$1 export=$2
	shift 2
	if [ -n "$parent$BUILD_COMMAND" ]; then
		make_image "$@"
		[ -z "$(find "$file" -newer "$id_file" 2>/dev/null)" ] || return 0
		eval "jet $export \"\$(cat \"\$id_file\")\" \"\$file\""
	elif [ "$file" != "$base" ]; then
		cp "$base" "$file.$$"
		mv -f "$file.$$" "$file"
	fi
}

# Signs an archive with SIGNING_KEY, where it is set, into a file beside it. What is there from before and is of an older archive
# goes.
sign() { # FILE
	[ ! -e "$1.asc" ] || [ -z "$(find "$1" -newer "$1.asc")" ] || rm -f "$1.asc"
	if [ -n "$SIGNING_KEY" ] && [ ! -e "$1.asc" ]; then
		gpg --yes --armor --local-user "$SIGNING_KEY" --output "$1.asc.$$" --detach-sign "$1"
		mv -f "$1.asc.$$" "$1.asc"
	fi
}

install_packages() {
	if command -v apt-get >/dev/null; then
		export DEBIAN_FRONTEND=noninteractive
		apt-get -q update
		# An image that is half built is thrown away, and so dpkg need not wait for the disk.
		apt-get -q -o Dpkg::Options::=--force-unsafe-io install -y --no-install-recommends "$@"
		apt-get clean
		rm -rf /var/lib/apt/lists/*
	elif command -v apk >/dev/null; then
		apk add --no-cache "$@"
	elif command -v pkg >/dev/null; then
		ASSUME_ALWAYS_YES=yes pkg install "$@"
		pkg clean -aqy
	else
		fail "PKG_INSTALL takes apt-get, apk or pkg, and this image has none of them"
	fi
}

# What the script does in the pod.
run_in_pod() { # PACKAGES COUNT VARIABLE=VALUE… COMMAND…
	packages=$1 count=$2
	shift 2
	while [ "$count" -gt 0 ]; do
		# shellcheck disable=SC2163 # NAME=VALUE
		export "$1"
		shift
		count=$((count - 1))
	done
	# shellcheck disable=SC2086 # a list of words
	[ -z "$packages" ] || install_packages $packages
	exec "$@"
}

# The one word of a list, or nothing.
one() { # NAME LIST
	name=$1
	eval "set -- $2"
	[ $# -le 1 ] || fail "$name is one word, and not: $*"
	printf %s "${1-}"
}

action=$1
shift
[ "$action" != pod ] || run_in_pod "$@"

copies='' options=''
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	case ${1%%=*} in
	JETPACK | JETPACK_FLAGS | BUILD_CP | BUILD_ARGS | BUILD_COMMAND | BUILD_FLAGS | PKG_INSTALL | SIGNING_KEY) eval "${1%%=*}=\${1#*=}" ;;
	ACI_FILE) aci=$(one "${1%%=*}" "${1#*=}") ;;
	ACI_ID_FILE) id_file=$(one "${1%%=*}" "${1#*=}") ;;
	FLAT_ACI_FILE) flat=$(one "${1%%=*}" "${1#*=}") ;;
	PARENT_IMAGE) parent=$(one "${1%%=*}" "${1#*=}") ;;
	BASE_ACI) base=$(one "${1%%=*}" "${1#*=}") ;;
	BUILD_DIR) directory=$(one "${1%%=*}" "${1#*=}") ;;
	*) fail "no such variable: ${1%%=*}" ;;
	esac
	shift
done
[ $# -eq 0 ] || shift
directory=${directory:-.}
[ -n "$parent$base" ] || fail "PARENT_IMAGE is not set
help: say in the Makefile from which image this one is built: PARENT_IMAGE = NAME
help: or, where it has no parent, which file makeaci makes: BASE_ACI = FILE"

case $action in
image) make_image "$@" ;;
aci)
	make_file "$aci" export "$@"
	sign "$aci"
	;;
flat-aci)
	make_file "$flat" 'export --flat' "$@"
	sign "$flat"
	;;
*) fail "no such action: $action" ;;
esac
