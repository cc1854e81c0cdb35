"""Figures that the pages show, computed from the log, the ledger and the cycle folders; nothing here writes."""
