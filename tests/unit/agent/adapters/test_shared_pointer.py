"""The pointer and the adapters' files on a Postgres server."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent.adapters import active, shared_pointer
from agent.adapters.active import SHARED, ActiveAdapter, Canary
from agent.errors import AdapterError, AdapterInvalid, StorageError
from agent.storage import database_server
from tests.fakes.adapter_folder import make_adapter, sha256_of
from tests.fakes.postgres import PostgresServer


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


@pytest.fixture
def data(tmp_path: Path, url: str) -> Iterator[Path]:
    """A data folder whose pointer is on the server."""
    folder = tmp_path / "data"
    database_server.keep(folder, url)
    yield folder
    database_server.keep(folder, "")


def execute(url: str, sql: str) -> list[tuple[object, ...]]:
    with closing(shared_pointer.open_pointer(url, writable=True)) as database, database.transaction() as db:
        cursor = db.execute(sql)
        return cursor.fetchall() if cursor.description else []


def fetch(url: str, data: Path, name: str, sha256: str) -> Path:
    with closing(shared_pointer.open_pointer(url)) as database:
        return shared_pointer.fetch_files(database, data, name, sha256)


def test_what_one_machine_wrote_another_reads(data: Path, tmp_path: Path, url: str) -> None:
    assert active.read(data) == ActiveAdapter()
    canary = Canary(name="adapter-0002", sha256="b" * 64, share=0.1)
    pointer = ActiveAdapter(name="adapter-0001", sha256="a" * 64, canary=canary)
    active.write(data, pointer)
    database_server.keep(tmp_path / "other", url)
    assert active.read(tmp_path / "other") == pointer
    assert active.read_here(data) == ActiveAdapter()  # only a gateway changes what serves on a machine


def test_before_anything_was_written_there_the_file_counts(data: Path) -> None:
    active.write_here(data, ActiveAdapter(name="adapter-0001", sha256="a" * 64))
    assert active.read(data).name == "adapter-0001"
    active.write(data, ActiveAdapter())
    assert active.read(data).name == "base"


def test_a_damaged_pointer_names_the_fix_which_works(data: Path, url: str) -> None:
    active.write(data, ActiveAdapter())
    execute(url, "UPDATE active_adapter SET pointer = '{'")
    with pytest.raises(AdapterError, match="is damaged; write it anew with: evolver rollback base"):
        active.read(data)
    active.write(data, ActiveAdapter())
    assert active.read(data) == ActiveAdapter()


def test_an_adapter_arrives_whole_on_another_machine(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_pointer, "_PART_BYTES", 100)
    folder = make_adapter(tmp_path / "one", "adapter-0001")
    for _ in range(2):
        shared_pointer.store_files(url, folder, sha256_of(folder))
    there = fetch(url, tmp_path / "two", "adapter-0001", sha256_of(folder))
    assert there == tmp_path / "two" / "adapters" / "adapter-0001"
    assert {path.name: path.read_bytes() for path in there.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }
    assert [path.name for path in there.parent.iterdir()] == ["adapter-0001"]
    assert fetch(url, tmp_path / "two", "adapter-0001", sha256_of(folder)) == there


def test_one_that_was_stored_in_part_is_not_there_and_storing_it_again_mends_that(tmp_path: Path, url: str) -> None:
    folder = make_adapter(tmp_path / "one", "adapter-0001")
    shared_pointer.store_files(url, folder, sha256_of(folder))
    execute(url, "DELETE FROM adapter_files WHERE name = 'manifest.json'")
    with pytest.raises(AdapterInvalid, match=r"neither here nor in the database; copy .* or promote it there again"):
        fetch(url, tmp_path / "two", "adapter-0001", sha256_of(folder))
    shared_pointer.store_files(url, folder, sha256_of(folder))
    fetch(url, tmp_path / "two", "adapter-0001", sha256_of(folder))


def test_one_that_was_changed_in_the_database_is_refused(tmp_path: Path, url: str) -> None:
    folder = make_adapter(tmp_path / "one", "adapter-0001")
    shared_pointer.store_files(url, folder, sha256_of(folder))
    execute(url, "UPDATE adapter_files SET content = content || 'x' WHERE name = 'adapter_model.safetensors'")
    with pytest.raises(AdapterInvalid, match="is not the file that the manifest names"):
        fetch(url, tmp_path / "two", "adapter-0001", sha256_of(folder))
    assert not (tmp_path / "two" / "adapters" / "adapter-0001").exists()


def test_another_adapter_of_that_name_is_refused(tmp_path: Path, url: str) -> None:
    folder = make_adapter(tmp_path / "one", "adapter-0001")
    shared_pointer.store_files(url, folder, sha256_of(folder))
    make_adapter(tmp_path / "two", "adapter-0001", base_sha256="e" * 64)
    with pytest.raises(AdapterInvalid, match="holds another one than was promoted; move that folder away"):
        fetch(url, tmp_path / "two", "adapter-0001", sha256_of(folder))


def test_the_database_keeps_the_files_of_what_serves_and_of_what_served_before_it(data: Path, url: str) -> None:
    hashes = {}
    for number in (1, 2, 3):
        name = f"adapter-{number:04d}"
        folder = make_adapter(data, name)
        hashes[name] = sha256_of(folder)
        shared_pointer.store_files(url, folder, hashes[name])
        active.write(data, ActiveAdapter(name=name, sha256=hashes[name]))
    assert len(execute(url, "SELECT DISTINCT adapter FROM adapter_files")) == 3  # all within the hour
    execute(url, "UPDATE adapter_files SET stored_at = now() - interval '2 hours'")
    active.write(data, ActiveAdapter(name="adapter-0002", sha256=hashes["adapter-0002"]))
    left = {str(row[0]) for row in execute(url, "SELECT DISTINCT adapter FROM adapter_files")}
    assert left == {hashes["adapter-0002"], hashes["adapter-0003"]}
    shutil.rmtree(data / "adapters")
    fetch(url, data, "adapter-0003", hashes["adapter-0003"])


def test_one_that_lacks_a_part_is_not_there_and_storing_it_again_mends_that(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_pointer, "_PART_BYTES", 100)
    folder = make_adapter(tmp_path / "one", "adapter-0001")
    shared_pointer.store_files(url, folder, sha256_of(folder))
    execute(url, "DELETE FROM adapter_files WHERE name = 'adapter_model.safetensors' AND part = 0")
    with pytest.raises(AdapterInvalid, match="neither here nor in the database"):
        fetch(url, tmp_path / "two", "adapter-0001", sha256_of(folder))
    shared_pointer.store_files(url, folder, sha256_of(folder))
    fetch(url, tmp_path / "two", "adapter-0001", sha256_of(folder))


def test_what_is_stored_or_wanted_again_stays_whole(data: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow transfer, of which some parts are older than the hour, and one that was stored long ago and is due now."""
    monkeypatch.setattr(shared_pointer, "_PART_BYTES", 100)
    slow, again = make_adapter(data, "adapter-0001"), make_adapter(data, "adapter-0002", base_sha256="e" * 64)
    hashes = {folder.name: sha256_of(folder) for folder in (slow, again)}
    for folder in (slow, again):
        shared_pointer.store_files(url, folder, hashes[folder.name])
    execute(url, "UPDATE adapter_files SET stored_at = now() - interval '2 hours' WHERE name != 'manifest.json'")
    execute(
        url, f"UPDATE adapter_files SET stored_at = now() - interval '2 hours' WHERE adapter = '{hashes[again.name]}'"
    )
    shared_pointer.store_files(url, again, hashes[again.name])
    active.write(data, ActiveAdapter())
    shutil.rmtree(data / "adapters")
    for folder in (slow, again):
        fetch(url, data, folder.name, hashes[folder.name])


def test_each_tenant_has_a_row_of_its_own(data: Path, tmp_path: Path, url: str) -> None:
    other = tmp_path / "other"
    database_server.keep(other, url)
    assert active.tenants(data) == []
    pointers = {
        tenant: ActiveAdapter(name=f"adapter-{number:04d}", sha256=f"{number}" * 64)
        for number, tenant in enumerate(("", "a.b", "sales"), 1)
    }
    for tenant, pointer in pointers.items():
        active.write(data, pointer, tenant=tenant)
    assert active.read_all(other) == pointers
    assert list(active.read_all(other)) == ["", "a.b", "sales"]
    assert {tenant: active.read(other, tenant) for tenant in pointers} == pointers
    assert active.tenants(other) == ["a.b", "sales"]
    assert active.tenants_here(other) == active.tenants_here(data) == []
    assert active.serving(other, "lab") == pointers[""]
    active.write(other, ActiveAdapter(name=SHARED), tenant="sales")
    assert active.serving(data, "sales") == pointers[""]
    assert active.serving(data, "a.b") == pointers["a.b"]


def test_a_damaged_pointer_of_a_tenant_names_the_fix_and_stops_no_other(data: Path, url: str) -> None:
    for tenant in ("", "care", "sales"):
        active.write(data, ActiveAdapter(), tenant=tenant)
    execute(url, "UPDATE tenant_adapters SET pointer = '{' WHERE tenant = 'sales'")
    with pytest.raises(
        AdapterError, match="of sales: is damaged; write it anew with: evolver rollback shared --tenant sales"
    ):
        active.read(data, "sales")
    assert active.read_all(data).keys() == {"", "care"}
    active.write(data, ActiveAdapter(), tenant="sales")
    assert active.read_all(data).keys() == {"", "care", "sales"}


def test_a_name_that_no_tenant_can_have_gets_no_row(data: Path) -> None:
    with pytest.raises(StorageError):
        active.write(data, ActiveAdapter(), tenant="../sales")


def test_a_change_for_one_keeps_the_files_of_what_serves_all_others_and_served_them_before(
    data: Path, url: str
) -> None:
    hashes: dict[str, str] = {}

    def promote(name: str, tenant: str) -> None:
        if name not in hashes:
            folder = make_adapter(data, name, base_sha256=f"{len(hashes):064x}")
            hashes[name] = sha256_of(folder)
            shared_pointer.store_files(url, folder, hashes[name])
        active.write(data, ActiveAdapter(name=name, sha256=hashes[name]), tenant=tenant)

    for number, tenant in enumerate(("sales", "sales", "sales", "", "", "", "care"), 1):
        promote(f"adapter-{number:04d}", tenant)
    assert len(set(hashes.values())) == 7
    execute(url, "UPDATE adapter_files SET stored_at = now() - interval '2 hours'")
    promote("adapter-0007", "care")
    left = {str(row[0]) for row in execute(url, "SELECT DISTINCT adapter FROM adapter_files")}
    assert left == set(hashes.values()) - {hashes["adapter-0001"], hashes["adapter-0004"]}
