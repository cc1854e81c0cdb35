"""Persist what cycles produce: the ledger, the lease and the cycle folders."""
