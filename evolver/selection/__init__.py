"""Set aside what needs no lesson any more."""
