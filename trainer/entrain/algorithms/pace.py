"""How many gradient steps are due for the env steps that were collected.

The ratio of the two holds whatever the speed of simulators, and however many steps an update has:
what is left over of a fraction counts in the next update.
"""

from entrain.config.off_policy import OffPolicyConfig
from entrain.state import State


class Pace:
    """Counts env steps and gradient steps, of all ranks together. Owned by the algorithm."""

    def __init__(self, config: OffPolicyConfig) -> None:
        self._config = config
        self._seen = 0
        """Env steps so far."""
        self._counted = 0
        """Those for which gradient steps are due: the ones after the start of learning."""
        self._taken = 0
        """Gradient steps so far."""
        self._left = 0.0
        """Of a gradient step, below 1."""

    def __repr__(self) -> str:
        return f"<Pace: {self._taken} gradient steps for {self._counted} of {self._seen} env steps>"

    @property
    def ratio(self) -> float:
        """Gradient steps so far for each env step since learning started; 0 before."""
        return self._taken / max(1, self._counted)

    def due(self, env_steps: int, *, can_learn: bool) -> int:
        """So many env steps were collected: returns the gradient steps to take now.

        Args:
            env_steps: of all ranks.
            can_learn: whether there is a step to learn from; else none is due, now or later.
        """
        begin = max(self._seen, self._config.learning_starts)
        self._seen += env_steps
        counted = max(0, self._seen - begin) if can_learn else 0
        self._counted += counted
        exact = self._left + self._config.updates_per_step * counted
        # Sums such as ten times 0.1 fall short of a whole number by rounding alone.
        due = int(exact + 1e-9)
        self._left = max(0.0, exact - due)
        self._taken += due
        return due

    def change(self, config: OffPolicyConfig) -> None:
        """Count by other options from now on."""
        self._config = config

    def state(self) -> State:
        """All counts."""
        return {
            "seen": self._seen,
            "counted": self._counted,
            "taken": self._taken,
            "left": self._left,
        }

    def load_state(self, state: State) -> None:
        """Go on there."""
        self._seen, self._counted = int(state["seen"]), int(state["counted"])
        self._taken, self._left = int(state["taken"]), float(state["left"])
