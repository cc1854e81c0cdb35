"""Finding and removing secrets and personal data, before anything is stored or learned.

Secrets are known by their form (keys of many services, from detect-secrets; PEM blocks; bearer tokens) or by what
stands before them ("password: ..."). Personal data are addresses of mail, telephone numbers, payment cards and IBANs
with right check digits, and IP addresses. What has no form, a name or a street, is not found.
"""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from agent.config import RedactionConfig
from toolkit.json_texts import texts, with_texts

_PLUGINS = {
    "ArtifactoryDetector": ("AKC", "AP"),
    "AWSKeyDetector": ("A3T", "ABIA", "ACCA", "AKIA", "ASIA", "aws", "AWS"),
    "AzureStorageKeyDetector": ("AccountKey=",),
    "DiscordBotTokenDetector": (".",),
    "GitHubTokenDetector": ("gh",),
    "GitLabTokenDetector": ("gl", "GR1348941"),
    "MailchimpDetector": ("-us",),
    "NpmDetector": ("_authToken",),
    "PypiTokenDetector": ("pypi-",),
    "SendGridDetector": ("SG.",),
    "SlackDetector": ("xox", "hooks.slack.com"),
    "SquareOAuthDetector": ("sq0csp-",),
    "StripeDetector": ("k_live_",),
    "TelegramBotTokenDetector": (":",),
    "TwilioKeyDetector": ("AC", "SK"),
}
"""Detectors of detect-secrets that know a form, and what stands in every text that has it: looking for that first makes
them fast. The other detectors judge by entropy, which takes every hash for a secret."""

_FORMS = {
    "PRIVATE KEY": r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----(?:.*?-----END [A-Z ]*KEY(?: BLOCK)?-----|.*)",
    "sk-": r"\bsk-[A-Za-z0-9_-]{20,}",
    "github_pat_": r"\bgithub_pat_[A-Za-z0-9_]{40,}",
    "eyJ": r"\beyJ[\w=-]+\.[\w=-]+(?:\.[\w=-]*)?",
    "AIza": r"\bAIza[A-Za-z0-9_-]{35}",
    "hf_": r"\bhf_[A-Za-z0-9]{30,}",
    "apprentice-": r"\bapprentice-[A-Za-z0-9_-]{40,}",
    "earer ": r"\b[Bb]earer +([A-Za-z0-9._~+/-]{20,}=*)",
    "://": r"://[^\s:/?#\[\]@]+:([^\s:/?#\[\]@]+)@",
}
_NAMED = ("pass", "pwd", "secret", "token", "key")
_NAME = (
    r"(?:password|passwd|passphrase|pwd|secret|token|(?:api|access|private|secret|account)[ _-]?key|"
    r"auth[ _-]?token|client[ _-]?secret)"
)
_ASSIGNED = re.compile(rf"(?i){_NAME}[\"'\\]*\s*(?:is|=>?|:=?)\s*[\"'\\]*([^\s\"',;\\]{{6,}})")
_QUOTED = re.compile(rf"(?i){_NAME}\\?[\"']\s*:\s*\\?[\"']([^\"'\\]{{6,}})\\?[\"']")
_SECRET_NAME = re.compile(rf"(?i)[\w-]*{_NAME}")

_PERSONAL: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("email", re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    ("iban", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")),
    ("card", re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?!\.?\d)")),
    ("ip address", re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?!\.?\d)")),
    ("phone", re.compile(r"(?<![\w.])\+\d(?:[ ()/.-]{0,2}\d){7,14}(?!\w)")),
    ("phone", re.compile(r"(?<![\w.-])(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-])")),
)
_LONGEST_CACHED = 20_000
_SHORTEST = 6


@dataclass(frozen=True)
class SensitiveSpan:
    """``text[start:end]`` is a ``kind``: secret, email, phone, card, iban or ip address."""

    kind: str
    start: int
    end: int


class Redactor:
    """Removes what ``config`` names; may be shared by threads. Texts that come again and again cost little."""

    def __init__(self, config: RedactionConfig) -> None:
        self._config = config
        self._found = lru_cache(maxsize=1024)(self._find)

    def find(self, text: str) -> tuple[SensitiveSpan, ...]:
        """Find the spans to remove, in the order of the text, without overlaps."""
        if not (self._config.secrets or self._config.personal_data):
            return ()
        return self._found(text) if len(text) <= _LONGEST_CACHED else self._find(text)

    def text(self, text: str) -> str:
        """Return ``text`` with ``[secret]``, ``[email]``, ... in the place of what was found."""
        for found in reversed(self.find(text)):
            text = f"{text[: found.start]}[{found.kind}]{text[found.end :]}"
        return text

    def value(self, value: Any) -> Any:
        """Return a JSON value redacted, but for the keys of objects.

        What is found anywhere in it is removed everywhere in it, unless it could as well be an ordinary word.
        """
        known: dict[str, str] = {}
        for text in texts(value):
            known |= {text[found.start : found.end]: found.kind for found in self.find(text)}
        known = {text: kind for text, kind in known.items() if kind != "secret" or _is_no_word(text)}
        longest_first = "|".join(re.escape(text) for text in sorted(known, key=len, reverse=True))
        everywhere = re.compile(longest_first) if known else None

        def redacted(text: str) -> str:
            return (
                everywhere.sub(lambda found: f"[{known[found[0]]}]", self.text(text)) if everywhere else self.text(text)
            )

        return with_texts(value, redacted, named=_named_secret if self._config.secrets else None)

    def _find(self, text: str) -> tuple[SensitiveSpan, ...]:
        found: list[SensitiveSpan] = []
        if self._config.secrets:
            found += _secrets(text)
        if self._config.personal_data:
            found += _personal_data(text)
        found.sort(key=lambda one: one.start)
        kept: list[SensitiveSpan] = []
        for one in found:
            if kept and one.start < kept[-1].end:
                last = kept[-1]
                kind = "secret" if "secret" in (last.kind, one.kind) else last.kind
                kept[-1] = SensitiveSpan(kind, last.start, max(last.end, one.end))
            else:
                kept.append(one)
        return tuple(kept)


def _secrets(text: str) -> Iterator[SensitiveSpan]:
    for anchors, pattern in _patterns():
        if any(anchor in text for anchor in anchors):
            for found in pattern.finditer(text):
                yield SensitiveSpan("secret", *found.span(1 if anchors[0] in _FORMS and pattern.groups else 0))
    small = text.lower()
    if any(name in small for name in _NAMED):
        for found in _ASSIGNED.finditer(text):
            if _is_no_word(found[1]):
                yield SensitiveSpan("secret", *found.span(1))
        for found in _QUOTED.finditer(text):
            yield SensitiveSpan("secret", *found.span(1))


def _personal_data(text: str) -> Iterator[SensitiveSpan]:
    checks: dict[str, Callable[[str], bool]] = {"card": _luhn, "iban": _mod_97}
    for kind, pattern in _PERSONAL:
        for found in pattern.finditer(text):
            if checks.get(kind, lambda _: True)(found[0]):
                yield SensitiveSpan(kind, *found.span())


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[tuple[str, ...], re.Pattern[str]], ...]:
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class  # takes 0.2 s

    logging.captureWarnings(False)  # that import turned it on, for the whole process
    detectors: dict[str, Any] = {found.__name__: found for found in get_mapping_from_secret_type_to_class().values()}
    known = [(anchors, pattern) for name, anchors in _PLUGINS.items() for pattern in detectors[name].denylist]
    return (*known, *(((anchor,), re.compile(pattern)) for anchor, pattern in _FORMS.items()))


def _named_secret(key: str, value: Any) -> str | None:
    """A text under a key such as ``password`` is a secret."""
    secret = isinstance(value, str) and len(value) >= _SHORTEST and _SECRET_NAME.fullmatch(key)
    return "[secret]" if secret else None


def _is_no_word(text: str) -> bool:
    return len(text) >= 20 or (any(c.isdigit() for c in text) and any(c.isalpha() for c in text))


def _luhn(text: str) -> bool:
    digits = [int(c) for c in text if c.isdigit()][::-1]
    return len(digits) >= 13 and (sum(digits[::2]) + sum(sum(divmod(2 * d, 10)) for d in digits[1::2])) % 10 == 0


def _mod_97(text: str) -> bool:
    text = text.replace(" ", "")
    return len(text) >= 15 and int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1
