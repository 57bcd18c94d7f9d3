"""Writes policies for games and for mlagents-learn, and the list of them, in one thread."""

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import copyfile
from typing import Protocol

from entrain.state import State
from entrain.unity.results.status import TrainingStatus, checkpoint_entry
from entrain.unity.results.tree import CHECKPOINT, ResultsTree
from entrain_envs.spec import BehaviourSpec

logger = logging.getLogger(__name__)

MOST_WAITING = 4
"""Policies that are held in memory until the disk has taken them."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A policy at one moment."""

    spec: BehaviourSpec

    algorithm: State
    """Of its algorithm: weights, statistics of observations, moments of the optimizer."""

    steps: int
    """Env steps until then."""

    reward: float | None
    """Mean of its newest returns; None before an episode ended."""

    keep: int
    """How many of its checkpoints stay."""

    lessons: Mapping[str, int]
    """{environment parameter: lessons completed} by then."""


class PolicyWriter(Protocol):
    """Writes one policy to a file. Called in a thread; may raise anything."""

    def export(self, policy: Policy, path: Path) -> None:
        """Write it as the .onnx file that a game loads."""
        ...

    def save(self, policy: Policy, path: Path) -> bool:
        """Write it as the .pt file that mlagents-learn goes on from; False if it cannot be one."""
        ...


class Checkpoints:
    """One checkpoint is written at a time. Owned by the event loop."""

    def __init__(
        self,
        tree: ResultsTree,
        writer: PolicyWriter,
        status: TrainingStatus,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Write nothing yet.

        Args:
            tree: says where files go.
            writer: writes policies.
            status: only the thread changes it from here on.
            clock: seconds since 1970.
        """
        self._tree = tree
        self._writer = writer
        self._status = status
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="results")
        self._waiting: list[Future[None]] = []

    def __repr__(self) -> str:
        return f"<Checkpoints in {self._tree.path}>"

    @property
    def is_busy(self) -> bool:
        """True if `MOST_WAITING` policies wait to be written; then no further one may be added."""
        self._waiting = [each for each in self._waiting if not each.done()]
        return len(self._waiting) >= MOST_WAITING

    def write(self, policy: Policy) -> None:
        """Begin to write a checkpoint."""
        self._waiting.append(self._thread.submit(self._write, policy, is_final=False))

    def finish(self, policies: list[Policy]) -> None:
        """Write the last checkpoint of each policy, and wait until all is on the disk."""
        for policy in policies:
            self._thread.submit(self._write, policy, is_final=True)
        self._thread.shutdown()

    def _write(self, policy: Policy, *, is_final: bool) -> None:
        tree, name = self._tree, policy.spec.name
        path = tree.checkpoint(name, policy.steps)
        words = f"policy '{name}' is not written for games"
        if not tree.try_to(words, partial(self._writer.export, policy, path), at=path):
            return
        saved = path.with_suffix(".pt")
        others = (str(saved),) if self._save(policy, saved) else ()
        entry = checkpoint_entry(
            steps=policy.steps,
            model=str(path),
            others=others,
            reward=policy.reward,
            created_s=self._clock(),
        )
        for old in self._status.add_checkpoint(name, entry, keep=policy.keep):
            tree.remove(Path(old))
        self._status.set_lessons(policy.lessons)
        if is_final:
            model = tree.model(name)
            tree.try_to(words, partial(replace_copy, path, model), at=model)
            self._status.set_final(name, entry, str(model))
            logger.info("policy '%s' for games: %s", name, model)
        tree.write(tree.status, self._status.text())

    def _save(self, policy: Policy, path: Path) -> bool:
        tree, name = self._tree, policy.spec.name
        is_saved = False

        def save() -> None:
            nonlocal is_saved
            is_saved = self._writer.save(policy, path)
            if is_saved:
                replace_copy(path, path.with_name(CHECKPOINT))

        words = f"policy '{name}' is not written for mlagents-learn"
        return tree.try_to(words, save, at=path) and is_saved


def replace_copy(path: Path, other: Path) -> None:
    """Copy a file; readers of the other one see the old content or the new."""
    temporary = other.with_name(f".{other.name}.new")
    copyfile(path, temporary)
    temporary.replace(other)
