"""The tools that come with apprentice: one file per family, standard library only, importable in the sandbox."""
