"""The choice of who answers calls of a tool in shadow mode: the upstream, or apprentice.

The evolver writes the choices of people into data/shadow.json; the gateway reads them. Where nobody chose, the measured
agreement decides, if ``[agent.serving.shadow] switch_automatically`` lets it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from agent.config import ShadowConfig
from agent.errors import AdapterError
from agent.serving.shadow.agreement import NO_CALL
from agent.serving.shadow.agreement_log import Agreement
from toolkit import durable_file
from toolkit.frozen import Frozen
from toolkit.intervals import Z95, wilson_interval

FILE = "shadow.json"
Choice = Literal["ours", "upstream"]


class Switches(Frozen):
    """Choices of people, by tool."""

    tools: dict[str, Choice] = Field(default_factory=dict)


def path(data_folder: Path) -> Path:
    return data_folder / FILE


def read(data_folder: Path) -> Switches:
    """Read the choices; none where there is no file. Raises AdapterError on a damaged one."""
    file = path(data_folder)
    try:
        return Switches.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return Switches()
    except (ValidationError, OSError) as error:
        problem = error.strerror if isinstance(error, OSError) else "is damaged"
        raise AdapterError(
            f"{file}: {problem}; remove it, and switch again with: evolver shadow switch TOOL"
        ) from error


def choose(data_folder: Path, tool: str, choice: Choice) -> None:
    """Let ``choice`` answer the calls of a tool from the next request on; on disk when it returns."""
    tools: dict[str, Choice] = {**read(data_folder).tools, tool: choice}
    durable_file.replace(path(data_folder), Switches(tools=tools).model_dump_json().encode())


def is_good_enough(config: ShadowConfig, agreement: Agreement) -> bool:
    """Return whether the measured agreement of a tool allows the switch: the lower end of its 95 % interval does."""
    if agreement.tool == NO_CALL or agreement.compared < config.minimum_calls:
        return False
    return wilson_interval(agreement.same_outcome, agreement.compared, Z95)[0] >= config.threshold


def measured(config: ShadowConfig, agreements: Iterable[Agreement], adapter: str) -> frozenset[str]:
    """Return the tools whose calls ``adapter`` may answer by what was measured of it."""
    if not config.switch_automatically:
        return frozenset()
    return frozenset(one.tool for one in agreements if one.adapter == adapter and is_good_enough(config, one))


def answers(switches: Switches, measured: frozenset[str], tool: str) -> Choice:
    """Return the side that answers the calls of a tool."""
    return switches.tools.get(tool) or ("ours" if tool in measured else "upstream")
