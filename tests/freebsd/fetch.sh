#!/bin/sh
# Part of run.sh: images from the web.
# shellcheck disable=SC2154 # programs is run.sh's

# Their server is a proxy of the tests' own on lo0, which needs no names; what is emulated is slow.
fetching() {
	[ -x "$programs/tests-main" ] || skip 'tests-main was not linked'
	# It was linked for FreeBSD 14. What it needs of libutil is the same in FreeBSD 15.
	if ! [ -e /lib/libutil.so.9 ] && [ -e /lib/libutil.so.10 ]; then
		LD_LIBMAP='libutil.so.9=libutil.so.10'
		export LD_LIBMAP
	fi
	JETPACK_UNDER_TEST=$programs/jetpack JETPACK_TEST_PATIENCE=10 "$programs/tests-main" --test-threads 1 cli::fetch
}

fetch_checks() {
	check 'images are fetched, and servers that lie' fetching
}
