#!/bin/sh
# Runs in the pod where the image is built.
set -eu
mkdir -p /opt/data /usr/local/bin
cp showenv.sh /usr/local/bin/showenv
chmod 755 /usr/local/bin/showenv
