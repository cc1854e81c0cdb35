"""Agreement with the server that answers people in shadow mode, by tool, and the switch of a tool to apprentice."""

from agent.adapters import active
from agent.log.interaction_log import FILE
from agent.serving.shadow import switches
from agent.serving.shadow.agreement import NO_CALL
from agent.serving.shadow.agreement_log import Agreement, AgreementLog
from agent.serving.shadow.switches import Choice
from evolver.config import Config
from evolver.scores import Rate
from evolver.statistics import rate
from toolkit.errors import UserError
from toolkit.frozen import Frozen


class ToolAgreement(Frozen):
    """Agreement of one adapter's calls of one tool with those of the other server. ``tool`` "": neither side called.

    ``same_result``: of calls with other arguments whose results the client showed. ``good_enough``: the measured lower
    bound allows the switch. ``answers``: who answers the tool's calls now; ``chosen``: a person said so.
    """

    tool: str
    adapter: str
    active: bool
    compared: int
    same_call: Rate
    same_arguments: Rate
    same_result: Rate
    same_outcome: Rate
    good_enough: bool
    answers: Choice
    chosen: bool


def agreements(config: Config) -> list[ToolAgreement]:
    """Return the agreement about each tool and adapter, the most compared first. Raises StorageError, AdapterError."""
    found = _read(config)
    settings, adapter = config.agent.serving.shadow, active.read(config.data_folder).name
    measured = switches.measured(settings, found, adapter)
    chosen = switches.read(config.data_folder)
    return [
        ToolAgreement(
            tool=one.tool,
            adapter=one.adapter,
            active=one.adapter == adapter,
            compared=one.compared,
            same_call=rate(one.same_call, one.compared),
            same_arguments=rate(one.same_arguments, one.compared),
            same_result=rate(one.same_result, one.results),
            same_outcome=rate(one.same_outcome, one.compared),
            good_enough=switches.is_good_enough(settings, one),
            answers="upstream" if one.tool == NO_CALL else switches.answers(chosen, measured, one.tool),
            chosen=one.tool in chosen.tools,
        )
        for one in found
    ]


def switched(config: Config) -> list[str]:
    """Return the tools whose calls a person let apprentice answer, whether or not they were compared with the adapter
    that serves. Raises StorageError."""
    return sorted(tool for tool, who in switches.read(config.data_folder).tools.items() if who == "ours")


def switch(config: Config, tool: str, *, force: bool = False) -> None:
    """Let apprentice answer the calls of ``tool`` from the next request on. Raises UserError where the agreement of the
    adapter that serves is not good enough, unless ``force``."""
    if not force:
        _check(config, tool)
    switches.choose(config.data_folder, tool, "ours")


def switch_back(config: Config, tool: str) -> None:
    """Let the other server answer the calls of ``tool`` from the next request on."""
    switches.choose(config.data_folder, tool, "upstream")


def _check(config: Config, tool: str) -> None:
    adapter = active.read(config.data_folder).name
    found = [one for one in _read(config) if (one.tool, one.adapter) == (tool, adapter)]
    settings = config.agent.serving.shadow
    if not found:
        raise UserError(f"{tool} was not compared with {adapter} yet; see: evolver shadow, or switch with --force")
    if not switches.is_good_enough(settings, found[0]):
        low = rate(found[0].same_outcome, found[0].compared).low
        raise UserError(
            f"{tool}: {found[0].compared} comparisons with a lower bound of {low:.0%}; {settings.minimum_calls} and "
            f"{settings.threshold:.0%} are needed ([agent.serving.shadow]); switch all the same with --force"
        )


def _read(config: Config) -> list[Agreement]:
    with AgreementLog.open_readonly(config.data_folder / FILE) as log:
        return log.agreements()
