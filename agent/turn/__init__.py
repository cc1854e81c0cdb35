"""One turn: the question to the model, the choice and the check of its calls, until it answers."""
