"""Errors for lack of memory: torch and the operating system have several."""

import errno

import torch

_WORDS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "could not create a memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    match error:
        case MemoryError() | torch.OutOfMemoryError():
            return True
        case OSError():
            return error.errno == errno.ENOMEM
        case RuntimeError():
            return any(words in str(error) for words in _WORDS)
    return False
