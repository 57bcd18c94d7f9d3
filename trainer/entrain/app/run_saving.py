"""Saves a run: what its checkpoints hold, when one is taken, and how a run goes on from one."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from entrain.app.apart import Apart
from entrain.app.build import checked
from entrain.app.checkpointing import Checkpointing
from entrain.app.control import RunControl
from entrain.app.evaluations import NoEvaluations
from entrain.app.goal import Goal
from entrain.app.reporting import Reporting
from entrain.app.run_clock import RunClock
from entrain.app.trainers import Trainers
from entrain.rollout.curricula import Curricula
from entrain.run.checkpoint import Loaded
from entrain.run.losses import Losses
from entrain.run.summary import Outcome
from entrain.serving.front import Front
from entrain.serving.participants import Participants
from entrain.state import State
from entrain.trainer import Trainer


def timed_state(trainers: Mapping[str, Trainer[Any]], take_state: Callable[[], State]) -> State:
    """Returns a run's state; how long policies stand still for it is part of their rounds."""
    began_s = time.perf_counter()
    state = take_state()
    for trainer in trainers.values():
        trainer.note_checkpoint(time.perf_counter() - began_s)
    return state


class RunSaving:
    """Takes the state of the parts of one run, and gives it back. Owned by the event loop."""

    def __init__(
        self,
        checkpointing: Checkpointing,
        *,
        trainers: Trainers,
        participants: Participants,
        front: Front,
        curricula: Curricula,
        reporting: Reporting,
        control: RunControl,
        clock: RunClock,
        together: Apart,
        evaluations: NoEvaluations,
        goal: Goal,
    ) -> None:
        """Take the parts of a run; `checkpointing` writes what they hold."""
        self._checkpointing = checkpointing
        self._trainers = trainers
        self._participants = participants
        self._front = front
        self._curricula = curricula
        self._reporting = reporting
        self._control = control
        self._clock = clock
        self._together = together
        self._evaluations = evaluations
        self._goal = goal

    def state(self) -> State:
        """Returns everything that decides how the run goes on; not while an update runs."""
        policies = self._trainers.state()
        # What this checkpoint counts must be in the file: a resumed run goes on behind it.
        self._reporting.write_episodes()
        return {
            **self._clock.state(),
            "losses": self._reporting.losses.state(),
            "participants": self._participants.state(),
            "front": self._front.state(),
            "policies": policies,
            "curricula": self._curricula.state(),
            "control": self._control.state(),
            "evaluations": self._evaluations.state(),
            "goal": self._goal.state(),
            **self._together.state(),
        }

    def begin_at(self, restored: Loaded | None) -> None:
        """Let the parts of the run go on from a checkpoint; None begins it.

        Raises:
            CheckpointError: it does not fit.
        """
        if restored is None:
            self._reporting.begin_anew()
            return
        with checked(restored.path):
            self._together.require(restored)
            self._together.load_state(restored.state)
            self._load_state(restored)

    def _load_state(self, restored: Loaded) -> None:
        state = restored.state
        # This makes the trainers: their behaviours are new to the run.
        self._participants.load_state(state["participants"])
        self._front.load_state(state["front"])
        self._trainers.load_state(state["policies"])
        if "curricula" in state:  # of before there were any, a checkpoint has none
            self._curricula.load_state(state["curricula"])
        if "control" in state:
            self._control.load_state(state["control"])
        if state.get("evaluations"):  # without any, what there were before is forgotten
            self._evaluations.load_state(state["evaluations"])
        self._goal.load_state(state.get("goal", {}))
        self._clock.load_state(state)
        # This forgets rows of a file, so it comes last, when everything has turned out to fit.
        self._reporting.resume_at(
            self._trainers.env_steps_by_name,
            {name: trainer.episodes.num_closed for name, trainer in self._trainers.by_name.items()},
            since=f"{restored.path.name}, {restored.step:,} env steps",
            earlier=Losses(**state.get("losses", {})),
            evaluations=self._evaluations.number,
        )

    def look(self) -> None:
        """Begin a checkpoint if it is time; to be called again and again."""
        self._checkpointing.look()
        self._save_if_due()

    def note_update(self) -> None:
        """An update is done: begin a checkpoint if it is time."""
        self._checkpointing.note_update()
        # If updates take nearly all of the time, `look` finds no moment between them.
        self._save_if_due()

    def _save_if_due(self) -> None:
        if self._trainers.have_state:
            take_state = partial(timed_state, self._trainers.by_name, self.state)
            self._checkpointing.save_if_due(self._trainers.env_steps, take_state)

    async def save_last(self, outcome: Outcome, *, has_diverged: bool) -> None:
        """Write the last checkpoint, if the run has come further than the one before.

        Args:
            outcome: of the run.
            has_diverged: whether it ended because a policy diverged.
        """
        env_steps = self._trainers.env_steps
        # A run that diverges as soon as it is resumed must not push older checkpoints out.
        has_steps = env_steps > self._checkpointing.saved_at
        is_new = has_steps or self._trainers.leave_out or not has_diverged
        if outcome != "failed" or (self._trainers.by_name and is_new):
            await self._checkpointing.save_last(env_steps, self.state)
        else:
            await self._checkpointing.finish()
