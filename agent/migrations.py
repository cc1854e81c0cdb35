"""The schema of interactions.db, one step after the other. A step that has shipped is never edited."""

from agent.database import Migrations
from agent.database import SqliteUtilsDatabase as Database

migrations = Migrations("agent")


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
    """``owner``: the API key that asked; ``reference``: the answer's id at the client; ``continues``: the id of the
    interaction with the calls whose results this one brings ("" each where there is none)."""
    for column in ("owner", "tenant", "reference", "continues"):
        db.execute(f"ALTER TABLE interactions ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")
    db.execute("CREATE INDEX interactions_of_reference ON interactions (reference) WHERE reference != ''")


@migrations()
def m003_by_adapter(db: Database) -> None:
    """The monitor reads the newest of two adapters, of which one may not have answered for long."""
    db.execute("CREATE INDEX interactions_of_adapter ON interactions (adapter, id)")
