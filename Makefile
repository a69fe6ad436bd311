# Read by GNU make and by FreeBSD's make alike; the work is done by the scripts that it calls.
#
#   make            build the release executable
#   make demo       build an image and run a pod from it (needs root)
#   make check      run every test there is
#   make bench      measure beside other programs that do the same (needs root)
#   make fuzz       try inputs made by chance on what reads archives and manifests, for a minute
#   make install    into PREFIX (/usr/local), below DESTDIR; `prefix=` is understood too
#   make uninstall  remove what install put there; jetpack.conf stays
#   make clean      remove what was built

PREFIX ?= /usr/local
DESTDIR ?=
prefix = $(PREFIX)

all:
	@sh conf/build.sh "$(prefix)"

demo:
	@sh images/demo.sh "$(prefix)" "$(MAKE)"

check:
	@sh tests/check.sh

bench:
	@sh tests/bench/run.sh

fuzz:
	@sh tests/fuzz.sh

install:
	@sh conf/install.sh install "$(prefix)" "$(DESTDIR)"

uninstall:
	@sh conf/install.sh uninstall "$(prefix)" "$(DESTDIR)"

clean:
	@sh conf/build.sh --clean

.PHONY: all demo check bench fuzz install uninstall clean
