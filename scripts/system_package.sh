# Read by the scripts beside it, which define `say`: finds the system's package manager, and installs with it.

# find_install WHAT APT DNF PACMAN ZYPPER APK: sets `install`, the command that installs WHAT, and `sudo`, which it must
# be run with: "sudo", asking for a password where it needs one, or nothing. The others are the package's names in each
# package manager. Fails, with `problem` set to one line that tells what to do, where the command cannot be run.
find_install() {
    sudo=
    [ "$(id -u)" = 0 ] || sudo="sudo"
    if command -v apt-get >/dev/null 2>&1; then install="apt-get install -y --no-install-recommends $2"
    elif command -v dnf >/dev/null 2>&1; then install="dnf install -y $3"
    elif command -v pacman >/dev/null 2>&1; then install="pacman -S --noconfirm $4"
    elif command -v zypper >/dev/null 2>&1; then install="zypper --non-interactive install $5"
    elif command -v apk >/dev/null 2>&1; then install="apk add $6"
    else problem="install $1 with your system's package manager"; return 1
    fi
    if [ -n "$sudo" ] && ! command -v sudo >/dev/null 2>&1; then problem="as root, run: $install"; return 1; fi
}

# cannot_ask: with `sudo` set, whether it would ask for a password.
cannot_ask() { [ -n "$sudo" ] && ! $sudo -n true >/dev/null 2>&1; }

# run_install WHAT: runs what find_install found. Its package lists are renewed first, where that is a step of its own.
# Where it fails, its last words are printed.
run_install() {
    say "installing $1: ${sudo:+$sudo }$install"
    case "$install" in apt-get*) $sudo apt-get update </dev/null >/dev/null 2>&1 || true ;; esac
    words="$($sudo env DEBIAN_FRONTEND=noninteractive $install </dev/null 2>&1)" && return
    printf '%s\n' "$words" | tail -n 3 >&2
    return 1
}
