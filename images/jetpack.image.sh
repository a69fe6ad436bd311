#!/bin/sh
# Builds an image as jetpack.image.mk asks.
#
#   jetpack.image.sh image|aci|flat-aci [:LIST [WORD…]]… :command [COMMAND…]
#   jetpack.image.sh pod [:packages NAME…] [:variables NAME=VALUE…] :command COMMAND…
#
# The lists are the make variables that IMAGES.md explains. `pod` is what the script does in the pod where an image is built:
# it is copied there when packages or variables are wanted, and brings them in before it runs the build command.
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
	eval "set -- $jetpack $flags \"\$@\""
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
	rm -f "$base.id"
	jet --insecure-options image import --saveid "$base.id" "$base"
}

# Whether the image is in the store, stands on the parent of today, and is newer than everything that it is built from.
is_current() {
	is_stored "$id_file" || return 1
	parent_id=$(jet show-image "$parent" 2>/dev/null | awk '$1 == "id" { print $2 }')
	[ -n "$parent_id" ] && jet image-manifest "$(cat "$id_file")" | grep -qF "$parent_id" || return 1
	eval "set -- $copies \"\$directory\""
	[ ! -f Makefile ] || set -- "$@" Makefile
	[ -z "$(find -L "$@" -newer "$id_file" ! -type d ! -name '*.aci' ! -name '*.aci.id' | head -n 1)" ]
}

# Builds the image from $parent by a command, which is build.sh unless told, or make where there is no build.sh.
build() {
	if is_current; then
		echo "$id_file is up to date"
		return
	fi
	rm -f "$id_file"
	if [ $# -eq 0 ] && [ ! -f "$directory/build.sh" ] && [ -f "$directory/Makefile" ]; then
		set -- make JETPACK_SHARE=. .jetpack.image.mk=./jetpack.image.mk build manifest.json
		copy "$share/jetpack.image.mk"
	elif [ $# -eq 0 ]; then
		set -- sh ./build.sh
	fi
	eval "set -- \"\$@\" $arguments $variables"
	if [ -n "$packages$variables" ]; then
		eval "set -- sh ./jetpack.image.sh pod :packages $packages :variables $variables :command \"\$@\""
		copy "$share/jetpack.image.sh"
	fi
	case $packages:$options in
	:* | *--net*) ;;
	*) options="$options --net host" ;;
	esac
	eval "jet build --saveid \"\$id_file\" --dir \"\$directory\" $options \"\$parent\" \"\$@\""
}

# Copies a file into the directory of the build.
copy() {
	copies="$copies$(quote "$1")"
	options="$options --cp$(quote "$1")"
}

# Makes the image in the store.
make_image() {
	jetpack=${jetpack:-$(find_jetpack)}
	[ -z "$base" ] || import_base
	if [ -n "$base" ] && [ $# -gt 0 ]; then
		parent=$(cat "$base.id")
	fi
	if [ -n "$parent" ]; then
		build "$@"
	elif [ "$base.id" != "$id_file" ]; then
		cp "$base.id" "$id_file"
	fi
}

# Makes the image and writes it into a file: make_file FILE EXPORT COMMAND… A base is that file already, and needs no store.
make_file() {
	file=$1 export=$2
	shift 2
	if [ -n "$parent" ] || [ $# -gt 0 ]; then
		make_image "$@"
		[ -z "$(find "$file" -newer "$id_file" 2>/dev/null)" ] || return 0
		eval "jet $export \"\$(cat \"\$id_file\")\" \"\$file\""
	elif [ "$file" != "$base" ]; then
		cp "$base" "$file.new"
		mv -f "$file.new" "$file"
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

export_all() {
	for variable in "$@"; do
		# shellcheck disable=SC2163 # NAME=VALUE
		export "$variable"
	done
}

action=$1
shift
list='' jetpack='' flags='' id_file='' aci='' flat='' base='' parent='' directory='' copies='' options='' packages=''
variables='' arguments=''
while [ $# -gt 0 ] && [ "$1" != :command ]; do
	case $1 in :*) list=$1 && shift && continue ;; esac
	case $list in
	:jetpack) jetpack="$jetpack$(quote "$1")" ;;
	:flags) flags="$flags$(quote "$1")" ;;
	:id) id_file=$1 ;;
	:aci) aci=$1 ;;
	:flat) flat=$1 ;;
	:base) base=$1 ;;
	:parent) parent=$1 ;;
	:directory) directory=$1 ;;
	:cp) copy "$1" ;;
	:options) options="$options$(quote "$1")" ;;
	:packages) packages="$packages$(quote "$1")" ;;
	:variables) variables="$variables$(quote "$1")" ;;
	:arguments) arguments="$arguments$(quote "$1")" ;;
	*) fail "a word that belongs to no list: $1" ;;
	esac
	shift
done
[ $# -eq 0 ] || shift
directory=${directory:-.}

case $action in
image | aci | flat-aci)
	[ -n "$parent$base" ] || fail "PARENT_IMAGE is not set
help: say in the Makefile from which image this one is built: PARENT_IMAGE = NAME
help: or, where it has no parent, which file makeaci makes: BASE_ACI = FILE"
	;;
esac
case $action in
image) make_image "$@" ;;
aci) make_file "$aci" export "$@" ;;
flat-aci) make_file "$flat" 'export --flat' "$@" ;;
pod)
	eval "export_all $variables"
	[ -z "$packages" ] || eval "install_packages $packages"
	exec "$@"
	;;
*) fail "no such action: $action" ;;
esac
