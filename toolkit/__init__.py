"""Tools, and a sandbox that runs them safely."""
