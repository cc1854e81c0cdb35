"""Access to the gateway: API keys, host names and the origins of web pages."""
