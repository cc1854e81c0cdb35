"""Another server answers people, and apprentice answers beside it, unseen: how often they agree, and who answers."""
