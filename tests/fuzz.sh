#!/bin/sh
# Tries inputs made by chance on what reads archives and manifests, for a minute or JETPACK_FUZZ_SECONDS; `make fuzz` calls it.
set -eu
cd "$(dirname "$0")/.."
sh conf/packages.sh cargo cc
JETPACK_FUZZ_SECONDS=${JETPACK_FUZZ_SECONDS:-60}
JETPACK_FUZZ_SEED=${JETPACK_FUZZ_SEED:-$(date +%s)}
export JETPACK_FUZZ_SECONDS JETPACK_FUZZ_SEED
# Every archive makes files, which are removed at once: memory is soon twice as fast.
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ]; then
	TMPDIR=/dev/shm
	export TMPDIR
fi
exec cargo test --locked --features testing --test fuzz -- --nocapture
