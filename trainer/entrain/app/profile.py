"""Where the time of a run goes, for people and programs: `entrain profile`.

It only reads the run's files, so the run may go on meanwhile.
"""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from entrain.app.limits import Finding, find_limit, percent
from entrain.app.run_status import RunStatus, status_of
from entrain.config.load import load_config
from entrain.metrics import STEPS_PER_SECOND
from entrain.run.folder import RunFolder
from entrain.run.quantities import counted, duration
from entrain.run.round_shares import RecentRounds, RoundShares, rounds_in
from entrain.run.table import read_metrics

_WORDS = {
    "waiting": "waiting for simulators",
    "acting": "acting",
    "recording": "recording",
    "messages": "messages",
    "updates": "waiting for updates",
    "other": "checkpoints, files",
}
_LABEL_WIDTH = max(map(len, _WORDS.values()))

_BAR_FROM_WIDTH = 50
"""Of the narrowest terminal that has bars."""

_LONGEST_BAR = 40


@dataclass(frozen=True)
class RunProfile:
    """Where the time of one run's newest rounds went."""

    status: RunStatus
    rounds: Mapping[str, RecentRounds]
    """{behaviour: at least one round} of those that have learned."""

    finding: Finding | None
    """None without a round."""

    @property
    def shares(self) -> Mapping[str, RoundShares]:
        """{behaviour: of its rounds}."""
        return {name: rounds.shares for name, rounds in self.rounds.items()}


def profile_of(path: Path, *, updates: int) -> RunProfile:
    """Returns where the time of the run at `path` went in its last `updates` rounds.

    Raises:
        ConfigError: there is no run, or a file of it cannot be read.
    """
    folder = RunFolder.existing(path)
    config = load_config(folder.config, [])
    known = read_metrics(folder.metrics) if folder.metrics.is_file() else {}
    series = {name: each.updates for name, each in known.items()}
    rounds = {
        name: rounds_in(each, most=updates) for name, each in series.items() if len(each.env_steps)
    }
    shares = {name: each.shares for name, each in rounds.items()}
    return RunProfile(
        status_of(folder, config), rounds, find_limit(config, shares) if shares else None
    )


def describe_profile(profile: RunProfile, *, width: int) -> Iterator[str]:
    """Yields lines for a terminal that is `width` characters wide."""
    status = profile.status
    if profile.finding is None:
        yield from _wrapped(f"{status.name} ({status.state}): no update yet", width)
        return
    yield from _wrapped(f"{status.name} ({status.state})", width)
    for behaviour, rounds in profile.rounds.items():
        yield from _wrapped(_heading(behaviour, rounds, status), width)
        yield from _table(rounds.shares, width)
        # Beside the collecting, most of an update is waited for by nobody.
        if rounds.update_share > rounds.shares.updates + 0.01:
            words = f"an update runs {percent(rounds.update_share)} of the time"
            yield from _wrapped(words, width, indent="  ")
    if len(profile.rounds) > 1:
        yield from _wrapped("all policies, each of which the others wait for", width)
        yield from _table(RoundShares.of_all(list(profile.shares.values())), width)
    yield from _wrapped(profile.finding.sentence, width)
    for way in profile.finding.ways:
        yield from _wrapped(f"- {way}", width, indent="  ", hanging="    ")


def profile_for_programs(profile: RunProfile) -> Mapping[str, object]:
    """Returns the same as JSON has it; null where there is no number."""
    finding, shares = profile.finding, list(profile.shares.values())
    return {
        "name": profile.status.name,
        "path": str(profile.status.path),
        "state": profile.status.state,
        "policies": {
            behaviour: {
                "updates": len(rounds),
                "seconds": rounds.seconds,
                "env_steps_per_second": _finite(rounds.env_steps_per_second),
                "shares": asdict(rounds.shares),
                "update_share": _finite(rounds.update_share),
            }
            for behaviour, rounds in profile.rounds.items()
        },
        "shares": asdict(RoundShares.of_all(shares)) if shares else None,
        "limit": finding.limit if finding else None,
        "sentence": finding.sentence if finding else None,
        "ways": list(finding.ways) if finding else [],
    }


def _heading(behaviour: str, rounds: RecentRounds, status: RunStatus) -> str:
    done = status.policies[behaviour].updates
    facts = [
        f"the last {len(rounds)} of {counted(done, 'update')}",
        duration(rounds.seconds),
        f"{STEPS_PER_SECOND.text(rounds.env_steps_per_second)} steps/s",
    ]
    return f"{behaviour}: {', '.join(facts)}"


def _table(shares: RoundShares, width: int) -> Iterator[str]:
    longest = min(_LONGEST_BAR, width - _LABEL_WIDTH - 10) if width >= _BAR_FROM_WIDTH else 0
    for name, whole in shares.percents.items():
        bar = "#" * round(longest * getattr(shares, name))
        yield f"  {_WORDS[name]:{_LABEL_WIDTH}} {whole:3}%  {bar}".rstrip()


def _wrapped(text: str, width: int, *, indent: str = "", hanging: str = "  ") -> Sequence[str]:
    return textwrap.wrap(
        text,
        max(width, 20),
        initial_indent=indent,
        subsequent_indent=hanging,
        # An option's name is copied from here.
        break_long_words=False,
        break_on_hyphens=False,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
