"""A simulator with two kinds of agents: rabbits that eat, are caught and come back, and foxes.

Rabbits choose among actions of which some are forbidden; foxes run at a speed. After 200 steps a
round is over for all.
"""

import logging
import os
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

import entrain_envs as envs
from entrain_envs.environment import run
from entrain_envs.errors import MisfitError
from entrain_envs.exit_codes import MISFIT

FIRST, MID, TERMINATED, TRUNCATED = envs.StepType
STAY, LEFT, RIGHT, EAT = range(4)
CELLS, RABBITS, FOXES = 20, 8, 2
AWAY_STEPS, ROUND_STEPS = 10, 200

PLACE = envs.ObservationSpec("place", (1,))
RABBIT = envs.BehaviourSpec(
    "rabbit",
    observations=(
        PLACE,
        envs.ObservationSpec("to_foxes", (FOXES,)),
        envs.ObservationSpec("grass", (3,)),  # to the left, here, to the right
    ),
    action=envs.ActionSpec(branches=(4,)),
)
FOX = envs.BehaviourSpec(
    "fox",
    # For each rabbit: 1 if it is here, and how far away. A row of zeros is one that is not.
    observations=(PLACE, envs.ObservationSpec("rabbits", (RABBITS, 2), kind="entities")),
    action=envs.ActionSpec(low=(-0.5,), high=(0.5,)),
)


class Meadow:
    """A line of cells, as an `entrain_envs.environment.Environment`."""

    behaviours: Sequence[envs.BehaviourSpec] = (RABBIT, FOX)

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)
        self._regrowth = 0.05
        self._grass = np.ones(CELLS, np.bool_)
        self._rabbit = np.zeros(RABBITS, np.int64)  # the cell of each
        self._away = np.zeros(RABBITS, np.int64)  # steps until it is back; 0: it is here
        self._fox = np.zeros(FOXES)
        self._steps = 0
        self._acting: dict[str, npt.NDArray[np.int64]] = {}

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """Numbers that the trainer's file sets: environment_parameters."""
        self._regrowth = parameters.get("regrowth", 0.05)

    def reset(
        self, *, seed: int, parameters: Mapping[str, float]
    ) -> Mapping[str, envs.TimestepBatch]:
        """Begin anew, with FIRST rows only: at the start, and if the trainer forgot us."""
        self._random = np.random.default_rng(seed)
        self.set_parameters(parameters)
        self._begin_round()
        return self._message(self._rabbits(np.arange(RABBITS), FIRST, 0.0), self._foxes(FIRST, 0.0))

    def step(self, actions: Mapping[str, envs.ActionBatch]) -> Mapping[str, envs.TimestepBatch]:
        """Move, say what came of it, and begin the next episodes."""
        # A row for each agent that needed an action in the last message, in that order.
        rabbits = self._acting["rabbit"]
        eaten = self._move(rabbits, actions["rabbit"].discrete[:, 0])
        self._fox = np.clip(self._fox + actions["fox"].continuous[:, 0], 0.0, CELLS - 1.0)
        self._steps += 1
        is_over = self._steps == ROUND_STEPS

        # Outcomes come first: an episode's last row shows what its agent came to.
        hunt = np.abs(self._rabbit[rabbits, None] - self._fox) < 0.5  # [rabbits, foxes]
        caught = hunt.any(axis=1)
        goes_on = TRUNCATED if is_over else MID
        outcomes = self._rabbits(rabbits, np.where(caught, TERMINATED, goes_on), eaten)

        # Then beginnings. A rabbit that was caught is in no message until it is back.
        self._away = np.maximum(self._away - 1, 0)
        back = np.setdiff1d(np.flatnonzero(self._away == 0), rabbits)
        self._away[rabbits[caught]] = AWAY_STEPS
        self._rabbit[back] = self._random.integers(CELLS, size=len(back))
        foxes = self._foxes(goes_on, hunt.sum(axis=0))
        if is_over:
            self._begin_round()
            back = np.arange(RABBITS)
            foxes = joined(foxes, self._foxes(FIRST, 0.0))
        return self._message(joined(outcomes, self._rabbits(back, FIRST, 0.0)), foxes)

    def close(self) -> None:
        """Nothing to release: no window, no file."""

    def _begin_round(self) -> None:
        self._grass[:] = True
        self._rabbit = self._random.integers(CELLS, size=RABBITS)
        self._fox = self._random.uniform(0.0, CELLS - 1.0, FOXES)
        self._away[:] = 0
        self._steps = 0

    def _move(
        self, rabbits: npt.NDArray[np.int64], choice: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.bool_]:
        """Move these rabbits; returns which of them have eaten."""
        # Two may choose the same grass; then both have some.
        eaten: npt.NDArray[np.bool_] = choice == EAT
        self._grass |= self._random.random(CELLS) < self._regrowth
        self._grass[self._rabbit[rabbits[eaten]]] = False
        self._rabbit[rabbits] += (choice == RIGHT).astype(np.int64) - (choice == LEFT)
        return eaten

    def _rabbits(
        self, agents: npt.NDArray[np.int64], step_type: npt.ArrayLike, reward: npt.ArrayLike
    ) -> envs.TimestepBatch:
        cell = self._rabbit[agents]
        allowed = np.ones((len(agents), 4), np.bool_)
        allowed[:, LEFT] = cell > 0
        allowed[:, RIGHT] = cell < CELLS - 1
        allowed[:, EAT] = self._grass[cell]
        return envs.TimestepBatch.of(
            RABBIT,
            agent_id=agents,
            step_type=step_type,
            reward=reward,
            observation={
                "place": cell[:, None],
                "to_foxes": self._fox - cell[:, None],
                "grass": np.pad(self._grass, 1)[cell[:, None] + np.arange(3)],
            },
            action_mask=allowed,
        )

    def _foxes(self, step_type: npt.ArrayLike, reward: npt.ArrayLike) -> envs.TimestepBatch:
        is_here = np.broadcast_to(self._away == 0, (FOXES, RABBITS))
        distance = (self._rabbit - self._fox[:, None]) / CELLS * is_here
        return envs.TimestepBatch.of(
            FOX,
            agent_id=np.arange(FOXES),
            step_type=step_type,
            reward=reward,
            observation={
                "place": self._fox[:, None],
                "rabbits": np.stack((is_here, distance), axis=2),
            },
        )

    def _message(
        self, rabbits: envs.TimestepBatch, foxes: envs.TimestepBatch
    ) -> Mapping[str, envs.TimestepBatch]:
        message = {"rabbit": rabbits, "fox": foxes}
        self._acting = {name: rows.agent_id[rows.needs_action] for name, rows in message.items()}
        return message


def joined(*parts: envs.TimestepBatch) -> envs.TimestepBatch:
    """The rows of all parts, one after the other: ends before beginnings."""
    return envs.TimestepBatch(
        agent_id=np.concatenate([part.agent_id for part in parts]),
        step_type=np.concatenate([part.step_type for part in parts]),
        reward=np.concatenate([part.reward for part in parts]),
        observation={
            name: np.concatenate([part.observation[name] for part in parts])
            for name in parts[0].observation
        },
        action_mask=np.concatenate([part.action_mask for part in parts]),
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    meadow = Meadow()
    try:
        run(
            meadow,
            envs.TrainerClient(
                sys.argv[1],
                meadow.behaviours,
                simulator=os.environ.get("ENTRAIN_SIMULATOR", "meadow"),
            ),
        )
    except MisfitError as refused:
        logging.error("%s", refused)
        sys.exit(MISFIT)  # the trainer that launched us need not try again
