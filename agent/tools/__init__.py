"""Tools as clients define them and as models are shown them: schemas, grammars, the forms of calls."""
