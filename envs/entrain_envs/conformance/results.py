"""The result of each rule: passed, failed with what arrived and the remedy, or not shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from entrain_envs.conformance.rules import BY_NAME, RULES, Rule

_MOST_SHOWN = 1000
"""Characters of what arrived that a report repeats."""


class Verdict(Enum):
    """How a rule stands."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_SHOWN = "not shown"


@dataclass(frozen=True)
class Finding:
    """One rule and how it stands."""

    rule: Rule
    verdict: Verdict
    arrived: str = ""
    """What broke the rule, at first; or why it was not shown."""

    remedy: str = ""
    """What to change; empty unless the rule failed."""

    times: int = 0
    """How often it was broken, or was kept."""


def shown(text: str) -> str:
    """`text`, which a stranger may have sent, on one line without control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_MOST_SHOWN])


class Results:
    """Collects what is found. The first failure of a rule is the one that is kept."""

    def __init__(self) -> None:
        self._passed: dict[str, int] = {}
        self._failed: dict[str, tuple[str, str, int]] = {}
        self._not_shown: dict[str, str] = {}

    def passed(self, *names: str) -> None:
        """The rules were kept once more."""
        for name in names:
            self._passed[BY_NAME[name].name] = self._passed.get(name, 0) + 1

    def failed(self, name: str, arrived: str, remedy: str) -> None:
        """The rule was broken.

        Args:
            name: of the rule.
            arrived: what, where, and what was expected.
            remedy: what to change in the simulator.
        """
        first = self._failed.get(BY_NAME[name].name, (shown(arrived), remedy, 0))
        self._failed[name] = (first[0], first[1], first[2] + 1)

    def check(self, name: str, kept: bool, arrived: str, remedy: str) -> bool:
        """Note one look at a rule; returns `kept`."""
        if kept:
            self.passed(name)
        else:
            self.failed(name, arrived, remedy)
        return kept

    def not_shown(self, name: str, why: str) -> None:
        """Say why the rule could not be shown, if it is not shown otherwise. The first counts."""
        self._not_shown.setdefault(BY_NAME[name].name, shown(why))

    def has_failed(self, name: str) -> bool:
        """Whether the rule was broken so far."""
        return name in self._failed

    def has_passed(self, name: str) -> bool:
        """Whether the rule was kept so far, and never broken."""
        return name in self._passed and name not in self._failed

    def findings(self) -> Sequence[Finding]:
        """All rules, in their order."""
        return [self._finding(rule) for rule in RULES]

    def _finding(self, rule: Rule) -> Finding:
        if rule.name in self._failed:
            arrived, remedy, times = self._failed[rule.name]
            return Finding(rule, Verdict.FAILED, arrived, remedy, times)
        if rule.name in self._passed:
            return Finding(rule, Verdict.PASSED, times=self._passed[rule.name])
        return Finding(rule, Verdict.NOT_SHOWN, self._not_shown.get(rule.name, ""))
