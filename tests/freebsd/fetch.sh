#!/bin/sh
# Part of run.sh: images from the web.
# shellcheck disable=SC2154 # programs is run.sh's

# Their server is a proxy of the tests' own on lo0, which needs no names; what is emulated is slow.
fetching() {
	[ -x "$programs/tests-main" ] || skip 'tests-main was not linked'
	JETPACK_UNDER_TEST=$programs/jetpack JETPACK_TEST_PATIENCE=10 "$programs/tests-main" --test-threads 1 cli::fetch
}

fetch_checks() {
	check 'images are fetched, and servers that lie' fetching
}
