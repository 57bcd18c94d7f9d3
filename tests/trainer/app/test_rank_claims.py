"""Behaviours fit alone on their ranks and not together: how many there are, and their replays."""

import pytest

from entrain.app.rank_claims import judge_claims
from entrain.config.load import load_config
from entrain.errors import ConfigError
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec


def camera(name: str) -> BehaviourSpec:
    """Its replay of 1,000 rows takes 0.98 MiB: 1,000 pixels, 4 + 2 of a choice, 22 of the step."""
    eye = ObservationSpec("eye", (1000,), dtype="uint8")
    return BehaviourSpec(name, (eye,), ActionSpec(branches=(2,)))


SETTINGS = (
    "policies.plain={}",
    "policies.*={algorithm: {kind: soft_q, replay_size: 1000}, entropy: {coefficient: 1}}",
)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        # Of 0.98 MiB each, 1.96 on one rank and 3.92 on both.
        ("checkpoints.replay_mib=3.9", "which holds those of each of 2 ranks, may have 1.95; "),
        ("server.max_replay_mib=1.95", "and this trainer allows 1.95; "),
    ],
)
def test_a_replay_is_judged_beside_those_that_were_accepted_before(
    setting: str, words: str
) -> None:
    judge = judge_claims(load_config(None, [*SETTINGS, setting]), 2)
    judge(camera("first"), [])
    # What learns without a replay takes no room, and finds it always.
    judge(camera("second"), [camera("plain")])
    judge(camera("plain"), [camera("first")])
    with pytest.raises(ConfigError, match=r"all 2 replays together 1\.96 MiB") as caught:
        judge(camera("second"), [camera("first"), camera("plain")])
    assert words in str(caught.value)


def test_what_has_just_enough_room_beside_the_others_is_accepted() -> None:
    # 4 * 1,028,000 / 2^20 = 3.9215
    judge = judge_claims(load_config(None, [*SETTINGS, "checkpoints.replay_mib=3.93"]), 2)
    judge(camera("second"), [camera("first")])


def test_a_run_has_so_many_behaviours_over_all_its_ranks() -> None:
    judge = judge_claims(load_config(None, [*SETTINGS, "server.max_behaviours=2"]), 2)
    judge(camera("second"), [camera("first")])
    words = (
        "the simulators of all ranks have brought 2 of the 2 behaviours that the run allows; raise "
        "server.max_behaviours of the trainer, or give agents that are alike one behaviour"
    )
    with pytest.raises(ConfigError) as caught:
        judge(camera("third"), [camera("first"), camera("second")])
    assert str(caught.value) == words
