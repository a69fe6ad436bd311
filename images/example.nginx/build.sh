#!/bin/sh
# Runs in the pod where the image is built, when the package is there.
set -eu
case $(uname -s) in
FreeBSD) program=/usr/local/sbin/nginx etc=/usr/local/etc/nginx user=www root=/usr/local/www/nginx ;;
*) program=/usr/sbin/nginx etc=/etc/nginx user=www-data root=/usr/share/nginx/html ;;
esac
sed -e "s|@USER@|$user|" -e "s|@ROOT@|$root|" nginx.conf.in >"$etc/nginx.conf"
"$program" -t -q
version=$("$program" -v 2>&1)

cat >manifest.json <<END
{
    "name": "example/nginx",
    "labels": [
        { "name": "version", "value": "${version##*nginx/}" }
    ],
    "app": {
        "exec": ["$program"],
        "user": "root",
        "group": "0",
        "ports": [
            { "name": "http", "protocol": "tcp", "port": 80 }
        ]
    }
}
END
