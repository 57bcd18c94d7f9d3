"""How well collecting and learning overlap with `policy_lag: 1`.

Simulators that sleep 4 ms a step dial a trainer whose minibatches have 2,048 rows. A run with
`policy_lag: 0` tells how long a round (one rollout and its update) collects and how long it learns,
for there the one waits for the other. A run with `policy_lag: 1` right after it tells how long a
round takes if both go on at once: at best the longer of the two.

    python -m benchmarks.overlap [--pairs 3] [--halfcheetah]
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.runs import FinishedRun, train
from entrain_envs.client import TrainerClient
from entrain_envs.environment import run
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

BAR = 1.15
"""Of the longer of collecting and learning: as long a round may take."""

STEP_S = 0.004
SIMULATORS, AGENTS = 2, 32
SPEC = BehaviourSpec("sleeper", (ObservationSpec("x", (17,)),), ActionSpec((-1.0,) * 6, (1.0,) * 6))
ROUNDS = 12
SLEEPERS = f"""
name: sleepers
seed: 1
server: {{address: "localhost:0"}}
simulators:
  launch:
    - command: {sys.executable} -m benchmarks.overlap --simulate
      count: {SIMULATORS}
policies:
  sleeper:
    total_steps: {ROUNDS * 8192}
    rollout_steps: 8192
    network: {{hidden_sizes: [128, 128]}}
    algorithm: {{minibatch_size: 2048, num_epochs: 8}}
"""
HALFCHEETAH = Path(__file__).parent / "configs/halfcheetah.yaml"


class Sleepers:
    """Agents whose world takes `STEP_S` a step, whatever they do."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)
        self._next_s = 0.0

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        """The sleepers'."""
        return (SPEC,)

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        """Begin; the seed decides what is seen."""
        del parameters
        self._random = np.random.default_rng(seed)
        return self._rows(StepType.FIRST)

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        """Sleep. An episode never ends."""
        del actions
        time.sleep(STEP_S)
        return self._rows(StepType.MID)

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""

    def _rows(self, step_type: StepType) -> Mapping[str, TimestepBatch]:
        return {
            SPEC.name: TimestepBatch.of(
                SPEC,
                agent_id=np.arange(AGENTS),
                step_type=step_type,
                reward=self._random.normal(size=AGENTS) if step_type is StepType.MID else 0.0,
                observation={"x": self._random.normal(size=(AGENTS, 17))},
            )
        }


@dataclass(frozen=True)
class Round:
    """Medians over a run's rounds, in seconds."""

    whole: float
    waiting: float
    """For updates, while simulators waited too."""

    @classmethod
    def of(cls, finished: FinishedRun, rollout_steps: int) -> "Round":
        """The first two rounds and the last one are left out: they begin and end the overlap."""
        rates = finished.column("time/env_steps_per_second")[2:-1]
        shares = finished.column("time/learn")[2:-1]
        whole = [rollout_steps / rate for rate in rates]
        waiting = [share * seconds for share, seconds in zip(shares, whole, strict=True)]
        return cls(statistics.median(whole), statistics.median(waiting))


def compare(
    name: str, config: Path, policy: str, rollout_steps: int, *settings: str, pairs: int
) -> float:
    """Print, for each pair of runs, a round beside its parts; return the median ratio."""
    ratios = []
    for pair in range(pairs):
        with tempfile.TemporaryDirectory() as folder:
            rounds = []
            for lag in (0, 1):
                options = (f"policies.{policy}.policy_lag={lag}", *settings)
                finished = train(config, Path(folder) / f"lag-{lag}", *options)
                rounds.append(Round.of(finished, rollout_steps))
        in_turn, at_once = rounds
        learning, collecting = in_turn.waiting, in_turn.whole - in_turn.waiting
        ratios.append(at_once.whole / max(learning, collecting))
        print(
            f"{name}, pair {pair + 1}: collecting {collecting:.3f} s, learning {learning:.3f} s, "
            f"in turn {in_turn.whole:.3f} s; at once {at_once.whole:.3f} s (of which waiting for "
            f"updates {at_once.waiting:.3f} s) = {ratios[-1]:.2f} x the longer part, "
            f"{in_turn.whole / at_once.whole:.2f} x as fast as in turn",
            flush=True,
        )
    return statistics.median(ratios)


def main() -> None:
    """Compare, and say whether the bar is held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3, help="of runs, in turns")
    parser.add_argument("--halfcheetah", action="store_true", help="print HalfCheetah 8 x 256 too")
    parser.add_argument("--simulate", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.simulate:
        address = os.environ["ENTRAIN_ADDRESS"]
        run(Sleepers(), TrainerClient(address, (SPEC,), simulator="sleeper"))
        return
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "sleepers.yaml"
        config.write_text(SLEEPERS)
        ratio = compare("sleepers", config, "sleeper", 8192, pairs=arguments.pairs)
    if arguments.halfcheetah:
        compare(
            "HalfCheetah 8 x 256",
            HALFCHEETAH,
            "HalfCheetah-v5",
            2048,
            "policies.HalfCheetah-v5.total_steps=40960",
            "server.address=localhost:0",
            pairs=arguments.pairs,
        )
    print(f"median {ratio:.2f} x the longer part; the bar is {BAR}")
    sys.exit(ratio > BAR)


if __name__ == "__main__":
    main()
