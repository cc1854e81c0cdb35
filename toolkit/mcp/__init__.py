"""The tools of MCP servers: ``servers`` keeps the connections, ``profile`` isolates a started server, ``transport``
talks with it in bounded lines, ``translate`` makes its tools ours.
"""
