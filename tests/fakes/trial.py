"""An adapter on trial."""

from agent.adapters.active import Canary
from evolver.config import ReleaseConfig

NAME, SERVES = "adapter-0002", "adapter-0001"


ON_TRIAL = Canary(name=NAME, sha256="c" * 64, share=0.5)


CONFIG = ReleaseConfig()


LATER = 1e9
