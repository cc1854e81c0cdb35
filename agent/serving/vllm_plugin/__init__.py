"""The plugin that runs inside vLLM, and what reads with vLLM's parsers in a process of its own.

Of agent, only this folder imports vllm. Only it and ``agent.models.default_model``, which prepares a packaged
model in a process of its own, import torch or transformers.
"""
