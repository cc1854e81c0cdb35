"""The interaction log: turns and words on them, kept in SQLite or on Postgres, without secrets, read in pages."""
