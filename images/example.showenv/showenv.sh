#!/bin/sh
# Tells what an app sees in its pod.
set -eu

cat <<END
Program: $0
Arguments: $*
I am: $(id)
Working directory: $(pwd)
Hostname: $(hostname)

Environment:
END
export -p

printf '\nMounts:\n'
if [ -r /proc/self/mounts ]; then cat /proc/self/mounts; else mount; fi

date >date.txt
printf '\nFiles:\n'
ls -la

printf '\ndate.txt: %s\n' "$(cat date.txt)"
echo "pre-start id: $(cat pre-start-id.txt)"
echo "post-stop id: $(cat post-stop-id.txt 2>/dev/null || echo 'none, this is the first run')"

metadata() {
	wget -q -O - --header 'Metadata-Flavor: AppContainer' "$AC_METADATA_URL/acMetadata/v1/$1"
}

# Only where there is a metadata service.
if [ -n "${AC_METADATA_URL-}" ]; then
	printf '\nMetadata:\n'
	command -v wget >/dev/null || { echo 'not asked for: there is no wget here, which sends the header that it takes' && exit; }
	echo "Pod: $(metadata pod/uuid)"
	echo "Image: $(metadata "apps/$AC_APP_NAME/image/id")"
fi
