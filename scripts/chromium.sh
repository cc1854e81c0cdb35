#!/bin/sh
# Installs Chromium with the system's package manager, for the tests that drive a browser. Run by `make test` where it is
# missing. A failure is only said: those tests are then skipped, and fail where CI=true.
set -u

say() { printf 'setup: %s\n' "$1" >&2; }
skip() { say "$1; the tests in a browser need it"; exit 0; }

for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
. "${0%/*}/system_package.sh"
find_install chromium chromium chromium chromium chromium chromium || skip "$problem"
if cannot_ask; then skip "as root, run: $install"; fi
run_install chromium || skip "chromium could not be installed; run: $install"
