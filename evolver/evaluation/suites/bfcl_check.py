"""BFCL's own AST checker, called without the rest of its package.

The checker imports a table of all models that the leaderboard knows, which needs the clients of their vendors; a
stand-in takes its place. All that the checker reads there is whether a model writes ``.`` in names as ``_``: never,
because calls come here under the functions' own names.
"""

import sys
import threading
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

from evolver.evaluation.suites.bfcl import INSTALL, BfclItem
from evolver.types import Call
from toolkit.errors import PrerequisiteError

_TABLE = "bfcl_eval.constants.model_config"
_MODEL = "apprentice"
_LANGUAGES = {"simple_java": "JAVA", "simple_javascript": "JAVASCRIPT"}
_lock = threading.Lock()


def problem(item: BfclItem, calls: Sequence[Call], category: str) -> str:
    """Return BFCL's complaint about ``calls``, under the functions' own names; "" when they are right.

    Only for categories with possible answers. Raises PrerequisiteError without the package.
    """
    check, languages = _checker()
    made = [{call.name: dict(call.arguments)} for call in calls]
    language = languages[_LANGUAGES.get(category, "PYTHON")]
    try:
        verdict = check(list(item.functions), made, list(item.answer), language, category, _MODEL)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        return f"checker:{type(error).__name__}"  # it trips over some values of a wrong type
    return "" if verdict["valid"] else str(verdict.get("error_type") or "invalid")


def _checker() -> tuple[Any, Any]:
    with _lock:
        if _TABLE not in sys.modules:
            table = ModuleType(_TABLE)
            table.MODEL_CONFIG_MAPPING = {_MODEL: SimpleNamespace(underscore_to_dot=False)}  # type: ignore[attr-defined]
            sys.modules[_TABLE] = table
        try:
            from bfcl_eval.constants.enums import Language  # pyright: ignore[reportMissingImports]
            from bfcl_eval.eval_checker.ast_eval.ast_checker import (  # pyright: ignore[reportMissingImports]
                ast_checker,
            )
        except ImportError as error:
            sys.modules.pop(_TABLE, None)
            raise PrerequisiteError(f"BFCL's checker cannot be loaded ({error}); install it: {INSTALL}") from None
    return ast_checker, Language
