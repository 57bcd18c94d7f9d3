"""Learning and acting on a GPU: the processor's numbers, and how near to what the device can do.

Whether an update on the device changes the weights as one on the processor does; how long acting
takes with pinned arrays and with CUDA graphs, beside how the trainer does it; and how long updates
of a large network of vectors and of a camera policy take beside the floor that the device's own
arithmetic and bandwidth set. Ends with 1 if the numbers differ. Under five minutes on a GPU.

    python -m benchmarks.gpu
    python -m benchmarks.gpu --device cpu --quick
"""

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu_acting import Act, Staged, as_shipped
from benchmarks.gpu_floor import Peaks, Work, synchronize
from entrain.algorithms.ppo import PPO
from entrain.config.algorithm import PPOConfig
from entrain.config.policy import PolicyConfig
from entrain.experience import Rollout
from entrain.policy.actor_critic import ActorCritic
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

TOLERANCE = 0.01
"""Of the length of the change of all weights: by so much may two devices differ after an epoch. A
rounding of 3e-7 in each weight at the start makes 1e-4."""

AIM = 2.0
"""Times the floor."""

CPU = torch.device("cpu")
COLUMNS = 16
DIMENSIONS = 6


@dataclass(frozen=True)
class Task:
    """A policy, and how it learns."""

    name: str
    shape: tuple[int, ...]
    network: Mapping[str, Any]
    steps: int
    minibatch: int

    @property
    def spec(self) -> BehaviourSpec:
        """Numbers, or an image of bytes, and six continuous actions."""
        dtype = "uint8" if len(self.shape) == 3 else "float32"
        return BehaviourSpec(
            "gpu",
            (ObservationSpec("seen", self.shape, dtype=dtype),),
            ActionSpec(low=(-1.0,) * DIMENSIONS, high=(1.0,) * DIMENSIONS),
        )

    def policy(self) -> ActorCritic:
        """The same one each time, on the processor."""
        config = PolicyConfig.model_validate({"network": dict(self.network)})
        return ActorCritic(self.spec, config, seed=0)

    def learner(self, device: torch.device, *, epochs: int) -> PPO:
        """A learner of that policy, whose gradients are torch's."""
        options = {"update": "torch", "minibatch_size": self.minibatch, "num_epochs": epochs}
        return PPO(
            self.policy(), PPOConfig.model_validate(options), discount=0.99, seed=0, device=device
        )

    def seen(self, *leading: int, seed: int = 0) -> np.ndarray[Any, Any]:
        """[*leading, *shape] made-up observations."""
        generator = np.random.default_rng(seed)
        if len(self.shape) == 3:
            return generator.integers(0, 256, (*leading, *self.shape), np.uint8)
        return generator.standard_normal((*leading, *self.shape), np.float32)

    def rollout(self) -> Rollout:
        """Random steps that the policy itself has taken, all of them valid."""
        policy, length = self.policy(), self.steps // COLUMNS
        generator = torch.Generator().manual_seed(0)
        nothing = torch.zeros(length, COLUMNS, dtype=torch.bool)
        seen = {"seen": torch.from_numpy(self.seen(length, COLUMNS))}
        state = policy.initial_state(COLUMNS)
        with torch.inference_mode():
            output = policy(seen, state, nothing)
            noise = torch.rand(length, COLUMNS, policy.noise_size, generator=generator)
            action = output.distribution.sample(noise.clamp(0.001, 0.999))
            log_prob = output.distribution.log_prob(action)
        return Rollout(
            observation=seen,
            action={name: each.clone() for name, each in action.items()},
            action_mask=torch.ones(length, COLUMNS, 0, dtype=torch.bool),
            log_prob=log_prob.clone(),
            value=output.value.clone(),
            reset=nothing,
            policy_version=torch.zeros(length, COLUMNS, dtype=torch.int64),
            reward=torch.randn(length, COLUMNS, generator=generator),
            next_value=output.value.clone(),
            boundary=nothing,
            late=nothing,
            valid=~nothing,
            sequence_state=torch.zeros(
                -(-length // policy.config.network.memory.sequence_length),
                COLUMNS,
                policy.state_size,
            ),
        )


def tasks(*, quick: bool) -> Mapping[str, Task]:
    """A large network of vectors, a camera, and a memory."""
    memory = {"shared": True, "memory": {"kind": "lstm", "size": 16 if quick else 256}}
    if quick:
        return {
            "mlp": Task("MLP", (8,), {"hidden_sizes": (32, 32)}, 256, 64),
            "camera": Task("camera", (36, 36, 3), {"shared": True}, 64, 32),
            "lstm": Task("LSTM", (8,), memory, 256, 128),
        }
    return {
        "mlp": Task("MLP", (64,), {"hidden_sizes": (512, 512, 512)}, 65_536, 16_384),
        "camera": Task("camera", (84, 84, 3), {"shared": True}, 4_096, 1_024),
        "lstm": Task("LSTM", (32,), memory, 8_192, 2_048),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes, to test the script")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error(f"torch {torch.__version__} finds no GPU; --device cpu tests the script alone")
    begun = time.perf_counter()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the processor"
    print(f"{name}, torch {torch.__version__}")
    made = tasks(quick=arguments.quick)
    agreements = [compare_learning(task, device) for task in made.values()]
    rows = (4, 16) if arguments.quick else (64, 1024)
    for task in (made["mlp"], made["camera"]):
        for count in rows:
            compare_acting(task, device, rows=count, seconds=0.05 if arguments.quick else 1.0)
    peaks = (
        Peaks.of(device, side=256, copied=2**22)
        if arguments.quick
        else Peaks.of(device, side=8192, copied=2**30)
    )
    print(f"can do {peaks.flops / 1e12:.3g} TFLOP/s in float32, move {peaks.bytes / 1e9:,.0f} GB/s")
    for task in (made["mlp"], made["camera"]):
        time_updates(task, device, peaks, updates=2 if arguments.quick else 5)
    print(f"took {time.perf_counter() - begun:.0f} s")
    sys.exit(not all(agreements))


def compare_learning(task: Task, device: torch.device) -> bool:
    """Learn one epoch here and there; print by how much the changed weights differ."""
    rollout = task.rollout()
    before = torch.nn.utils.parameters_to_vector(task.policy().parameters()).detach()
    with exact_float32():
        changes = [change(task.learner(each, epochs=1), rollout, before) for each in (CPU, device)]
    difference = relative_difference(*changes)
    agrees = difference <= TOLERANCE
    print(
        f"learning, {task.name}: weights change by {changes[0].norm():.3g}, on the device "
        f"differently by {difference:.1e} of that "
        f"({'agrees' if agrees else 'DIFFERS'}; at most {TOLERANCE:g})"
    )
    return agrees


def change(learner: PPO, rollout: Rollout, before: Tensor) -> Tensor:
    """By how much an update changes the weights."""
    learner.update(rollout, progress=0.0)
    return learner.weights.parameters.detach().cpu() - before


def relative_difference(expected: Tensor, arrived: Tensor) -> float:
    """The length of the difference, in lengths of what was expected."""
    return float((arrived - expected).norm() / expected.norm())


class exact_float32:  # noqa: N801 - used as a statement
    """Convolutions and products in whole float32, as the processor has it."""

    def __enter__(self) -> None:
        self._before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False

    def __exit__(self, *_: object) -> None:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = self._before


def ways_to_act(
    task: Task, device: torch.device, *, rows: int
) -> tuple[Mapping[str, Act], Mapping[str, str]]:
    """{way: act}, and {way: why it cannot be had here}."""
    policy = task.policy().to(device)
    arrays = {"seen": task.seen(rows)}
    noise = np.full((rows, policy.noise_size), 0.5, np.float32)
    ways: dict[str, Act] = {
        "as the trainer": as_shipped(copy.deepcopy(policy), rows),
        "pinned": Staged(policy, arrays, noise),
    }
    if device.type != "cuda":
        return ways, {"CUDA graph": f"there is none on {device.type}"}
    recorded = Staged(policy, arrays, noise)
    try:
        recorded.record()
    except RuntimeError as error:
        return ways, {"CUDA graph": f"cannot be recorded: {str(error).splitlines()[0]}"}
    return {**ways, "CUDA graph": recorded}, {}


def compare_acting(task: Task, device: torch.device, *, rows: int, seconds: float) -> None:
    """Print how long acting takes, one way and another; all must come to the same actions."""
    ways, missing = ways_to_act(task, device, rows=rows)
    first, second = (({"seen": task.seen(rows, seed=seed)}) for seed in (1, 2))
    noise = np.random.default_rng(3).uniform(0.01, 0.99, (rows, DIMENSIONS)).astype(np.float32)
    expected = ways["as the trainer"](second, noise)
    taken = dict.fromkeys(ways, 0.0)
    for name, act in ways.items():
        act(first, noise)
        for part, values in act(second, noise).items():
            np.testing.assert_allclose(values, expected[part], rtol=1e-3, atol=1e-4, err_msg=name)
        taken[name] = median_s(lambda act=act: act(second, noise), seconds)  # type: ignore[misc]
    told = [f"{name} {1e6 * each:,.0f} us" for name, each in taken.items()]
    told += [f"{name} {why}" for name, why in missing.items()]
    print(f"acting, {task.name}, {rows} agents: {', '.join(told)}")


def median_s(work: Callable[[], object], seconds: float) -> float:
    """Of as many repeats as fit, at least one."""
    taken: list[float] = []
    while not taken or sum(taken) < seconds:
        before = time.perf_counter()
        work()
        taken.append(time.perf_counter() - before)
    return statistics.median(taken)


def count_work(task: Task) -> tuple[Work, int]:
    """What an update of one epoch computes and moves, and its gradient steps."""
    learner, rollout = task.learner(CPU, epochs=1), task.rollout()
    with Work() as work:
        steps = int(learner.update(rollout, progress=0.0)["update/minibatches"])
    return work, steps


def time_updates(task: Task, device: torch.device, peaks: Peaks, *, updates: int) -> None:
    """Print the time of a gradient step beside its floor."""
    work, steps = count_work(task)
    learner, rollout = task.learner(device, epochs=1), task.rollout()
    each_s = median_update_s(learner, rollout, device, updates=updates) / steps
    floor_s = work.floor_s(peaks) / steps
    print(
        f"update, {task.name}, minibatch {task.minibatch:,}: {1e3 * each_s:.3f} ms a step; "
        f"floor {1e3 * floor_s:.3f} ms (arithmetic {1e3 * work.arithmetic_s(peaks) / steps:.3f}, "
        f"bytes {1e3 * work.traffic_s(peaks) / steps:.3f}); {each_s / floor_s:.2f} times the floor "
        f"(aim {AIM:g}: {'reached' if each_s <= AIM * floor_s else 'missed'})"
    )


def median_update_s(learner: PPO, rollout: Rollout, device: torch.device, *, updates: int) -> float:
    """Seconds of an update, the first left out."""
    taken: Sequence[float] = ()
    for _ in range(updates + 1):
        synchronize(device)
        before = time.perf_counter()
        learner.update(replace(rollout), progress=0.0)
        synchronize(device)
        taken = (*taken, time.perf_counter() - before)
    return statistics.median(taken[1:])


if __name__ == "__main__":
    main()
