"""Processor time of one minibatch through each kind of memory, beside torch's LSTM and GRU.

Forward and backward of 32 sequences of 16 steps, 64 features in and 128 units, as benchmarks/
recurrent_peers.py has them; episodes begin at one step in a hundred, which torch's modules do not
know. In turns, so that all see the same machine; the figures are medians, and the thread's own
time, so that others' work on the machine counts little.

    python -m benchmarks.memory_kinds --rounds 40
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from entrain.algorithms.fast.memory import MEMORY, SequenceSteps
from entrain.algorithms.fast.mingru import PlainMinGRUs
from entrain.config.policy import MemoryConfig
from entrain.policy.recurrence import RecurrentMemory, make_memory

STEPS = 16
SEQUENCES = 32
FEATURES = 64
UNITS = 128
RESETS = 0.01
AT_ONCE = 5
"""Minibatches between two looks at the clock."""

Kind = Literal["lstm", "gru", "mingru"]
KINDS: tuple[Kind, ...] = ("lstm", "gru", "mingru")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    work = {f"entrain {kind}": ours(kind) for kind in KINDS}
    work["mingru by hand"] = by_hand()
    work |= {"nn.LSTM": librarys(nn.LSTM), "nn.GRU": librarys(nn.GRU)}
    seconds = in_turns(work, rounds=arguments.rounds)
    base = seconds["nn.LSTM"]
    for name, each in seconds.items():
        print(f"{name:16} {1e6 * each:7,.0f} us, {base / each:.2f} times nn.LSTM's speed")


def ours(kind: Kind) -> Callable[[], None]:
    """One minibatch through a policy's memory."""
    memory = memory_of(kind)
    hidden = torch.randn(1, STEPS * SEQUENCES, FEATURES).requires_grad_()
    state, reset = torch.zeros(SEQUENCES, memory.state_size), resets()
    return learned(lambda: memory(hidden, state, reset)[0], [hidden, *memory.parameters()])


def by_hand() -> Callable[[], None]:
    """One minibatch as plain policies learn from it (`algorithm.update: auto`)."""
    memory = memory_of("mingru")
    weights = {f"{MEMORY}.{name}": each for name, each in memory.named_parameters()}
    gradient = {name: torch.zeros_like(each) for name, each in weights.items()}
    layers = PlainMinGRUs(1, weights, gradient)
    reset, state = resets(), torch.zeros(SEQUENCES, memory.state_size)
    steps = SequenceSteps(torch.ones_like(reset), reset, state)
    hidden = torch.randn(1, STEPS * SEQUENCES, FEATURES).numpy()

    def run() -> None:
        layers.backward(np.ones_like(layers.forward(hidden, steps)))

    return run


def memory_of(kind: Kind) -> RecurrentMemory:
    """New weights of one group."""
    generator = torch.Generator().manual_seed(1)
    return make_memory(MemoryConfig(kind=kind, size=UNITS), 1, FEATURES, generator=generator)


def resets() -> Tensor:
    """[STEPS, SEQUENCES] where episodes begin."""
    return torch.rand(STEPS, SEQUENCES, generator=torch.Generator().manual_seed(1)) < RESETS


def librarys(kind: type[nn.LSTM] | type[nn.GRU]) -> Callable[[], None]:
    """One minibatch through torch's own module."""
    module = kind(FEATURES, UNITS)
    x = torch.randn(STEPS, SEQUENCES, FEATURES).requires_grad_()
    return learned(lambda: module(x)[0], [x, *module.parameters()])


def learned(forward: Callable[[], Tensor], sources: list[Tensor]) -> Callable[[], None]:
    """The forward, and the gradients of all sources."""

    def run() -> None:
        output = forward()
        torch.autograd.grad(output, sources, torch.ones_like(output))

    return run


def in_turns(work: Mapping[str, Callable[[], None]], *, rounds: int) -> Mapping[str, float]:
    """{name: median seconds of processor time}."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            begun = time.thread_time()
            for _ in range(AT_ONCE):
                run()
            seconds[name].append((time.thread_time() - begun) / AT_ONCE)
    return {name: statistics.median(each) for name, each in seconds.items()}


if __name__ == "__main__":
    main()
