"""Load, promote, watch and roll back adapters."""
