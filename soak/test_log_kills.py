"""The gateway killed at random moments, often: what it acknowledged is in the log, once."""

import os
import random
from pathlib import Path

import pytest

from tests.integration.agent.test_log_durability import kill_at_random

KILLS = int(os.environ.get("SOAK_LOG_KILLS", "100"))
pytestmark = pytest.mark.timeout(7200)


def test_what_was_acknowledged_is_there_after_every_kill(tmp_path: Path) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}", flush=True)
    acknowledged = kill_at_random(tmp_path, KILLS, seed)
    print(f"{KILLS} kills, {acknowledged} acknowledgements kept", flush=True)
    assert acknowledged >= 2 * KILLS
