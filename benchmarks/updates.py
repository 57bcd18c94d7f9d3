"""A gradient step of PPO, beside the same arithmetic written as one loop in numpy.

The loop is the limit: forward, loss, gradients by hand, clipping and Adam over one flat vector, for
17 numbers seen, two layers of 64 for policy and critic each, and 6 Gaussian dimensions. Nothing is
recorded there, no option asked for, no number checked. Processor time of whole updates, in turns.

    python -m benchmarks.updates --pairs 9
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from entrain.algorithms.ppo import PPO
from entrain.config.algorithm import PPOConfig
from entrain.config.policy import NetworkConfig, PolicyConfig
from entrain.experience import Rollout
from entrain.policy.actor_critic import ActorCritic
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

FloatArray = npt.NDArray[np.float32]

SEEN, UNITS, DIMENSIONS = 17, 64, 6
STEPS, COLUMNS = 256, 32
EPOCHS = 10
CHUNK = 512
SPEC = BehaviourSpec(
    "cheetah",
    (ObservationSpec("observation", (SEEN,)),),
    ActionSpec(low=(-1.0,) * DIMENSIONS, high=(1.0,) * DIMENSIONS),
)


class Loop:
    """The limit: see the module."""

    def __init__(self) -> None:
        shapes: list[tuple[int, ...]] = [
            (2, SEEN, UNITS),
            (2, 1, UNITS),
            (2, UNITS, UNITS),
            (2, 1, UNITS),
        ]
        shapes += [(DIMENSIONS, UNITS), (DIMENSIONS,), (1, UNITS), (1,), (DIMENSIONS,)]
        sizes = [int(np.prod(shape)) for shape in shapes]
        generator = np.random.default_rng(0)
        self.flat = (0.1 * generator.standard_normal(sum(sizes))).astype(np.float32)
        self.gradient = np.zeros_like(self.flat)
        self.mean, self.squares = np.zeros_like(self.flat), np.zeros_like(self.flat)
        self.weights = _views(self.flat, shapes, sizes)
        self.gradients = _views(self.gradient, shapes, sizes)
        self.count = 0
        rows = STEPS * COLUMNS
        self.seen = generator.standard_normal((rows, SEEN)).astype(np.float32)
        self.actions = generator.standard_normal((rows, DIMENSIONS)).astype(np.float32)
        self.advantage, self.targets = (
            generator.standard_normal(rows).astype(np.float32) for _ in range(2)
        )
        self.old = np.float32(-0.5) * (self.actions * self.actions).sum(axis=1)

    def update(self, size: int) -> int:
        """As many epochs as an update has; the number of gradient steps."""
        generator = np.random.default_rng(self.count)
        steps = 0
        for _ in range(EPOCHS):
            order = generator.permutation(len(self.seen))
            arrays = [
                array[order]
                for array in (self.seen, self.actions, self.old, self.advantage, self.targets)
            ]
            for first in range(0, len(order), size):
                self._descend([array[first : first + size] for array in arrays])
                steps += 1
        return steps

    def _descend(self, minibatch: Sequence[FloatArray]) -> None:
        count = len(minibatch[0])
        advantage = minibatch[3]
        advantage = (advantage - advantage.mean()) / (advantage.std(ddof=1) + np.float32(1e-8))
        self.gradient.fill(0.0)
        for first in range(0, count, CHUNK):
            rows = slice(first, first + CHUNK)
            self._add([array[rows] for array in minibatch], advantage[rows], count)
        norm = float(np.sqrt(self.gradient @ self.gradient))
        self.gradient *= min(1.0, 0.5 / (norm + 1e-6))
        self._adam()

    def _add(self, chunk: Sequence[FloatArray], advantage: FloatArray, count: int) -> None:
        seen, actions, old, _, targets = chunk
        w1, b1, w2, b2, wa, ba, wv, bv, spread = self.weights
        g1, gb1, g2, gb2, ga, gba, gv, gbv, g_spread = self.gradients
        first = np.matmul(seen, w1)
        first += b1
        np.tanh(first, out=first)
        second = np.matmul(first, w2)
        second += b2
        np.tanh(second, out=second)
        deviation = actions - (second[0] @ wa.T + ba)
        error = (second[1] @ wv.T + bv)[:, 0] - targets
        precision = np.exp(-spread)
        scaled = deviation * precision
        deviation *= scaled
        log_prob = np.float32(-0.5) * (deviation.sum(axis=1) + spread.sum())
        cost = -advantage
        ratio = np.exp(log_prob - old)
        surrogate = ratio * cost
        surrogate *= surrogate >= cost - np.float32(0.2) * np.abs(cost)
        surrogate *= np.float32(1.0 / count)
        g_spread += 0.5 * (surrogate @ deviation - surrogate.sum())
        scaled *= surrogate[:, np.newaxis]
        error *= np.float32(1.0 / count)
        ga += scaled.T @ second[0]
        gba += scaled.sum(axis=0)
        gv += error[np.newaxis] @ second[1]
        gbv += error.sum()
        back = np.empty_like(second)
        np.matmul(scaled, wa, out=back[0])
        np.matmul(error[:, np.newaxis], wv, out=back[1])
        second *= second
        back -= back * second
        g2 += np.matmul(first.transpose(0, 2, 1), back)
        gb2 += back.sum(axis=1, keepdims=True)
        back = np.matmul(back, w2.transpose(0, 2, 1))
        first *= first
        back -= back * first
        g1 += np.matmul(seen.T, back)
        gb1 += back.sum(axis=1, keepdims=True)

    def _adam(self) -> None:
        self.count += 1
        self.mean += np.float32(0.1) * (self.gradient - self.mean)
        self.squares *= np.float32(0.999)
        self.squares += np.float32(0.001) * self.gradient * self.gradient
        correction = (1.0 - 0.999**self.count) ** 0.5
        rate = np.float32(3e-4 * correction / (1.0 - 0.9**self.count))
        self.flat -= rate * self.mean / (np.sqrt(self.squares) + np.float32(1e-5 * correction))


def _views(
    vector: FloatArray, shapes: Sequence[tuple[int, ...]], sizes: Sequence[int]
) -> list[FloatArray]:
    pieces = np.split(vector, np.cumsum(sizes)[:-1])
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def made_rollout() -> Rollout:
    """Random steps, all of them valid."""
    generator = torch.Generator().manual_seed(0)

    def normal(*trailing: int) -> torch.Tensor:
        return torch.randn(STEPS, COLUMNS, *trailing, generator=generator)

    nothing = torch.zeros(STEPS, COLUMNS, dtype=torch.bool)
    return Rollout(
        observation={"observation": normal(SEEN)},
        action={"continuous": normal(DIMENSIONS)},
        action_mask=torch.ones(STEPS, COLUMNS, 0, dtype=torch.bool),
        log_prob=-8.5 + 0.1 * normal(),
        value=normal(1),
        reset=nothing,
        policy_version=torch.zeros(STEPS, COLUMNS, dtype=torch.int64),
        reward=normal(),
        next_value=normal(1),
        boundary=nothing,
        late=nothing,
        valid=~nothing,
        sequence_state=torch.zeros(1, COLUMNS, 0),
    )


def make_ppo(size: int, update: str) -> PPO:
    """A learner with default options but for the size of its minibatches."""
    network = NetworkConfig(hidden_sizes=(UNITS, UNITS))
    options = {"update": update, "minibatch_size": size, "num_epochs": EPOCHS}
    return PPO(
        ActorCritic(SPEC, PolicyConfig(network=network), seed=0),
        PPOConfig.model_validate(options),
        discount=0.99,
        seed=0,
        device=torch.device("cpu"),
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 512, 2048])
    arguments = parser.parse_args()
    for size in arguments.sizes:
        loop_us, auto_us, torch_us = (
            statistics.median(each) for each in compare(size, arguments.pairs).values()
        )
        print(
            f"minibatch {size}: loop {loop_us:,.0f} us, by hand {auto_us:,.0f} us, by torch "
            f"{torch_us:,.0f} us; ratio {auto_us / loop_us:.2f} of the loop, "
            f"{torch_us / auto_us:.2f} times as quick as torch",
            flush=True,
        )


def compare(
    size: int, pairs: int, updates: Sequence[str] = ("auto", "torch")
) -> Mapping[str, Sequence[float]]:
    """Measure in turns.

    Args:
        size: of a minibatch.
        pairs: so many turns.
        updates: which of our ways to compute gradients.

    Returns:
        {"loop" or one of `updates`: microseconds of a gradient step, one for each turn}.
    """
    torch.set_num_threads(1)
    loop, rollout = Loop(), made_rollout()
    learners = {update: make_ppo(size, update) for update in updates}
    taken: dict[str, list[float]] = {name: [] for name in ("loop", *updates)}
    for _ in range(pairs):
        taken["loop"].append(timed(partial(loop.update, size)))
        for name, ppo in learners.items():
            taken[name].append(timed(partial(updated, ppo, rollout)))
    return taken


def updated(ppo: PPO, rollout: Rollout) -> int:
    """One update; the number of its gradient steps."""
    return int(ppo.update(rollout, progress=0.0)["update/minibatches"])


def timed(work: Callable[[], int]) -> float:
    """Microseconds of processor time for each gradient step of `work`."""
    before = time.process_time()
    steps = work()
    return 1e6 * (time.process_time() - before) / steps


if __name__ == "__main__":
    main()
