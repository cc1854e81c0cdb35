# Read by the scripts beside it: finds the system's package manager. They define `say` and `skip`.

# find_install WHAT APT DNF PACMAN APK: sets `install`, the command that installs WHAT, and `sudo`, which it must be run
# with. The others are its names in each package manager.
find_install() {
    sudo=
    [ "$(id -u)" = 0 ] || sudo="sudo -n"
    if command -v apt-get >/dev/null 2>&1; then install="apt-get install -y --no-install-recommends $2"
    elif command -v dnf >/dev/null 2>&1; then install="dnf install -y $3"
    elif command -v pacman >/dev/null 2>&1; then install="pacman -S --noconfirm $4"
    elif command -v apk >/dev/null 2>&1; then install="apk add $5"
    else skip "install $1 with your system's package manager"
    fi
    if [ -n "$sudo" ] && ! $sudo true >/dev/null 2>&1; then skip "as root, run: $install"; fi
    say "installing $1: $sudo $install"
}
