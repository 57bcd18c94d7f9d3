"""The stand-in game says what a game says: its own rules, against a trainer of three replies."""

from collections.abc import Mapping

import numpy as np
import pytest

from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.timestep import ActionBatch
from entrain_envs.unity import codec
from entrain_envs.unity.messages import GameMessage
from support.unity_game import GameOverError, Style, UnityGame


class ThreeReplies:
    """Answers hello, asks for a reset, and then lets every agent do nothing, so many times."""

    def __init__(self, steps: int) -> None:
        self.heard: list[GameMessage] = []
        self._steps = steps

    def __call__(self, request: bytes) -> bytes:
        message = codec.decode(request)
        self.heard.append(message)
        if len(self.heard) == 1:
            return codec.encode_initialization(seed=5, package_version="0.25.0")
        if len(self.heard) == 2:
            return codec.encode_reset(b"parameters")
        if len(self.heard) > 2 + self._steps:
            return codec.encode_closing("enough")
        return codec.encode_actions(nothing_for(message))


def nothing_for(message: GameMessage) -> Mapping[str, ActionBatch]:
    """Zeros for each record that needs an action."""
    return {
        key: ActionBatch(
            continuous=np.zeros((int(np.count_nonzero(~records.done)), 2), np.float32),
            discrete=np.zeros((int(np.count_nonzero(~records.done)), 0), np.int32),
            policy_version=0,
        )
        for key, records in message.agents.items()
    }


@pytest.mark.parametrize("changes_ids", [False, True])
def test_it_speaks_as_a_player_does(changes_ids: bool) -> None:
    trainer = ThreeReplies(200)
    game = UnityGame(
        BalanceBall(count=3, behaviour="3DBall"), trainer, style=Style(changes_ids=changes_ids)
    )
    ledger = game.play()
    first, second, third, *others = trainer.heard
    assert first.initialization is not None
    assert first.initialization.name == "AcademySingleton"
    assert (first.behaviours, second.has_output) == ((), False)
    assert [(b.key, b.num_continuous) for b in third.behaviours] == [("3DBall?team=0", 2)]
    assert not any(message.behaviours for message in others)
    assert game.side_channels[1] == b"parameters"
    rows = [message.agents["3DBall?team=0"] for message in (third, *others)]
    assert all(not np.diff(each.done.astype(int)).max(initial=0) for each in rows)
    ends = sum(int(each.done.sum()) for each in rows)
    assert ends == ledger.episodes > 3
    # The last message was answered with the end.
    assert ledger.exchanges == 200
    assert ledger.opened == 600
    assert ledger.closed + ledger.unanswered == 600
    ids = {each for records in rows for each in records.id.tolist()}
    assert len(ids) == (3 + ends if changes_ids else 3)


def test_a_game_whose_trainer_ends_is_over() -> None:
    trainer = ThreeReplies(0)
    game = UnityGame(BalanceBall(count=1, behaviour="3DBall"), trainer)
    rows = game.begin()
    with pytest.raises(GameOverError, match="enough"):
        game.step(rows)
    assert game.ledger.opened == game.ledger.closed == 0
