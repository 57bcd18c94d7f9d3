"""The settings of the zoo: each file in zoo/ with its environment and the return that solves it.

A file says that return itself, in a comment that `SOLVED` finds, so that a new setting is one file.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from entrain.config.load import load_config, read_settings_file
from entrain.config.yaml_text import read_yaml

ZOO = Path(__file__).parents[1] / "zoo"
SOLVED = re.compile(r"^# Solved: a return of (-?[\d.,]+) \((.+)\)$", re.MULTILINE)


@dataclass(frozen=True)
class Setting:
    """One file of the zoo."""

    config: Path

    environment: str
    """Its id, which its policy is named after."""

    algorithm: str
    """`algorithm.kind`."""

    total_steps: int

    bar: float
    """Mean return over episodes without noise from which the environment is solved."""

    source: str
    """Whose bar that is."""

    digest: str
    """Of its options. Results of other options are measured anew."""

    @property
    def name(self) -> str:
        """Of the file, without its suffix."""
        return self.config.stem

    @property
    def algorithm_name(self) -> str:
        """As tables and pictures say it."""
        return self.algorithm.upper().replace("_", " ")

    @classmethod
    def load(cls, config: Path) -> "Setting":
        """Read a file; ConfigError if it does not load, ValueError if it is no setting."""
        text = read_settings_file(config)
        policies = load_config(config, ()).policies
        solved = SOLVED.findall(text)
        if len(policies) != 1 or len(solved) != 1:
            raise ValueError(
                f"{config} has {len(policies)} policies and {len(solved)} lines '# Solved: a "
                "return of NUMBER (SOURCE)'; a setting of the zoo has one of each"
            )
        ((environment, policy),) = policies.items()
        ((bar, source),) = solved
        options = json.dumps(read_yaml(text, name=str(config)).values, sort_keys=True)
        return cls(
            config=config,
            environment=environment,
            algorithm=policy.algorithm.kind,
            total_steps=policy.total_steps,
            bar=float(bar.replace(",", "")),
            source=source,
            digest=hashlib.sha256(options.encode()).hexdigest()[:12],
        )


def all_settings(folder: Path = ZOO) -> Sequence[Setting]:
    """Those of a folder, by name."""
    return [Setting.load(config) for config in sorted(folder.glob("*.yaml"))]


def chosen(settings: Sequence[Setting], names: Sequence[str]) -> Sequence[Setting]:
    """Those with these names, all if there are none; ValueError if one names no setting."""
    known = [setting.name for setting in settings]
    for name in names:
        if name not in known:
            raise ValueError(f"the zoo has no '{name}'; it has: {', '.join(known)}")
    return [setting for setting in settings if not names or setting.name in names]
