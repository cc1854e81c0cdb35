"""The agent with the tools of this machine, as programs ask it: chat completions, responses and MCP."""
