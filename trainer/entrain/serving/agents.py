"""The agents of one behaviour that a participant has: which of them await an outcome."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from entrain.errors import BadStepError
from entrain.serving.answered import actions_state
from entrain.serving.behaviours import Behaviour
from entrain.serving.member import Member
from entrain.serving.step_order import StepOrder
from entrain.state import State
from entrain_envs.timestep import ActionBatch, Int64Array, TimestepBatch


@dataclass(slots=True)
class Agents:
    """A participant's agents of one behaviour."""

    behaviour: Behaviour
    order: StepOrder
    """Which of them await an outcome, before the rows that are unanswered."""

    asked: StepOrder | None = None
    """The same after those rows; None if none are unanswered."""

    claimed: int = 0
    """How many of the behaviour's limit they use."""

    action_bytes: int = 0
    """Of one action of theirs."""

    @classmethod
    def of(cls, behaviour: Behaviour) -> "Agents":
        """None yet."""
        return cls(behaviour, StepOrder(), action_bytes=behaviour.spec.action.num_bytes)

    def claim(self, count: int, *, who: str) -> None:
        """Use so many of the behaviour's limit, instead of as many as before."""
        self.behaviour.agents.take(count - self.claimed, who=who)
        self.claimed = count

    def order_after(
        self, timesteps: TimestepBatch, *, asker: Member, in_turns: bool
    ) -> tuple[StepOrder, int, bool]:
        """Which await an outcome once these rows are answered; BadStepError if they cannot come.

        Also how many rows need an action, and whether they are known to be the usual ones.

        Args:
            timesteps: [K] rows.
            asker: sent them, for messages.
            in_turns: whether two groups of agents may send in turns.
        """
        order = self.order
        if order.stays_after(timesteps):
            return order, order.num_recent, True
        if order.other:
            turned = order.turned()
            if turned.stays_after(timesteps):
                return turned, turned.num_recent, True
        try:
            order = order.after(timesteps, in_turns=in_turns)
            return order, int(np.count_nonzero(timesteps.needs_action)), False
        except BadStepError as error:
            name = self.behaviour.name
            raise BadStepError(f"{asker.label}: behaviour '{name}', {error}") from None

    def forget(self, *, who: str) -> None:
        """None of them awaits an outcome any more."""
        self.order, self.asked = StepOrder(), None
        self.claim(0, who=who)

    def require_absent(self, timesteps: TimestepBatch, *, who: str, step_number: int) -> None:
        """Raise BadStepError if an agent of these rows is in the newest step, too, which has no
        answer yet: what the agent does next depends on it.

        Args:
            timesteps: [K] rows of the step after the newest one.
            who: sent them.
            step_number: of the newest step.
        """
        order = self.order if self.asked is None else self.asked
        agent = order.first_shared(timesteps)
        if agent is not None:
            raise BadStepError(
                f"{who}: behaviour '{self.behaviour.name}', agent {agent} is in Step "
                f"{step_number + 1} while its action of Step {step_number} is not "
                "chosen yet; an agent is in one unanswered Step at a time: divide the agents "
                "into two groups that send in turns, or wait for the Act"
            )

    def drop(self, owner: str, agent_id: Int64Array) -> None:
        """These are gone, and their last action has no outcome; `owner` is the participant's id."""
        self.order = self.order.without(agent_id)
        self.behaviour.slots.release_agents(owner, agent_id)

    def state(self, owner: str, answer: ActionBatch | None) -> State:
        """Their part of a checkpoint.

        Args:
            owner: the participant's id.
            answer: to their rows of the newest step, if it is known.
        """
        is_owed = self.asked is not None and self.behaviour.batcher.owes(owner)
        return {
            "order": self.order.state(),
            "asked": self.asked.state() if self.asked is not None and is_owed else None,
            "answer": None if answer is None else actions_state(answer),
        }

    def load_state(self, state: State, *, who: str) -> ActionBatch | None:
        """Go on where `state` was taken; returns the answer to the newest step, if it is known."""
        self.order = StepOrder.from_state(state["order"])
        if state["asked"] is not None:
            self.asked = StepOrder.from_state(state["asked"])
        self.claim(len(self.order if self.asked is None else self.asked), who=who)
        return None if state["answer"] is None else ActionBatch(**state["answer"])


def agents_state(
    agents: Mapping[str, Agents], owner: str, answers: Mapping[str, ActionBatch]
) -> State:
    """The part of a checkpoint of all behaviours of a participant.

    Args:
        agents: {behaviour: the participant's agents}.
        owner: the participant's id.
        answers: {behaviour: actions for its rows of the newest step}, as far as they are known.
    """
    return {
        str(index): each.state(owner, answers.get(name))
        for index, (name, each) in enumerate(agents.items())
    }


def load_agents(
    agents: Mapping[str, Agents], state: State, *, who: str
) -> Mapping[str, ActionBatch]:
    """Let all go on where `state` was taken; returns the answers that are known, by behaviour."""
    answers: dict[str, ActionBatch] = {}
    for index, (name, each) in enumerate(agents.items()):
        answer = each.load_state(state[str(index)], who=who)
        if answer is not None:
            answers[name] = answer
    return answers
