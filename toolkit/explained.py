"""Closed sets of words that are told to people."""

from enum import StrEnum
from typing import Self


class Explained(StrEnum):
    """Closed set of words with a ``sentence`` each that tells it to people; every set is listed in docs/concepts.md.

    Values are stored: one that has shipped is never changed.
    """

    sentence: str

    def __new__(cls, value: str, sentence: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member
