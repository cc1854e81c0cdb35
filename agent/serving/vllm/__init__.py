"""The vLLM process that apprentice starts and watches."""
