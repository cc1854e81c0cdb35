"""The schema of interactions.db, one step after the other. A step that has shipped is never edited."""

from agent.storage.database import Migrations
from agent.storage.database import SqliteUtilsDatabase as Database

migrations = Migrations("agent")

_WORDS = (
    "(SELECT group_concat(json_extract(message.value, '$.content'), char(10)) "
    "FROM json_each({row}.trajectory, '$.messages') AS message)"
)


@migrations()
def m001_interactions_and_feedback(db: Database) -> None:
    db.execute(
        """
        CREATE TABLE interactions (
            id TEXT PRIMARY KEY,
            session TEXT NOT NULL,
            source TEXT NOT NULL,
            created_at REAL NOT NULL,
            adapter TEXT NOT NULL,
            stop_reason TEXT NOT NULL,
            trajectory TEXT NOT NULL,
            tool_schemas TEXT NOT NULL
        ) STRICT
        """
    )
    db.execute("CREATE INDEX interactions_of_session ON interactions (source, session, id)")
    db.execute(
        """
        CREATE TABLE feedback (
            number INTEGER PRIMARY KEY,
            interaction_id TEXT NOT NULL REFERENCES interactions (id),
            verdict TEXT NOT NULL CHECK (verdict IN ('good', 'bad')),
            note TEXT NOT NULL,
            created_at REAL NOT NULL
        ) STRICT
        """
    )
    db.execute("CREATE INDEX feedback_of_interaction ON feedback (interaction_id)")


@migrations()
def m002_owners_and_references(db: Database) -> None:
    """Add ``owner``: the API key that asked; ``reference``: the answer's id at the client; ``continues``: the id of the
    interaction with the calls whose results this one brings ("" each where there is none)."""
    for column in ("owner", "tenant", "reference", "continues"):
        db.execute(f"ALTER TABLE interactions ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")
    db.execute("CREATE INDEX interactions_of_reference ON interactions (reference) WHERE reference != ''")


@migrations()
def m003_by_adapter(db: Database) -> None:
    """Index by adapter: the monitor reads the newest of two adapters, of which one may not have answered for long."""
    db.execute("CREATE INDEX interactions_of_adapter ON interactions (adapter, id)")


@migrations()
def m004_by_session(db: Database) -> None:
    """Index by session: mining reads session by session, and skips what a later interaction continues."""
    db.execute("CREATE INDEX interactions_by_session ON interactions (source, tenant, owner, session, id)")
    db.execute("CREATE INDEX interactions_of_continued ON interactions (continues, id) WHERE continues != ''")


@migrations()
def m005_corrections(db: Database) -> None:
    """Add ``expected``: what a person says would have been right ("" where nothing is said)."""
    db.execute("ALTER TABLE feedback ADD COLUMN expected TEXT NOT NULL DEFAULT ''")


@migrations()
def m006_imported(db: Database) -> None:
    """Add the digests of imported turns. They stay when an interaction is forgotten: the same file brings it back no
    more."""
    db.execute("CREATE TABLE imported (digest BLOB PRIMARY KEY, interaction_id TEXT NOT NULL) STRICT, WITHOUT ROWID")


@migrations()
def m007_words(db: Database) -> None:
    """Add ``said``: the words of each interaction, for a search; what is deleted leaves no trace in its index."""
    db.execute(
        """CREATE VIRTUAL TABLE said USING fts5(id UNINDEXED, text, tokenize = 'unicode61 remove_diacritics 2')"""
    )
    db.execute("INSERT INTO said (said, rank) VALUES ('secure-delete', 1)")
    db.execute(f"INSERT INTO said (id, text) SELECT id, {_WORDS.format(row='turn')} FROM interactions AS turn")
    db.execute(
        "CREATE TRIGGER said_with_interaction AFTER INSERT ON interactions "
        f"BEGIN INSERT INTO said (id, text) VALUES (new.id, {_WORDS.format(row='new')}); END"
    )
    db.execute("CREATE TRIGGER said_no_more AFTER DELETE ON interactions BEGIN DELETE FROM said WHERE id = old.id; END")


@migrations()
def m008_shadow_comparisons(db: Database) -> None:
    """Add the comparisons of shadow mode. ``tool`` "": neither answer calls one; ``same_result`` NULL: nobody knows."""
    db.execute(
        """
        CREATE TABLE shadow_comparisons (
            number INTEGER PRIMARY KEY,
            created_at REAL NOT NULL,
            tool TEXT NOT NULL,
            adapter TEXT NOT NULL,
            upstream TEXT NOT NULL,
            same_call INTEGER NOT NULL,
            same_arguments INTEGER NOT NULL,
            same_result INTEGER
        ) STRICT
        """
    )
    db.execute("CREATE INDEX shadow_comparisons_of_adapter ON shadow_comparisons (adapter, tool)")


@migrations()
def m009_forgotten_for_all(db: Database) -> None:
    """Add ``content``: the digest without owner and tenant (empty for turns of before). What was forgotten of one stays
    away from all."""
    db.execute("ALTER TABLE imported ADD COLUMN content BLOB NOT NULL DEFAULT x''")
    db.execute("CREATE INDEX imported_of_content ON imported (content) WHERE content != x''")


@migrations()
def m010_words_by_number(db: Database) -> None:
    """Add ``said_at``: the number in ``said`` of each interaction. That table finds an id by reading all of itself."""
    db.execute("CREATE TABLE said_at (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE) STRICT")
    db.execute("INSERT INTO said_at (number, id) SELECT rowid, id FROM said")
    db.execute("DROP TRIGGER said_with_interaction")
    db.execute("DROP TRIGGER said_no_more")
    number = "(SELECT number FROM said_at WHERE id = {row}.id)"
    db.execute(
        "CREATE TRIGGER said_with_interaction AFTER INSERT ON interactions "
        "BEGIN INSERT INTO said_at (id) VALUES (new.id); INSERT INTO said (rowid, id, text) "
        f"VALUES ({number.format(row='new')}, new.id, {_WORDS.format(row='new')}); END"
    )
    db.execute(
        "CREATE TRIGGER said_no_more AFTER DELETE ON interactions "
        f"BEGIN DELETE FROM said WHERE rowid = {number.format(row='old')}; DELETE FROM said_at WHERE id = old.id; END"
    )
