"""The line that says what each observation was taken for, and what was chosen for it."""

import logging

import pytest

from entrain.app.observed import log_observed
from entrain.config.policy import NetworkConfig, PolicyConfig
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.images import ImageEncoderName
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

JOINTS = ObservationSpec("joints", (12,))
MAP = ObservationSpec("map", (7, 7, 3), "uint8", "image", (0.0,), (10.0,))
TABLE = ObservationSpec("table", (48, 10), "uint8")


def logged(
    caplog: pytest.LogCaptureFixture,
    *observations: ObservationSpec,
    image_encoder: ImageEncoderName | None = None,
    is_certain: bool = False,
) -> list[tuple[str, str]]:
    spec = BehaviourSpec("walker", observations, ActionSpec(branches=(2,)))
    network = NetworkConfig(image_encoder=image_encoder or "auto")
    policy = ActorCritic(spec, PolicyConfig(network=network), seed=1)
    with caplog.at_level(logging.INFO):
        log_observed(policy, is_certain=is_certain)
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_one_line_says_what_was_chosen(caplog: pytest.LogCaptureFixture) -> None:
    assert logged(caplog, JOINTS, MAP) == [
        (
            "INFO",
            "policy 'walker' observes joints: vector of 12 numbers; "
            "map: image 7 x 7, 3 channels, divided by 10, encoder small; "
            "hidden layers 64, 64, relu",
        )
    ]


def test_the_line_stays_short_whatever_is_observed(caplog: pytest.LogCaptureFixture) -> None:
    many = [ObservationSpec(f"{index}" * 500, ()) for index in range(20)]
    ((_, line),) = logged(caplog, *many)
    assert len(line) < 3000
    caplog.clear()
    ((_, line),) = logged(caplog, *(ObservationSpec(f"{index}", ()) for index in range(20)))
    assert "9: vector of 1 number; and 10 more; hidden" in line


def test_an_encoder_that_was_chosen_for_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    _, (level, line) = logged(caplog, TABLE, image_encoder="nature_cnn")
    assert level == "WARNING"
    assert "image_encoder nature_cnn of policy 'walker' has no effect" in line
    assert "--kind NAME=image" in line
    caplog.clear()
    assert len(logged(caplog, MAP, image_encoder="small")) == 1
    caplog.clear()
    assert len(logged(caplog, TABLE, image_encoder="simple", is_certain=True)) == 1
    caplog.clear()
    # No vector could be an image: a file converted from ML-Agents always names an encoder.
    assert len(logged(caplog, JOINTS, image_encoder="simple")) == 1
