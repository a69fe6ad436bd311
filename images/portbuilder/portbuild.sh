#!/bin/sh
# Builds packages of ports: portbuild ORIGIN…
#
# The ports are those in /usr/ports; where that is empty, today's are fetched. Packages go to /usr/ports.packages. What a port
# depends on is taken from there, or built too.
set -eu
[ $# -gt 0 ] || { echo 'portbuild: say which ports, such as misc/figlet' >&2 && exit 1; }

if [ ! -f /usr/ports/Makefile ]; then
	fetch -q -o - "$PORTS_URL" | tar -xzf - -C /usr
fi
ldconfig
for port in "$@"; do
	make -C "/usr/ports/$port" clean package
done
