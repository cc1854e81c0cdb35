"""A real Chromium, driven by playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_PATIENCE_MS = 90_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's Chromium. Without one the test is skipped; where CI=true, it fails."""
    program = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if program is None:
        missing = "no Chromium is installed; run: sh scripts/chromium.sh"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(missing)
        pytest.skip(missing)
    expect.set_options(timeout=_PATIENCE_MS)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(_QUIET), timeout=_PATIENCE_MS)
        try:
            yield browser
        finally:
            browser.close()
