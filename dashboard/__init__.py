"""The dashboard: pages for people over the log and the ledger, shown by the gateway below ``/ui``."""
