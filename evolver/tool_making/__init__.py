"""Let the model write new tools."""
