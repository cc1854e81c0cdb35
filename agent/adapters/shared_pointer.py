"""The pointers to active adapters on Postgres, and the files of the adapters that they name, for all gateways.

One row is the pointer of everybody, and each tenant with a pointer of its own has a row of its own. The files stand
beside them in parts, so that a gateway on another machine can fetch what it is to load; those that no pointer names any
more, or named before, are removed when one changes.
"""

import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from agent.adapters.package import MANIFEST, PEFT_CONFIG, WEIGHTS, check_adapter, folder_of, manifest_sha256
from agent.errors import AdapterInvalid
from agent.storage.postgres import PostgresDatabase, open_postgres
from agent.storage.statements import LEDGER_LOCK, OpenDatabase, Statements, Steps
from toolkit import durable_file

STEPS: Steps = (
    (
        "agent_002_active_adapter",
        """
        CREATE TABLE active_adapter (
            one integer PRIMARY KEY CHECK (one = 1),
            pointer text COLLATE "C" NOT NULL
        );
        CREATE TABLE adapter_files (
            adapter text COLLATE "C" NOT NULL,
            name text COLLATE "C" NOT NULL,
            part integer NOT NULL,
            content bytea NOT NULL,
            stored_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (adapter, name, part)
        );
        """,
    ),
    ("agent_003_adapter_parts", "ALTER TABLE adapter_files ADD COLUMN parts integer"),
    (
        "agent_004_tenant_adapters",
        """
        CREATE TABLE tenant_adapters (
            tenant text COLLATE "C" PRIMARY KEY CHECK (tenant ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
            pointer text COLLATE "C" NOT NULL,
            before text COLLATE "C" NOT NULL DEFAULT ''
        );
        ALTER TABLE active_adapter ADD COLUMN before text COLLATE "C" NOT NULL DEFAULT '';
        """,
    ),
)
"""``adapter``: the hash of its manifest. Its row is stored last, with the number of all ``parts``, itself among them.
An adapter that has as many is whole. ``before``: the hashes that the pointer named until its last change, with spaces
between them."""
_PART_BYTES = 1 << 20
_FILES = (WEIGHTS, PEFT_CONFIG, MANIFEST)


def open_pointer(url: str, *, writable: bool = False, patience: float | None = None) -> PostgresDatabase:
    """Open the database of the pointer; see ``open_postgres``."""
    return open_postgres(url, STEPS, writable=writable, lock=LEDGER_LOCK, patience=patience)


@contextmanager
def changing(url: str, db: Statements | None) -> Iterator[Statements]:
    """Yield ``db``, or where that is None the inside of a transaction of its own."""
    if db is not None:
        yield db
        return
    with closing(open_pointer(url, writable=True)) as database, database.transaction() as own:
        yield own


def read(db: Statements, tenant: str = "") -> str:
    """Return the pointer of ``tenant`` ("": of everybody) as JSON; "" where none was ever written."""
    if tenant:
        row = db.execute("SELECT pointer FROM tenant_adapters WHERE tenant = ?", (tenant,)).fetchone()
    else:
        row = db.execute("SELECT pointer FROM active_adapter").fetchone()
    return row[0] if row else ""


def read_all(db: Statements) -> dict[str, str]:
    """Return all pointers as JSON, by tenant; that of everybody first, where there is one."""
    rows = db.execute(
        "SELECT '', pointer FROM active_adapter UNION ALL SELECT tenant, pointer FROM tenant_adapters ORDER BY 1"
    )
    return dict(rows.fetchall())


def write(db: Statements, pointer: str, before: Iterable[str], tenant: str = "") -> None:
    """Let ``pointer``, JSON, be the pointer of ``tenant``. ``before``: the hashes that it named until now."""
    change = "DO UPDATE SET pointer = excluded.pointer, before = excluded.before"
    values = (pointer, " ".join(sorted(before)))
    if tenant:
        insert = "INSERT INTO tenant_adapters (tenant, pointer, before) VALUES (?, ?, ?) ON CONFLICT (tenant)"
        db.execute(f"{insert} {change}", (tenant, *values))
    else:
        db.execute(
            f"INSERT INTO active_adapter (one, pointer, before) VALUES (1, ?, ?) ON CONFLICT (one) {change}", values
        )


def remove_files(db: Statements, named: Collection[str]) -> None:
    """Remove the files of all adapters but those with the hashes ``named``, those that a pointer named before, and
    those of which a part was stored in the last hour: a promotion that is under way may be about to name them."""
    befores = db.execute("SELECT before FROM active_adapter UNION ALL SELECT before FROM tenant_adapters").fetchall()
    kept = {*named, *(sha256 for (before,) in befores for sha256 in before.split())}
    rows = db.execute(
        "SELECT adapter FROM adapter_files GROUP BY adapter HAVING max(stored_at) < now() - interval '1 hour'"
    )
    for (adapter,) in rows.fetchall():
        if adapter not in kept:
            db.execute("DELETE FROM adapter_files WHERE adapter = ?", (adapter,))


def forget_tenants(db: Statements) -> None:
    """Remove the pointers of all tenants."""
    db.execute("DELETE FROM tenant_adapters")


def store_files(url: str, folder: Path, sha256: str) -> None:
    """Store the files of an adapter, which was checked, in the database, where they are not there already.

    Each part is a transaction: nobody waits for all of them. Raises StorageError, OSError.
    """
    with closing(open_pointer(url, writable=True)) as database:
        with database.transaction() as db:
            if _is_whole(db, sha256):
                db.execute(
                    "UPDATE adapter_files SET stored_at = now() WHERE adapter = ? AND name = ?", (sha256, MANIFEST)
                )
                return
        stored = 0
        for name in _FILES:
            with (folder / name).open("rb") as file:
                part = 0
                while content := file.read(_PART_BYTES):
                    stored += 1
                    parts = stored if name == MANIFEST else None
                    with database.transaction() as db:
                        db.execute(
                            "INSERT INTO adapter_files (adapter, name, part, content, parts) VALUES (?, ?, ?, ?, ?) "
                            "ON CONFLICT (adapter, name, part) DO UPDATE SET content = excluded.content, "
                            "parts = excluded.parts, stored_at = now()",
                            (sha256, name, part, content, parts),
                        )
                    part += 1


def fetch_files(database: OpenDatabase, data_folder: Path, name: str, sha256: str) -> Path:
    """Return the folder of the adapter ``name``, made of the files in ``database`` where it is not here.

    Raises AdapterInvalid where the database lacks them, or what is here or there is another adapter; StorageError,
    OSError.
    """
    folder = folder_of(data_folder, name)
    if folder.is_dir():
        if manifest_sha256(folder) != sha256:
            raise AdapterInvalid(
                f"adapter {name}: {folder} holds another one than was promoted", "move that folder away"
            )
        return folder
    draft = folder.with_name(f".{name}.fetched")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    with database.transaction("BEGIN") as db:
        if not _is_whole(db, sha256):
            raise AdapterInvalid(
                f"adapter {name}: neither here nor in the database",
                f"copy {folder} from the machine that promoted it, or promote it there again",
            )
        for file in _FILES:
            _write_parts(db, sha256, draft / file)
    check_adapter(draft, sha256=sha256)
    durable_file.publish_folder(draft, folder)
    return folder


def _write_parts(db: Statements, sha256: str, target: Path) -> None:
    query = "SELECT content FROM adapter_files WHERE adapter = ? AND name = ? AND part = ?"
    with target.open("wb") as file:
        part = 0
        while row := db.execute(query, (sha256, target.name, part)).fetchone():
            file.write(row[0])
            part += 1


def _is_whole(db: Statements, sha256: str) -> bool:
    query = "SELECT count(*), max(parts) FROM adapter_files WHERE adapter = ?"
    found, parts = db.execute(query, (sha256,)).fetchone()
    return found == parts
