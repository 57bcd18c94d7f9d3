"""The answers to one step of a simulator, kept so that it can ask for them again."""

from collections.abc import Mapping
from dataclasses import dataclass

from entrain.state import State
from entrain_envs.timestep import ActionBatch


@dataclass(frozen=True, eq=False)
class Answered:
    """A step that is fully answered."""

    number: int
    """Of the step."""

    with_rows: tuple[str, ...]
    """The behaviours that had rows in it, in its order."""

    answers: Mapping[str, ActionBatch]
    """{behaviour: actions for its rows}, of these behaviours at least."""

    @property
    def size(self) -> int:
        """Bytes of the answers."""
        return sum(each.continuous.nbytes + each.discrete.nbytes for each in self.answers.values())

    def state(self) -> State:
        """A copy as plain arrays."""
        return {
            "number": self.number,
            "with_rows": list(self.with_rows),
            "answers": {
                str(index): actions_state(self.answers[name])
                for index, name in enumerate(self.with_rows)
            },
        }

    @classmethod
    def from_state(cls, state: State) -> "Answered":
        """The answers that `state` was taken of."""
        names = tuple(state["with_rows"])
        answers = {
            name: ActionBatch(**state["answers"][str(index)]) for index, name in enumerate(names)
        }
        return cls(state["number"], names, answers)


def actions_state(actions: ActionBatch) -> State:
    """A copy as plain arrays."""
    return {
        "continuous": actions.continuous.copy(),
        "discrete": actions.discrete.copy(),
        "policy_version": actions.policy_version,
    }
