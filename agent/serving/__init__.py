"""Serve the model: the gateway, the managed vLLM and its adapters."""
