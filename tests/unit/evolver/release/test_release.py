"""What serves: the pointer and the ledger agree, going back works, a tampered adapter is never served."""

import platform
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.adapters import active, package
from agent.adapters.active import ActiveAdapter, Change
from agent.errors import AdapterInvalid, ModelUnavailable, StorageError
from agent.serving.serving_state import ServingState
from agent.storage.database_server import server_of
from evolver.release import release
from evolver.release.served_weights import Server
from evolver.store import base_model
from evolver.store.ledger import Ledger
from evolver.types import Adapter
from tests.fakes.evolution import publish_adapter, tamper, tamper_manifest
from tests.fakes.model_server import ModelServer
from toolkit.errors import UserError

FIRST, SECOND = "adapter-0001", "adapter-0002"


@pytest.fixture
def ledger(each_database: Path) -> Iterator[Ledger]:
    with Ledger(each_database / "evolution.db") as opened:
        yield opened


@pytest.fixture
def adapters(tmp_path: Path, ledger: Ledger) -> dict[str, Adapter]:
    """Two registered adapters, none of them serving."""
    number = ledger.open_cycle().number
    made = {name: publish_adapter(tmp_path, name) for name in (FIRST, SECOND)}
    for adapter in made.values():
        ledger.add_adapter(adapter, number, "base", "d" * 64)
    return made


@pytest.fixture
def vllm() -> Iterator[ModelServer]:
    with ModelServer(key="key") as server:
        yield server


def state_of(server: ModelServer) -> ServingState:
    return ServingState(pid=1, gateway_url="", vllm_url=server.url, vllm_pid=1, vllm_key=server.key)


def running(server: ModelServer) -> tuple[ServingState, list[Server]]:
    return state_of(server), [Server(url=server.url, key=server.key)]


def serving(data: Path) -> str:
    return active.read(data).name


def states(ledger: Ledger) -> dict[str, str]:
    return {row.name: row.state for row in ledger.adapters()}


def promote(name: str, data: Path, ledger: Ledger) -> str:
    return release.promote(name, data, ledger, None, reason="test")


def back(data: Path, ledger: Ledger, to: str | None = None) -> tuple[str, str]:
    return release.rollback(data, ledger, None, to=to, reason="test")


def test_promotion_changes_pointer_and_ledger(tmp_path: Path, ledger: Ledger, adapters: dict[str, Adapter]) -> None:
    assert promote(FIRST, tmp_path, ledger) == "base"
    pointer = active.read(tmp_path)
    assert (pointer.name, pointer.sha256) == (FIRST, adapters[FIRST].sha256)
    assert promote(SECOND, tmp_path, ledger) == FIRST
    assert [(r.adapter, r.previous) for r in ledger.releases()] == [(SECOND, FIRST), (FIRST, "base")]
    assert states(ledger) == {FIRST: "promoted", SECOND: "promoted"}


@pytest.mark.usefixtures("adapters")
def test_going_back_step_by_step_to_the_base_model(tmp_path: Path, ledger: Ledger) -> None:
    promote(FIRST, tmp_path, ledger)
    promote(SECOND, tmp_path, ledger)
    assert back(tmp_path, ledger) == (SECOND, FIRST)
    assert (serving(tmp_path), states(ledger)[SECOND]) == (FIRST, "withdrawn")
    assert back(tmp_path, ledger) == (FIRST, "base")
    assert (serving(tmp_path), active.read(tmp_path).sha256) == ("base", "")
    with pytest.raises(UserError, match="nothing to go back to"):
        back(tmp_path, ledger)
    assert states(ledger) == {FIRST: "withdrawn", SECOND: "withdrawn"}


@pytest.mark.usefixtures("adapters")
def test_going_back_to_a_named_adapter_and_to_base(tmp_path: Path, ledger: Ledger) -> None:
    promote(FIRST, tmp_path, ledger)
    promote(SECOND, tmp_path, ledger)
    assert back(tmp_path, ledger, "base") == (SECOND, "base")
    assert back(tmp_path, ledger, FIRST) == ("base", FIRST)
    assert (serving(tmp_path), states(ledger)) == (FIRST, {FIRST: "promoted", SECOND: "withdrawn"})


@pytest.mark.usefixtures("adapters")
def test_an_adapter_that_was_withdrawn_is_passed_over_until_it_is_promoted_again(
    tmp_path: Path, ledger: Ledger
) -> None:
    promote(FIRST, tmp_path, ledger)
    back(tmp_path, ledger)
    promote(SECOND, tmp_path, ledger)
    assert back(tmp_path, ledger) == (SECOND, "base")
    promote(FIRST, tmp_path, ledger)
    promote(SECOND, tmp_path, ledger)
    assert back(tmp_path, ledger) == (SECOND, FIRST)


@pytest.mark.timeout(30)  # half of what loading an adapter may take
@pytest.mark.usefixtures("adapters")
def test_a_vllm_that_hangs_does_not_hold_up_going_back(tmp_path: Path, ledger: Ledger) -> None:
    promote(FIRST, tmp_path, ledger)
    promote(SECOND, tmp_path, ledger)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connections are made, and nobody answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        hangs = ServingState(pid=1, gateway_url="", vllm_url=url, vllm_pid=1, vllm_key="key")
        assert release.rollback(tmp_path, ledger, hangs, to=FIRST, reason="test") == (SECOND, FIRST)
    assert serving(tmp_path) == FIRST


@pytest.mark.parametrize("harm", [tamper, tamper_manifest])
def test_a_tampered_adapter_is_refused_and_what_serves_stays(
    tmp_path: Path,
    ledger: Ledger,
    adapters: dict[str, Adapter],
    vllm: ModelServer,
    harm: object,
) -> None:
    promote(FIRST, tmp_path, ledger)
    promote(SECOND, tmp_path, ledger)
    before = (active.read(tmp_path), ledger.releases(), ledger.adapters())
    harm(adapters[FIRST])  # type: ignore[operator]
    with pytest.raises((AdapterInvalid, UserError), match=FIRST):
        release.rollback(tmp_path, ledger, state_of(vllm), reason="test")
    assert (active.read(tmp_path), ledger.releases(), ledger.adapters()) == before
    assert vllm.models == ["base"]


def test_an_adapter_that_nobody_registered_is_refused(tmp_path: Path, ledger: Ledger) -> None:
    publish_adapter(tmp_path, "adapter-0009")
    with pytest.raises(UserError, match=r"no adapter adapter-0009.*evolver adapters"):
        promote("adapter-0009", tmp_path, ledger)
    with pytest.raises(UserError, match=r"no adapter adapter-0009.*evolver adapters"):
        back(tmp_path, ledger, "adapter-0009")
    assert serving(tmp_path) == "base"


@pytest.mark.usefixtures("adapters")
def test_the_running_server_gets_the_adapter_before_the_pointer_names_it(
    tmp_path: Path, ledger: Ledger, vllm: ModelServer
) -> None:
    release.promote(FIRST, tmp_path, ledger, state_of(vllm), reason="test")
    assert vllm.models == ["base", FIRST]
    release.rollback(tmp_path, ledger, state_of(vllm), reason="test")
    release.promote(FIRST, tmp_path, ledger, state_of(vllm), reason="test")
    assert vllm.models == ["base", FIRST]
    wrong_key = state_of(vllm).model_copy(update={"vllm_key": "wrong"})
    with pytest.raises(ModelUnavailable, match="wrong key"):
        release.promote(SECOND, tmp_path, ledger, wrong_key, reason="test")
    assert serving(tmp_path) == FIRST


def test_loading_checks_the_files_and_the_base_model(
    tmp_path: Path, adapters: dict[str, Adapter], vllm: ModelServer
) -> None:
    for _ in range(2):
        release.load_candidate(adapters[FIRST], *running(vllm), base_sha256="b" * 64)
    assert vllm.models == ["base", FIRST]
    with pytest.raises(AdapterInvalid, match="another base model"):
        release.load_candidate(adapters[SECOND], *running(vllm), base_sha256="c" * 64)
    tamper(adapters[SECOND])
    with pytest.raises(AdapterInvalid, match="not the file"):
        release.load_candidate(adapters[SECOND], *running(vllm), base_sha256="b" * 64)
    assert vllm.models == ["base", FIRST]
    assert serving(tmp_path) == "base"


def model(folder: Path, weights: bytes = b"one") -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_the_base_model_is_hashed_again_only_when_a_file_changed(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    real = package.file_sha256
    monkeypatch.setattr(package, "file_sha256", lambda path: hashed.append(path) or real(path))
    folder = model(tmp_path / "model")
    first = base_model.sha256(folder, ledger)
    assert (len(hashed), base_model.sha256(folder, ledger), len(hashed)) == (2, first, 2)
    assert first == package.model_sha256(folder)
    (folder / "model.safetensors").write_bytes(b"another")
    assert base_model.sha256(folder, ledger) == package.model_sha256(folder) != first
    other = model(tmp_path / "other")
    assert base_model.sha256(other, ledger) == first
    read = len(hashed)
    with monkeypatch.context() as patch:  # a machine with another model, which shares the ledger
        patch.setattr(platform, "node", lambda: "elsewhere")
        assert base_model.sha256(folder, ledger) != first
    assert (base_model.sha256(other, ledger), len(hashed)) == (first, read + 2)


def test_after_the_model_was_changed_its_adapters_serve_no_more(tmp_path: Path, ledger: Ledger) -> None:
    """Whoever asks for them: by promotion, by going back, by a trial."""
    new = package.model_sha256(model(tmp_path / "new"))
    number = ledger.open_cycle().number
    ledger.add_adapter(publish_adapter(tmp_path, FIRST), number, "base", "d")
    ledger.add_adapter(publish_adapter(tmp_path, SECOND, base_sha256=new), number, "base", "d")
    promote(FIRST, tmp_path, ledger)
    release.promote(SECOND, tmp_path, ledger, None, reason="test", base_sha256=new)
    foreign = r"adapter-0001: made for another base model \(tiny\); .*set \[agent.serving\] model back"
    for change in (
        lambda: release.promote(FIRST, tmp_path, ledger, None, reason="test", base_sha256=new),
        lambda: release.rollback(tmp_path, ledger, None, reason="test", base_sha256=new),
        lambda: release.begin_trial(FIRST, tmp_path, ledger, None, share=0.1, cycle=1, base_sha256=new),
        lambda: release.promote_from_trial(FIRST, tmp_path, ledger, None, reason="test", base_sha256=new),
        lambda: release.load_registered(FIRST, tmp_path, ledger, None, base_sha256=new),
    ):
        with pytest.raises(AdapterInvalid, match=foreign):
            change()
    assert (serving(tmp_path), release.on_trial(tmp_path)) == (SECOND, "")
    assert release.rollback(tmp_path, ledger, None, to="base", reason="test", base_sha256=new) == (SECOND, "base")


@pytest.mark.usefixtures("adapters")
def test_a_damaged_pointer_file_is_mended_by_going_back_to_base(tmp_path: Path, ledger: Ledger) -> None:
    active.path(tmp_path).write_text("{half")
    with pytest.raises(UserError, match="evolver rollback base"):
        promote(FIRST, tmp_path, ledger)
    back(tmp_path, ledger, "base")
    assert serving(tmp_path) == "base"


def test_after_a_crash_between_pointer_and_ledger_the_pointer_is_believed(
    tmp_path: Path, ledger: Ledger, adapters: dict[str, Adapter]
) -> None:
    release.reconcile(tmp_path, ledger)
    assert ledger.releases() == []
    active.write(tmp_path, ActiveAdapter(name=FIRST, sha256=adapters[FIRST].sha256))
    for _ in range(2):
        release.reconcile(tmp_path, ledger)
    assert [(r.adapter, r.previous) for r in ledger.releases()] == [(FIRST, "base")]
    assert states(ledger)[FIRST] == "promoted"
    assert back(tmp_path, ledger) == (FIRST, "base")
    active.path(tmp_path).unlink(missing_ok=True)
    release.reconcile(tmp_path, ledger)
    assert ledger.releases()[0].adapter == "base"


@pytest.mark.usefixtures("adapters")
def test_going_back_works_while_vllm_is_down(tmp_path: Path, ledger: Ledger, vllm: ModelServer) -> None:
    promote(FIRST, tmp_path, ledger)
    promote(SECOND, tmp_path, ledger)
    down = state_of(vllm).model_copy(update={"vllm_url": "http://127.0.0.1:9"})
    assert release.rollback(tmp_path, ledger, down, reason="test") == (SECOND, FIRST)
    with pytest.raises(ModelUnavailable):
        release.promote(SECOND, tmp_path, ledger, down, reason="test")
    assert release.rollback(tmp_path, ledger, down, to="base", reason="test") == (FIRST, "base")


def test_the_ledger_catches_up_with_the_pointer_word_for_word(
    tmp_path: Path, ledger: Ledger, adapters: dict[str, Adapter]
) -> None:
    """The pointer was written, its line in the ledger was not."""
    promote(FIRST, tmp_path, ledger)
    change = Change(serial=2, previous=FIRST, reason="turns called bad", by="monitor", withdraws=True)
    active.write(tmp_path, ActiveAdapter(name=SECOND, sha256=adapters[SECOND].sha256, change=change))
    for _ in range(2):
        release.reconcile(tmp_path, ledger)
    newest = ledger.releases()[0]
    assert (newest.number, newest.adapter, newest.previous, newest.reason, newest.by) == (
        2,
        SECOND,
        FIRST,
        "turns called bad",
        "monitor",
    )
    assert states(ledger) == {FIRST: "withdrawn", SECOND: "promoted"}
    assert len(ledger.releases()) == 2


@pytest.mark.usefixtures("adapters")
def test_several_at_once_come_one_after_the_other(tmp_path: Path, ledger: Ledger) -> None:
    def change(n: int) -> None:
        with Ledger(tmp_path / "evolution.db") as own:
            promote((FIRST, SECOND, "base")[n % 3], tmp_path, own)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(change, range(24)))
    releases = ledger.releases()[::-1]
    assert [change.number for change in releases] == list(range(1, 25))
    served = ["base", *(change.adapter for change in releases)]
    assert [change.previous for change in releases] == served[:-1]
    assert serving(tmp_path) == served[-1]


STEPS = st.lists(st.sampled_from(["first", "second", "base", "back"]), max_size=6)


@settings(max_examples=6, deadline=None)
@given(STEPS)
def test_pointer_and_ledger_agree_after_any_steps(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    data = tmp_path_factory.mktemp("data")
    with Ledger(data / "evolution.db") as ledger:
        number = ledger.open_cycle().number
        for name in (FIRST, SECOND):
            ledger.add_adapter(publish_adapter(data, name), number, "base", "d")
        for step in steps:
            before = serving(data)
            try:
                if step == "back":
                    gone, now = back(data, ledger)
                    assert gone == before != now
                    assert states(ledger).get(gone, "withdrawn") == "withdrawn"
                else:
                    promote({"first": FIRST, "second": SECOND}.get(step, "base"), data, ledger)
            except UserError:
                assert (step, before, serving(data)) == ("back", "base", "base")
            assert serving(data) == (ledger.releases()[0].adapter if ledger.releases() else "base")
            assert states(ledger).get(serving(data), "promoted") == "promoted"


@pytest.mark.usefixtures("adapters")
def test_where_the_ledger_fails_the_file_says_what_came_about_and_the_row_did_not_change(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise OSError("gone")

    promote(FIRST, tmp_path, ledger)
    with monkeypatch.context() as patch, pytest.raises(StorageError, match="gone"):
        patch.setattr(release, "_record", crash)
        promote(SECOND, tmp_path, ledger)
    changed = SECOND if not server_of(tmp_path) else FIRST
    assert serving(tmp_path) == changed
    release.reconcile(tmp_path, ledger)
    assert (serving(tmp_path), ledger.releases()[0].adapter) == (changed, changed)


@pytest.mark.usefixtures("adapters")
@pytest.mark.parametrize("command", ["promote", "begin_trial", "end_trial", "rollback"])
def test_a_pointer_that_cannot_be_read_now_is_not_taken_for_a_damaged_one(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    promote(FIRST, tmp_path, ledger)
    read, reads = active.read, iter([True, False] if command == "promote" else [False])  # it reads once before

    def fails_once(*arguments: Any) -> ActiveAdapter:
        if not next(reads, True):
            raise StorageError("the server went away")
        return read(*arguments)

    with monkeypatch.context() as patch, pytest.raises(StorageError, match="went away"):
        patch.setattr(active, "read", fails_once)
        match command:
            case "promote":
                promote(SECOND, tmp_path, ledger)
            case "begin_trial":
                release.begin_trial(SECOND, tmp_path, ledger, None, share=0.1)
            case "end_trial":
                release.end_trial(SECOND, tmp_path, ledger, reason="test", by="person")
            case _:
                back(tmp_path, ledger)
    assert (serving(tmp_path), len(ledger.releases())) == (FIRST, 1)


@pytest.mark.usefixtures("adapters")
def test_a_change_reads_the_pointer_in_its_own_transaction(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    release.begin_trial(FIRST, tmp_path, ledger, None, share=0.1)

    def another(_: str) -> str:
        raise AssertionError("a second connection")

    with monkeypatch.context() as patch:
        patch.setattr(active.shared_pointer, "open_pointer", another)
        assert release.end_trial(FIRST, tmp_path, ledger, reason="test", by="person")
    assert release.on_trial(tmp_path) == ""


def test_what_serves_is_told_from_another_adapter_of_its_name(tmp_path: Path, adapters: dict[str, Adapter]) -> None:
    release.check_served(FIRST, adapters[FIRST].sha256, tmp_path)
    with pytest.raises(AdapterInvalid, match="holds another one than serves; move that folder away"):
        release.check_served(FIRST, adapters[SECOND].sha256, tmp_path)
