"""`agent chat`: a conversation in a terminal, with its commands and its history."""
