"""A gradient step of soft actor-critic, beside the same arithmetic written as one loop in numpy.

The loop is the limit, see `soft_loop`: HalfCheetah's 17 numbers and 6 dimensions, two hidden
layers, batches of 256. First both take the same steps with the same noise, and must end with the
same weights; then the processor time of the loop, of ours by hand and of ours by torch is taken in
short turns, of which a busy machine leaves some alone: the figures are lower quartiles.

    python -m benchmarks.soft_updates --units 256 64 --turns 40
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch

from benchmarks.soft_loop import Batch, FloatArray, Settings, SoftLoop
from entrain.algorithms.sac import SAC
from entrain.config.policy import PolicyConfig
from entrain.policy.actor_critic import make_policy
from entrain.transitions import ReplayBatch
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

SEEN, DIMENSIONS, ROWS = 17, 6, 256
HIDDEN = "backbone.trunk.hidden_layers.layers"
SPEC = BehaviourSpec(
    "cheetah",
    (ObservationSpec("observation", (SEEN,)),),
    ActionSpec(low=(-1.0,) * DIMENSIONS, high=(1.0,) * DIMENSIONS),
)


class GivenNoise(SAC):
    """Ours, with the loop's noise."""

    noise: tuple[FloatArray, FloatArray]

    def _noise(self, rows: int) -> torch.Tensor:
        first, self.noise = self.noise[0], self.noise[::-1]
        assert rows == len(first)
        uniform: torch.Tensor = torch.special.ndtr(torch.from_numpy(first).double())
        return uniform


def make_sac(kind: type[SAC] = SAC, *, units: int = 256, update: str = "auto") -> SAC:
    """With default options, but for observations, which are taken as they come."""
    options = {
        "algorithm": {"kind": "sac", "update": update},
        "network": {"hidden_sizes": (units, units)},
        "normalize_observations": False,
    }
    policy = make_policy(SPEC, PolicyConfig.model_validate(options), seed=0)
    return kind(policy, seed=0, device=torch.device("cpu"))


def make_loop(sac: SAC) -> SoftLoop:
    """With the weights of `sac`."""
    state = sac.state()
    actor, critics = state["policy"], state["critics"]["critics"]

    def hidden(weights: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        names = (f"{HIDDEN}.{layer}.{part}" for layer in (0, 1) for part in ("weight", "bias"))
        return {name: weights[name] for name in names}

    heads = [f"action_head.{part}" for part in ("weight", "bias", "spread.weight", "spread.bias")]
    return SoftLoop(
        {**hidden(actor), **{name: actor[name] for name in heads}},
        {**hidden(critics), **{name: critics[name] for name in ("head.weight", "head.bias")}},
        rows=ROWS,
        log_alpha=0.0,
        settings=Settings(entropy_target=-float(DIMENSIONS)),
    )


def made_batch(generator: np.random.Generator) -> Batch:
    """Random steps, as a replay has them."""

    def normal(*trailing: int) -> FloatArray:
        return generator.standard_normal((ROWS, *trailing)).astype(np.float32)

    bootstrap = np.where(generator.random(ROWS) < 0.01, 0.0, 0.99).astype(np.float32)
    return Batch(normal(SEEN), normal(DIMENSIONS), normal(), normal(SEEN), bootstrap)


def as_replayed(batch: Batch) -> ReplayBatch:
    """The same in our form."""
    nothing = torch.ones(ROWS, 0, dtype=torch.bool)
    return ReplayBatch(
        observation={"observation": torch.from_numpy(batch.seen)},
        action={"continuous": torch.from_numpy(batch.action)},
        action_mask=nothing,
        reward=torch.from_numpy(batch.reward),
        next_observation={"observation": torch.from_numpy(batch.following)},
        next_action_mask=nothing,
        bootstrap=torch.from_numpy(batch.bootstrap),
    )


def greatest_difference(steps: int) -> float:
    """Between the weights of ours and of the loop, after some steps of both."""
    generator = np.random.default_rng(0)
    ours = make_sac(GivenNoise)
    assert isinstance(ours, GivenNoise)
    loop = make_loop(ours)
    ours.begin(0.0)
    for _ in range(steps):
        batch = made_batch(generator)
        noise = tuple(
            generator.standard_normal((ROWS, DIMENSIONS)).astype(np.float32) for _ in range(2)
        )
        ours.noise = (noise[0], noise[1])
        ours.step(as_replayed(batch))
        loop.step(batch, *noise)
    state = ours.state()
    pairs = [
        (state["critics"]["critics"][f"{HIDDEN}.1.weight"], loop.critics.weights[2]),
        (state["critics"]["target"][f"{HIDDEN}.1.weight"], loop.target_weights[2]),
        (state["policy"][f"{HIDDEN}.0.weight"], loop.actor.weights[0]),
        (state["policy"]["action_head.spread.weight"], loop.actor.weights[6]),
        (np.float32(state["temperature"]["log_alpha"]), loop.temperature.vector),
    ]
    return max(float(np.abs(one - other).max()) for one, other in pairs)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, nargs="+", default=[256, 64])
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--steps", type=int, default=12, help="gradient steps of each turn")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"after 10 steps of both, weights differ by {greatest_difference(10):.1e} at most")
    for units in arguments.units:
        loop_us, auto_us, torch_us = (
            statistics.quantiles(each, n=4)[0]
            for each in compare(units, arguments.turns, arguments.steps)
        )
        print(
            f"layers of {units}: loop {loop_us:,.0f} us, by hand {auto_us:,.0f} us, by torch "
            f"{torch_us:,.0f} us; ratio {auto_us / loop_us:.2f} of the loop, "
            f"{torch_us / auto_us:.2f} times as quick as torch",
            flush=True,
        )


def compare(units: int, turns: int, steps: int) -> tuple[list[float], list[float], list[float]]:
    """Microseconds of processor time of a gradient step: of the loop, by hand and by torch."""
    generator = np.random.default_rng(0)
    by_hand, by_torch = (make_sac(units=units, update=update) for update in ("auto", "torch"))
    loop = make_loop(by_hand)
    batch = made_batch(generator)
    replayed = as_replayed(batch)

    def drawn() -> FloatArray:
        return generator.standard_normal((ROWS, DIMENSIONS), dtype=np.float32)

    taken: tuple[list[float], list[float], list[float]] = ([], [], [])
    for sac in (by_hand, by_torch):
        sac.begin(0.0)
    for _ in range(turns):
        taken[0].append(timed(lambda: loop.step(batch, drawn(), drawn()), steps))
        taken[1].append(timed(partial(by_hand.step, replayed), steps))
        taken[2].append(timed(partial(by_torch.step, replayed), steps))
    return taken


def timed(work: Callable[[], object], steps: int) -> float:
    """Microseconds of processor time of one call of `work`."""
    before = time.process_time()
    for _ in range(steps):
        work()
    return 1e6 * (time.process_time() - before) / steps


if __name__ == "__main__":
    main()
