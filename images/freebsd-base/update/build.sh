#!/bin/sh
# Runs in the pod where the image is built: brings in the updates since the release.
set -eu
export PAGER=cat

# freebsd-update wants to see the directory of the running kernel, which is not there in a pod.
kernel=$(sysctl -n kern.bootfile)
kernel=${kernel%/kernel}
if [ ! -d "$kernel" ]; then
	mkdir -p "$kernel"
	trap 'rmdir "$kernel"' EXIT
fi
freebsd-update --not-running-from-cron --currently-running "$(freebsd-version -u)" fetch install
rm -rf /var/db/freebsd-update/*

cat >manifest.json <<END
{
    "name": "freebsd-base",
    "labels": [
        { "name": "version", "value": "$(freebsd-version -u | sed -e 's/-[A-Z]*-p/./' -e 's/-RELEASE$/.0/')" }
    ]
}
END
