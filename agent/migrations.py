"""The schema of interactions.db, one step after the other. A step that has shipped is never edited."""

from sqlite_utils import Database, Migrations

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
