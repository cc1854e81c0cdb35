"""Errors that more than one package raises.

UserError                 one line and the fix for the person, exit code 2, no traceback
├── ConfigError           config.toml: names the key and what it allows
└── PrerequisiteError     something missing on this machine: names it and how to get it
SandboxUnavailable        isolation is broken: an infrastructure error, never a failed verdict

What goes wrong inside a tool call is no exception but a ToolError in its ToolResult (toolkit.tool).
"""


class UserError(Exception):
    """Something the user can mend. The message is one line that ends with the fix."""


class ConfigError(UserError):
    """config.toml holds an unknown key, a wrong type or a value out of range."""


class PrerequisiteError(UserError):
    """The machine lacks something: a package, a kernel feature, a free port, disk."""


class SandboxUnavailable(Exception):
    """The sandbox itself failed; says nothing about the call that was to run in it."""
