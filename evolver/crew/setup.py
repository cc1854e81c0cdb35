"""Open a workshop."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agent.models.profile import EMBEDDED, ModelProfile
from agent.models.template_markers import NO_MARKERS, Markers
from agent.turn.model_client import HttpModelClient
from evolver.crew.workshop import Record, Rules, Workshop
from evolver.lessons.execution_policy import harmless
from evolver.model.client import Generator
from toolkit import execute
from toolkit.config import ToolkitConfig


@dataclass(frozen=True)
class Setup:
    """All that a workshop is opened with; can be sent to another machine.

    The model is asked through the gateway at ``gateway_url``. ``at_once`` orders are carried out at a time. Prompts are
    made free of ``markers``. ``profile`` is that of the base model. ``rules`` None: lessons are not judged there.
    """

    toolkit: ToolkitConfig
    gateway_url: str
    gateway_key: str
    at_once: int
    rules: Rules | None = None
    markers: Markers = NO_MARKERS
    profile: ModelProfile = EMBEDDED


@contextmanager
def open_workshop(setup: Setup, record: Record | None = None) -> Iterator[Workshop]:
    """Open a workshop on this machine; ``record`` gets its requests to the model. Raises as open_executor does."""
    url, key = setup.gateway_url, setup.gateway_key
    with (
        execute.open_executor(setup.toolkit, allows=harmless, insist=True) as executor,
        HttpModelClient(url, key) as client,
        Generator(
            url, api_key=key, concurrency=setup.at_once, record=record, markers=setup.markers, profile=setup.profile
        ) as generator,
    ):
        yield Workshop(executor, client, generator, setup.rules, record)
