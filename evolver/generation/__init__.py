"""Generate tool calls, and requests for them."""
