"""What may change in a run that goes on, and how a change is written down."""

import pytest

from entrain.config.changes import ENVIRONMENT, Part, as_it_takes_effect, checked_parts
from entrain.config.load import changed_config, load_config
from entrain.errors import ConfigError

CONFIG = load_config(
    None,
    [
        'policies."my.walker".total_steps=5000',
        "policies.*.total_steps=5000",
        "policies.adapted.entropy={coefficient: 0.1, target: {}}",
        "environment_parameters.gravity={kind: uniform, low: 8, high: 12}",
    ],
)


def test_changes_are_parted_by_policy_and_written_as_set_takes_them() -> None:
    parts = checked_parts(
        CONFIG,
        [
            'policies."my.walker".algorithm.learning_rate=1e-4',
            "policies.*.entropy.coefficient=0.5",
            "environment_parameters.gravity.low=9",
            "environment_parameters.wind=2",
        ],
    )
    gravity = '{"kind": "uniform", "low": %s, "high": 12.0, "seed": null}'
    assert {part.policy: part for part in parts} == {
        ENVIRONMENT: Part(
            ENVIRONMENT,
            (
                f"environment_parameters.gravity={gravity % 9.0}",
                "environment_parameters.wind=2.0",
            ),
            (gravity % 8.0, "not there"),
        ),
        "my.walker": Part(
            "my.walker", ('policies."my.walker".algorithm.learning_rate=0.0001',), ("0.0003",)
        ),
        "*": Part("*", ("policies.*.entropy.coefficient=0.5",), ("0.0",)),
    }
    # As they are written, they lead to the same.
    again = changed_config(CONFIG, [it for part in parts for it in part.settings])
    assert again.environment_parameters["wind"] == 2.0
    assert again.policies["my.walker"].algorithm.learning_rate == 1e-4


def test_what_is_so_already_is_no_change() -> None:
    assert checked_parts(CONFIG, ["policies.*.algorithm.learning_rate=3e-4"]) == []


def test_what_was_is_that_of_the_moment_at_which_a_change_takes_effect() -> None:
    rate = "policies.*.algorithm.learning_rate"
    (asked,) = checked_parts(changed_config(CONFIG, [f"{rate}=1e-3"]), [f"{rate}=5e-4"])
    assert asked.was == ("0.001",)
    assert as_it_takes_effect(asked, changed_config(CONFIG, [f"{rate}=1e-4"])).was == ("0.0001",)
    there_already = changed_config(CONFIG, [f"{rate}=5e-4"])
    assert as_it_takes_effect(asked, there_already) == asked


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("seed=2", "seed cannot change: it is part of what the run is"),
        (
            "policies.new.total_steps=1",
            "the file of this run names no such policy. It names: 'my.walker', '*', 'adapted'",
        ),
        (
            "policies.adapted.entropy.coefficient=0.2",
            "follows entropy.target; a change would have no effect. Change the target, or resume "
            "the run with policies.adapted.entropy.target=null as well",
        ),
        ("policies.adapted.entropy.coefficient=0", "with a target it must start above 0"),
        ("server.max_sessions=2", "server.max_sessions cannot change while the run goes on"),
        ("environment_parameters.gravity.low=13", "low is 13; it must be at most high 12"),
        ("policies.*.algorithm.learning_rate", "write it as PATH=VALUE"),
    ],
)
def test_what_cannot_change_is_said(setting: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked_parts(CONFIG, [setting])
    assert words in str(caught.value)
