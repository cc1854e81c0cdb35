"""The Ray cluster that config.toml may name: settings, connection, actors, and folders for its nodes."""
