"""Names of suites, checked before anything is asked of a server."""

from evolver.evaluation import suites
from evolver.evaluation.scoring import OWN, REPLAY, SERVED
from evolver.evaluation.suites import bfcl, chat
from toolkit.errors import UserError
from toolkit.near_names import did_you_mean


def check_suite(name: str) -> None:
    """Raise UserError where there is no suite ``name``, with the near name and all names. Variants are not checked."""
    plain = name.partition(":")[0]
    known = [*suites.names(), OWN, REPLAY, SERVED, chat.NAME]
    if plain not in known and not name.startswith(bfcl.PREFIX):
        question = did_you_mean(plain, known)
        there = f"there is: {', '.join(known)}, {bfcl.PREFIX}CATEGORY"
        raise UserError(f"there is no suite {plain}; {f'{question} ' if question else ''}{there}")
