"""PPO with an LSTM: entrain end to end through gRPC beside the peers' recurrent PPO in process.

The same work on all sides: CartPole-v1 without its velocities, 8 environments x 256 steps, LSTM of
128, minibatch 512, 10 epochs, one torch thread. rl_games' critic shares the LSTM, sb3-contrib's has
one of its own; ours is run both ways, each beside the peer that does the same, and learns from a
critic's own LSTM in a second thread. Runs in turns; the figures are ratios of medians.

    python -m benchmarks.beside_recurrent --rounds 3 --steps 40960
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contenders import MissingError, peer_rate
from benchmarks.runs import FinishedRun, print_time_shares, train

CONFIG = Path(__file__).parent / "configs" / "cartpole_lstm_8x256.yaml"


@dataclass
class Pair:
    """Ours and the peer that does the same work, with what each turn came to in env steps/s."""

    peer: str
    shared: bool
    """Whether policy and critic share the LSTM."""

    wanted: float
    """The ratio that we want."""

    ours: list[FinishedRun] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40960)
    parser.add_argument("--peer-steps", type=int, default=12288)
    arguments = parser.parse_args()
    pairs = [
        Pair("sb3-contrib", shared=False, wanted=4.5),
        Pair("rl_games", shared=True, wanted=0.9),
    ]
    with tempfile.TemporaryDirectory() as scratch:
        for turn in range(arguments.rounds):
            for pair in pairs:
                folder = Path(scratch) / f"{pair.peer}-{turn}"
                pair.ours.append(our_run(folder, shared=pair.shared, steps=arguments.steps))
                try:
                    pair.theirs.append(peer_rate(pair.peer, arguments.peer_steps))
                except MissingError as error:
                    sys.exit(str(error))
                print(
                    f"turn {turn}: entrain {pair.ours[-1].steady_rate():,.0f}, "
                    f"{pair.peer} {pair.theirs[-1]:,.0f} env steps/s",
                    flush=True,
                )
        report(pairs)


def our_run(folder: Path, *, shared: bool, steps: int) -> FinishedRun:
    """A trainer and a simulator process with gRPC between them."""
    return train(
        CONFIG,
        folder,
        "server.address=localhost:0",
        f"policies.CartPole-v1.total_steps={steps}",
        f"policies.CartPole-v1.network.shared={str(shared).lower()}",
    )


def report(pairs: Sequence[Pair]) -> None:
    """Print medians, their ratio, and where our time goes."""
    for pair in pairs:
        ours = statistics.median(run.steady_rate() for run in pair.ours)
        theirs = statistics.median(pair.theirs)
        sharing = "one LSTM for both" if pair.shared else "a critic with its own LSTM"
        print(
            f"{sharing}: entrain {ours:,.0f}, {pair.peer} {theirs:,.0f} env steps/s, "
            f"ratio {ours / theirs:.2f} (wanted {pair.wanted:g})"
        )
        print_time_shares(pair.ours)


if __name__ == "__main__":
    main()
