"""Saves and restores a batch that was handed out and is not answered yet."""

from collections.abc import Callable, Mapping

from entrain.serving.batch import Asker, Reply
from entrain.serving.behaviours import Behaviour
from entrain.serving.participant import Participant
from entrain.state import State
from entrain_envs.timestep import ActionBatch


class Departed:
    """Takes the actions for a simulator that left while its batch was out."""

    def answer(
        self, _behaviour: str, _number: int, _actions: ActionBatch, _taken: Callable[[], None]
    ) -> bool:
        """Nothing is sent."""
        return False


def unanswered_state(behaviour: Behaviour) -> State:
    """The owners and numbers of actions of a behaviour's unanswered batch, if there is one."""
    unanswered = behaviour.batcher.unanswered
    replies = () if unanswered is None else unanswered.replies
    return {
        "is_out": unanswered is not None,
        "owners": [reply.owner for reply in replies],
        "num_actions": [reply.num_actions for reply in replies],
    }


def load_unanswered(
    behaviour: Behaviour, state: State, participants: Mapping[str, Participant]
) -> None:
    """Restore the batch of a behaviour that was unanswered when `state` was taken.

    Args:
        behaviour: of the batch.
        state: of `unanswered_state`.
        participants: {id: participant} of those that are still waited for.
    """
    if not state["is_out"]:
        return
    replies = []
    for owner, num_actions in zip(state["owners"], state["num_actions"], strict=True):
        participant = participants.get(owner)
        asker: Asker = Departed() if participant is None else participant
        number = 0 if participant is None else participant.step_number
        replies.append(Reply(owner, asker, behaviour.name, number, num_actions))
    behaviour.batcher.restore_unanswered(replies)
