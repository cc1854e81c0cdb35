"""Execution policy: the evolver causes no effect in the world (docs/evolution.md)."""

from toolkit.tool import Effect, Tool


def harmless(tool: Tool) -> bool:
    """Return whether running ``tool`` changes nothing outside the sandbox."""
    return tool.effect is not Effect.WRITES or tool.sandbox_state


def for_lessons(tool: Tool, *, allow_reads: bool) -> bool:
    """Return whether lessons may run ``tool``: its result says something tomorrow too, or reading is allowed."""
    return harmless(tool) and (allow_reads or tool.sandbox_state or tool.effect is Effect.PURE)
