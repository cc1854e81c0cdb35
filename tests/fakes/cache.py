"""The folder for what takes tests long to make: it is made again where it is not there."""

import os
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "apprentice-tests"
