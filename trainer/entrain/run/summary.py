"""The outcome of a run, kept as summary.json so that its report can be written again."""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Literal, Self, TypeAlias

from entrain.errors import ConfigError
from entrain.run.durable import replace_file
from entrain.run.losses import Losses
from entrain.run.progress import Progress
from entrain.version import __version__

Outcome: TypeAlias = Literal["completed", "stopped", "failed"]
"""completed: every policy has its total steps. stopped: on request; `resume` goes on."""


@dataclass(frozen=True, kw_only=True)
class PolicySummary:
    """How far one policy came."""

    progress: Progress

    total_steps: int
    """Env steps after which it is done."""

    ledger: Mapping[str, int]
    """Steps opened, closed and dropped; the others were still open at the end."""

    warnings: tuple[str, ...] = ()
    """Findings of the diagnostics, each in a line that begins with the update's number."""

    diverged: str = ""
    """Why it learned no more before its total steps were reached; empty if it did not diverge."""

    left_out_steps: int = 0
    """Env steps that were not learned from, because no setting made their loss finite."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One run, over all its sittings."""

    name: str
    outcome: Outcome

    started_at: float
    """Seconds since 1970, of the first sitting."""

    ended_at: float

    seconds: float
    """Spent training; time between a stop and its resume does not count."""

    simulators: tuple[str, ...]
    """One line for each kind that took part, such as `4 x balance-ball, 64 agents`."""

    software: tuple[str, ...]
    """Names with versions of what the run used."""

    policies: Mapping[str, PolicySummary]

    counters: Mapping[str, int]
    """Counted by the server: simulators that joined, left, were lost, and so on."""

    lost: Losses = field(default_factory=Losses)
    """By going on from checkpoints that were older than a crash."""

    lessons: Mapping[str, str] = field(default_factory=dict)
    """{environment parameter: the lesson that it has reached, in words}."""

    reached: str = ""
    """Which return completed the run before its total steps, in words; empty if none did."""

    @property
    def env_steps(self) -> int:
        """Over all policies."""
        return sum(policy.progress.env_steps for policy in self.policies.values())

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        replace_file(path, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Returns the summary at `path`; ConfigError if there is none that can be read."""
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            policies = {
                behaviour: PolicySummary(
                    progress=Progress(**policy["progress"]),
                    total_steps=policy["total_steps"],
                    ledger=policy["ledger"],
                    warnings=tuple(policy.get("warnings", ())),
                    diverged=policy.get("diverged", ""),
                    left_out_steps=policy.get("left_out_steps", 0),
                )
                for behaviour, policy in fields.pop("policies").items()
            }
            return cls(
                **{
                    **fields,
                    "policies": policies,
                    "lost": Losses(**fields.get("lost", {})),
                    "simulators": tuple(fields["simulators"]),
                    "software": tuple(fields["software"]),
                }
            )
        except FileNotFoundError:
            raise ConfigError(f"{path} is not there; a run writes it when it ends") from None
        except Exception as error:  # whatever reading a damaged file comes to
            raise ConfigError(f"{path} cannot be read: {error!r}") from error


def describe_sessions(counters: Mapping[str, int]) -> str:
    """Returns in one line how many simulators took part; zeros are left out."""
    words = {
        "sessions_joined": "joined",
        "sessions_resumed": "came back after a broken stream",
        "sessions_left": "left",
        "sessions_lost": "were lost",
        "sessions_refused": "were refused",
    }
    facts = [f"{counters[name]} {word}" for name, word in words.items() if counters.get(name)]
    return "simulators: " + (", ".join(facts) or "none")


def software() -> tuple[str, ...]:
    """Returns names with versions of what this process uses."""
    return (
        f"entrain {__version__}",
        f"torch {metadata.version('torch')}",
        f"Python {platform.python_version()}",
        platform.platform(),
    )
