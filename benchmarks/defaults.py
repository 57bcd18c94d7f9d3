"""Ten tasks learned with default options at three scales of reward, beside Stable-Baselines3's.

Nothing is set but the number of steps (and memory, where the task is to remember). One environment,
in process on both sides, over seeds; a score is the mean return of the episodes that ended in the
last tenth of training, divided by the scale. Finished runs are appended to the file, and not run
again: a table of three scales and three seeds takes hours, and may be stopped and gone on with.

    python -m benchmarks.defaults results.csv --scales 1 --seeds 1
    python -m benchmarks.defaults results.csv --print
"""

import argparse
import csv
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.defaults_tasks import TASKS, GymnasiumEnv, Task

OURS, PEER = "entrain", "sb3"
COLUMNS = ("who", "task", "scale", "seed", "score", "seconds")


@dataclass(frozen=True)
class Job:
    """One run."""

    who: str
    task: str
    scale: float
    seed: int

    @property
    def key(self) -> tuple[str, ...]:
        """The job as the table's file names it."""
        return (self.who, self.task, f"{self.scale:g}", str(self.seed))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="CSV that runs are appended to")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--scales", nargs="+", type=float, default=[1.0, 1e-3, 1e3])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--who", nargs="+", choices=(OURS, PEER), default=[OURS, PEER])
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="K=V")
    parser.add_argument("--print", action="store_true", help="only print the table so far")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.print:
        for job in jobs(arguments):
            if job.key not in {key for key, _ in finished(arguments.results)}:
                run_job(job, arguments.results, arguments.settings)
    print_table(arguments.results)


def jobs(arguments: argparse.Namespace) -> Iterator[Job]:
    """All runs, those of one task, scale and seed after each other."""
    for seed in arguments.seeds:
        for scale in arguments.scales:
            for task in arguments.tasks:
                for who in arguments.who:
                    yield Job(who, task, scale, seed)


def run_job(job: Job, results: Path, settings: Sequence[str]) -> None:
    """Do one run and append its row."""
    began = time.monotonic()
    task = TASKS[job.task]
    is_ours = job.who == OURS
    episodes = our_episodes(job, task, settings) if is_ours else peer_episodes(job, task)
    score = last_tenth(episodes, task.total_steps) / job.scale
    is_new = not results.exists()
    with results.open("a", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(COLUMNS)
        writer.writerow([*job.key, f"{score:.6g}", f"{time.monotonic() - began:.0f}"])
    print(*job.key, f"{score:.6g}", flush=True)


class Episodes:
    """The return of each episode that ended, and the step it ended at."""

    def __init__(self) -> None:
        self.ended: list[tuple[int, float]] = []
        self.steps = 0
        self._return = 0.0

    def add(self, reward: float, *, is_over: bool) -> None:
        """Count one step."""
        self.steps += 1
        self._return += reward
        if is_over:
            self.ended.append((self.steps, self._return))
            self._return = 0.0


def last_tenth(episodes: Episodes, total_steps: int) -> float:
    """Mean return of the episodes that ended in the last tenth, or of the last one before."""
    late = [value for step, value in episodes.ended if step > 0.9 * total_steps]
    return statistics.mean(late or [value for _, value in episodes.ended[-1:]] or [float("nan")])


class Counted(GymnasiumEnv):
    """An environment whose rewards are scaled, and counted."""

    def __init__(self, env: GymnasiumEnv, episodes: Episodes, scale: float) -> None:
        """Count in `episodes`."""
        self._env = env
        self._episodes = episodes
        self._scale = scale
        self.observation_space, self.action_space = env.observation_space, env.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin the next episode."""
        return self._env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Scale and count the reward."""
        observation, reward, terminated, truncated, extra = self._env.step(action)
        scaled = self._scale * float(reward)
        self._episodes.add(scaled, is_over=terminated or truncated)
        return observation, scaled, terminated, truncated, extra


def our_episodes(job: Job, task: Task, settings: Sequence[str]) -> Episodes:
    """Train with entrain's defaults."""
    from benchmarks.in_process import EnvironmentBatches, make_trainer, run
    from entrain.config.load import load_config
    from entrain.policy.actor_critic import ActorCritic
    from entrain_envs.gymnasium_adapter import GymnasiumEnvironment

    episodes = Episodes()
    environment = GymnasiumEnvironment(
        lambda: Counted(task.make(), episodes, job.scale), behaviour="agent"
    )
    options = (f"total_steps={task.total_steps}", *task.options, *settings)
    run_config = load_config(None, [f"policies.agent.{option}" for option in options])
    config = run_config.policies["agent"]
    (spec,) = environment.behaviours
    policy = ActorCritic(spec, config, seed=job.seed)
    trainer = make_trainer(policy, seed=job.seed, recorder=NoRecorder())
    run(
        trainer,
        EnvironmentBatches(environment, seed=job.seed, is_over=lambda: trainer.is_complete),
    )
    return episodes


class NoRecorder:
    """Keeps nothing of the updates."""

    def record(self, update: object) -> None:
        """Nothing."""

    def note_completion(self) -> None:
        """Nothing."""


def peer_episodes(job: Job, task: Task) -> Episodes:
    """Train with Stable-Baselines3's defaults."""
    import sb3_contrib
    import stable_baselines3

    episodes = Episodes()
    classes = {"PPO": stable_baselines3.PPO, "RecurrentPPO": sb3_contrib.RecurrentPPO}
    env = Counted(task.make(), episodes, job.scale)
    model = classes[task.peer_class](task.peer_policy, env, seed=job.seed, device="cpu")
    model.learn(task.total_steps)
    return episodes


def finished(results: Path) -> list[tuple[tuple[str, ...], float]]:
    """(key, score) of every run in the file."""
    if not results.exists():
        return []
    with results.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [(tuple(row[name] for name in COLUMNS[:4]), float(row["score"])) for row in rows]


def print_table(results: Path) -> None:
    """A line for each task and scale: mean and spread over seeds, ours and the peer's."""
    scores: dict[tuple[str, str, str], list[float]] = {}
    for (who, task, scale, _), score in finished(results):
        scores.setdefault((task, scale, who), []).append(score)
    print("| task | scale | entrain | Stable-Baselines3 |\n|---|---|---|---|")
    for task, scale in sorted({key[:2] for key in scores}, key=order):
        ours, peer = (told(scores, task, scale, who) for who in (OURS, PEER))
        print(f"| {task} | {scale} | {ours} | {peer} |")


def order(key: tuple[str, str]) -> tuple[int, float]:
    """As tasks are listed, by scale within each."""
    return list(TASKS).index(key[0]), float(key[1])


def told(scores: Mapping[tuple[str, str, str], Sequence[float]], *key: str) -> str:
    """Mean +- standard deviation (number of seeds)."""
    values = scores.get((key[0], key[1], key[2]), [])
    if not values:
        return "-"
    spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):.4g} +- {spread:.2g} ({len(values)})"


if __name__ == "__main__":
    main()
