#!/bin/sh
# Installs bubblewrap with the system's package manager. Run by `make` where it is missing.
set -eu

say() { printf 'setup: %s\n' "$1" >&2; }
fail() { say "$1"; exit 2; }

. "${0%/*}/system_package.sh"
find_install bubblewrap bubblewrap bubblewrap bubblewrap bubblewrap bubblewrap \
    || fail "the sandbox needs bubblewrap: $problem"
run_install bubblewrap || fail "bubblewrap could not be installed; run: ${sudo:+$sudo }$install"
