"""Sample from the model: prompts, grammars and the request log."""
