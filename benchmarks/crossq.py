"""CrossQ beside SAC on HalfCheetah-v5, 150k env steps through gRPC: returns while training.

Runs that are in FOLDER go on, or are only read if they are complete. Hours.

    python -m benchmarks.crossq FOLDER --seeds 1
    python -m benchmarks.crossq FOLDER --only-read --also sac=RUN_FOLDER
"""

import argparse
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.runs import PROCESSOR_TIME, train

CONFIGS = Path(__file__).parent / "configs"
CONTENDERS: Mapping[str, Path] = {
    "sac": CONFIGS / "halfcheetah_sac.yaml",
    "crossq": CONFIGS / "halfcheetah_crossq.yaml",
}
MARKS = (25_000, 50_000, 100_000, 150_000)
"""Env steps at which returns are told."""

STEPS = f"policies.HalfCheetah-v5.total_steps={MARKS[-1]}"

SPAN = 10_000
"""Env steps before a mark whose episodes count."""

LEFT_OVER = 64
"""Env steps that a run may end with and that fill no rollout, so that no row has them."""

RETURN, EPISODES = "rollout/episode_return_mean", "rollout/episodes"


@dataclass(frozen=True)
class Curve:
    """One run, as far as it came."""

    contender: str
    rows: Sequence[Mapping[str, str]]
    """Of metrics.csv, in order."""

    processor_min: float | None
    """Of all sittings that are over; None if it is not known."""

    @classmethod
    def read(cls, contender: str, folder: Path) -> "Curve":
        """Read a run's folder; the run may go on meanwhile."""
        with (folder / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        spent = folder / PROCESSOR_TIME
        seconds = sum(map(float, spent.read_text().split())) if spent.exists() else None
        return cls(contender, rows, None if seconds is None else seconds / 60)

    @property
    def env_steps(self) -> float:
        """So far."""
        return float(self.rows[-1]["env_steps"]) if self.rows else 0.0

    def return_at(self, mark: int) -> float | None:
        """Mean return, with noise, of the episodes that ended in the `SPAN` env steps before.

        None if the run did not come so far.
        """
        ended = [
            (float(row[RETURN]), float(row[EPISODES]))
            for row in self.rows
            if mark - SPAN < float(row["env_steps"]) <= mark and row[RETURN]
        ]
        if self.env_steps <= mark - LEFT_OVER or not ended:
            return None
        return sum(mean * count for mean, count in ended) / sum(count for _, count in ended)

    def __str__(self) -> str:
        """A line of the table."""
        returns = " | ".join(
            "" if it is None else f"{it:,.0f}" for it in map(self.return_at, MARKS)
        )
        spent = "" if self.processor_min is None else f"{self.processor_min:,.0f} min"
        return f"| {self.contender} | {self.env_steps:,.0f} | {returns} | {spent} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    options = _parser().parse_args(arguments)
    if not options.only_read:
        for seed in range(1, options.seeds + 1):
            for name, config in CONTENDERS.items():
                folder = options.folder / f"{name}-{seed}"
                train(config, folder, f"seed={seed}", "server.address=localhost:0", STEPS)
    print("| algorithm | env steps | " + " | ".join(f"at {mark:,}" for mark in MARKS), end=" ")
    print("| processor time |\n|---|---|" + "---|" * (len(MARKS) + 1))
    for curve in _curves(options.folder, options.also):
        print(curve)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the run folders")
    parser.add_argument("--seeds", type=int, default=1, help="run seeds 1 to this")
    parser.add_argument("--only-read", action="store_true", help="only tell what FOLDER has")
    parser.add_argument(
        "--also", action="append", default=[], metavar="NAME=RUN", help="a run of elsewhere"
    )
    return parser


def _curves(folder: Path, also: Sequence[str]) -> Iterator[Curve]:
    for name in CONTENDERS:
        for run in sorted(folder.glob(f"{name}-*")):
            yield Curve.read(name, run)
        for elsewhere in also:
            contender, _, place = elsewhere.partition("=")
            if contender == name:
                yield Curve.read(name, Path(place))


if __name__ == "__main__":
    main()
