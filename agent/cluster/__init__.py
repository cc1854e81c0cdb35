"""The Ray cluster that config.toml may name: its settings, the way in, and folders that its nodes must have."""
