"""Errors of one conversation and of serving it.

UserError (toolkit.errors)
├── ModelUnavailable      no model server answers; infrastructure, says nothing about the model
├── StorageError          interactions.db cannot be opened, read or written
│   ├── ConnectionLost    its server was gone in a transaction; it may be tried again
│   ├── DatabaseUnavailable   its server does not come back, or stays locked; it has been waited for
│   └── CommitUnknown     its server was gone in a commit, and does not say what became of it
└── AdapterError          the pointer file is not what it should be, or vLLM refuses an adapter
    └── AdapterInvalid    an adapter folder is not what its manifest says
ModelError                the server answered, but not with a model's reply
└── ModelTimeout          the reply did not come within the time that the caller gave
"""

from toolkit.errors import UserError

NO_SERVER = "no server is running; start it with: agent serve"


class ModelUnavailable(UserError):
    """No model server answers: not started, starting again, or gone in the middle of an answer."""


class StorageError(UserError):
    """The interaction log cannot be opened, read or written."""


class ConnectionLost(StorageError):
    """The connection to the database broke in a transaction of which nothing is stored; it may be tried again."""


class DatabaseUnavailable(StorageError):
    """The server of the database was waited for, or its lock, in vain; nothing of the transaction is stored."""


class CommitUnknown(StorageError):
    """An unknown end of a transaction: it may be stored; whoever tries it again may store it twice."""


class AdapterError(UserError):
    """The pointer to the active adapter, or an adapter's folder, is damaged or missing."""


class AdapterInvalid(AdapterError):
    """An adapter folder must not be used. ``problem`` is the message without the fix."""

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(f"{problem}; {fix}" if fix else problem)
        self.problem = problem


class ModelError(Exception):
    """The server refused the request or sent something that is no reply."""


class ModelTimeout(ModelError):
    """No complete reply within the time given."""
