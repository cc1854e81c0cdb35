#!/bin/sh
# Installs bubblewrap with the system's package manager. Run by `make` where it is missing.
set -eu

say() { printf 'setup: %s\n' "$1" >&2; }
fail() { say "$1"; exit 2; }

sudo=
[ "$(id -u)" = 0 ] || sudo="sudo"
if command -v apt-get >/dev/null 2>&1; then install="apt-get install -y bubblewrap"
elif command -v dnf >/dev/null 2>&1; then install="dnf install -y bubblewrap"
elif command -v pacman >/dev/null 2>&1; then install="pacman -S --noconfirm bubblewrap"
elif command -v zypper >/dev/null 2>&1; then install="zypper --non-interactive install bubblewrap"
elif command -v apk >/dev/null 2>&1; then install="apk add bubblewrap"
else fail "bubblewrap is needed for the sandbox; install it with your system's package manager"
fi
if [ -n "$sudo" ] && ! command -v sudo >/dev/null 2>&1; then fail "as root, run: $install"; fi
say "installing bubblewrap: $sudo $install"
case "$install" in apt-get*) $sudo apt-get update >/dev/null 2>&1 || true ;; esac
$sudo $install >/dev/null || fail "bubblewrap could not be installed; run: $sudo $install"
