#!/bin/sh
# Runs in the pod where the image is built.
set -eu
mkdir -p /usr/ports /usr/ports.distfiles /usr/ports.wrkdir /usr/ports.packages /var/db/ports /usr/local/bin
install -m 644 make.conf /etc/make.conf
install -m 755 portbuild.sh /usr/local/bin/portbuild
