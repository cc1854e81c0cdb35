"""The report of an import: what was taken, and why the rest was not."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from agent.imports.record import ImportReason


@dataclass
class Report:
    """Counts of what was read, taken and left out. ``first_lines``: where each reason stood first; of turns that were
    taken, ``foreign`` were written by a model that may not be learned from. ``freed``: turns of an earlier import that
    may be learned from as of now."""

    lines: int = 0
    turns: int = 0
    foreign: int = 0
    freed: int = 0
    forms: Counter[str] = field(default_factory=Counter)
    left_out: Counter[ImportReason] = field(default_factory=Counter)
    first_lines: dict[ImportReason, int] = field(default_factory=dict)

    def leave_out(self, reason: ImportReason, line: int) -> None:
        """Count what was not taken of the line with that number, from 1."""
        self.left_out[reason] += 1
        self.first_lines.setdefault(reason, line)

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        left_out = [
            {"reason": reason, "count": count, "first_line": self.first_lines[reason], "means": reason.sentence}
            for reason, count in self.left_out.most_common()
        ]
        counts = {name: getattr(self, name) for name in ("lines", "turns", "foreign", "freed")}
        return {**counts, "forms": dict(self.forms), "left_out": left_out}


def report_text(report: Report, *, dry_run: bool) -> str:
    """Return the report for people."""
    taken = ", ".join(f"{count:,} {form}" for form, count in report.forms.most_common())
    verb = "would be imported" if dry_run else "imported"
    lines = [f"{verb}: {report.turns:,} turns of {report.lines:,} lines" + (f" ({taken})" if taken else "")]
    lines += [
        f"left out: {count:,} {reason}: {reason.sentence} First: line {report.first_lines[reason]:,}."
        for reason, count in report.left_out.most_common()
    ]
    if report.foreign:
        lines.append(
            f"{report.foreign:,} turns are taken as answered by other models: their requests are used, their calls and "
            "answers are not learned from. Where these are yours to learn from, import the file again with --own."
        )
    if report.freed:
        lines.append(f"{report.freed:,} turns of an earlier import may be learned from as of now")
    return "\n".join(lines)
