#!/bin/sh
# Installs the Postgres server with the system's package manager, for the tests that start one. Run by `make test` where it
# is missing. A failure is only said: those tests are then skipped, and fail where CI=true.
set -u

say() { printf 'setup: %s\n' "$1" >&2; }
skip() { say "$1; the tests on Postgres need it"; exit 0; }

if command -v initdb >/dev/null 2>&1; then exit 0; fi
for program in /usr/lib/postgresql/*/bin/initdb; do
    if [ -x "$program" ]; then exit 0; fi
done
. "${0%/*}/system_package.sh"
find_install Postgres postgresql postgresql-server postgresql postgresql-server postgresql || skip "$problem"
if cannot_ask; then skip "as root, run: $install"; fi
failed=
# Debian's package would start a server of its own, which the tests do not use.
conf=/etc/postgresql-common/createcluster.conf
case "$install" in
apt-get*)
    if [ -e "$conf" ]; then conf=
    else
        $sudo mkdir -p "${conf%/*}"
        printf 'create_main_cluster = false\n' | $sudo tee "$conf" >/dev/null
    fi ;;
*) conf= ;;
esac
run_install Postgres || failed=yes
if [ -n "$conf" ]; then $sudo rm -f "$conf"; fi
if [ -n "$failed" ]; then skip "Postgres could not be installed; run: $install"; fi
