"""Store data durably: SQLite databases, small files and process locks."""
