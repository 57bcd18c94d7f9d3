"""Settings in the form of entrain 0.1: read as the present form, with a warning that shows it."""

import logging
from pathlib import Path

import pytest

from entrain.config.algorithm import PPOConfig
from entrain.config.load import load_config, to_yaml
from entrain.config.policy import PolicyConfig
from entrain.config.run import RunConfig
from entrain.errors import ConfigError

OLD = """\
name: walk
policies:
  walker:
    total_steps: 5000
    ppo:
      rollout_steps: 256
      minibatch_size: 32
      discount: 0.9
      clip_range: 0.1
"""

NEW = """\
policies:
  walker:
    rollout_steps: 256
    discount: 0.9
    algorithm:
      kind: ppo
      minibatch_size: 32
      clip_range: 0.1
"""

WALKER = PolicyConfig(
    total_steps=5000,
    rollout_steps=256,
    discount=0.9,
    algorithm=PPOConfig(minibatch_size=32, clip_range=0.1),
)


def read(folder: Path, text: str, *overrides: str) -> RunConfig:
    path = folder / "walk.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, overrides)


def complaint(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, text, *overrides)
    return str(caught.value).replace(f"{folder}/", "").replace(f"{folder}\\", "")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_an_old_file_means_what_it_meant(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read(tmp_path, OLD).policies["walker"] == WALKER
    [warning] = warnings(caplog)
    first, *lines = warning.splitlines()
    assert first.endswith(
        "walk.yaml:5: policies.walker.ppo is the form of entrain 0.1; write in its place:"
    )
    assert "\n".join(lines) == NEW.rstrip()


def test_the_lines_of_the_warning_are_the_present_form_of_the_old_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read(tmp_path, OLD)
    shown = warnings(caplog)[0].partition("\n")[2]
    caplog.clear()
    rest = OLD.split("    ppo:", maxsplit=1)[0]
    assert rest.endswith("walker:\n    total_steps: 5000\n")
    written_anew = rest + shown.partition("walker:\n")[2] + "\n"
    assert read(tmp_path, written_anew).policies["walker"] == WALKER
    assert warnings(caplog) == []


def test_the_present_form_is_read_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read(tmp_path, NEW).policies["walker"].rollout_steps == 256
    read(tmp_path, to_yaml(RunConfig()))
    read(tmp_path, "policies:\n  ppo: {total_steps: 5}\n")
    read(tmp_path, "environment_parameters: {ppo: 5}\n")
    assert warnings(caplog) == []


@pytest.mark.parametrize("group", ["ppo:", "ppo: {}", "ppo: null"])
def test_an_old_group_without_content_is_all_defaults(
    tmp_path: Path, group: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert read(tmp_path, f"policies:\n  w:\n    {group}\n").policies["w"] == PolicyConfig()
    assert warnings(caplog)[0].endswith("  w:\n    algorithm:\n      kind: ppo")


def test_each_policy_of_an_old_file_is_shown_in_its_own_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "policies:\n  a: {ppo: {discount: 0.5}}\n  b: {total_steps: 5}\n  '*':\n    ppo: {}\n"
    policies = read(tmp_path, text).policies
    assert [policies[name].discount for name in ("a", "b", "*")] == [0.5, 0.99, 0.99]
    first, second = warnings(caplog)
    assert "walk.yaml:2: policies.a.ppo is" in first
    assert "walk.yaml:5: policies.*.ppo is" in second


def test_an_old_group_is_inherited_like_any_other(tmp_path: Path) -> None:
    text = (
        "policies:\n  a: &base\n    ppo: {discount: 0.5}\n  b:\n    <<: *base\n    total_steps: 5\n"
    )
    policies = read(tmp_path, text).policies
    assert [policies[name].discount for name in ("a", "b")] == [0.5, 0.5]


# In --set


@pytest.mark.parametrize(
    ("argument", "present"),
    [
        ("policies.walker.ppo.learning_rate=1e-4", "policies.walker.algorithm.learning_rate=1e-4"),
        ("policies.walker.ppo.discount=0.5", "policies.walker.discount=0.5"),
        ("policies.walker.ppo.rollout_steps=9", "policies.walker.rollout_steps=9"),
        ('policies."my.walker".ppo.num_epochs=1', 'policies."my.walker".algorithm.num_epochs=1'),
    ],
)
def test_an_old_path_in_set_is_the_present_one_and_the_warning_says_so(
    argument: str, present: str, caplog: pytest.LogCaptureFixture
) -> None:
    old = load_config(None, [argument])
    [warning] = warnings(caplog)
    assert warning.startswith(f"--set {argument}: {argument.partition('=')[0]} is the form of")
    assert f"write --set {present}" in warning.replace("'", "")
    caplog.clear()
    assert load_config(None, [present]) == old
    assert warnings(caplog) == []


@pytest.mark.parametrize("text", [OLD, NEW])
@pytest.mark.parametrize("group", ["ppo", "algorithm"])
def test_set_changes_a_file_whatever_the_form_of_either(
    tmp_path: Path, text: str, group: str
) -> None:
    walker = read(tmp_path, text, f"policies.walker.{group}.clip_range=0.3").policies["walker"]
    assert walker.algorithm == PPOConfig(minibatch_size=32, clip_range=0.3)
    assert (walker.rollout_steps, walker.discount) == (256, 0.9)


def test_of_old_and_present_paths_in_set_the_last_one_wins() -> None:
    arguments = ["policies.w.ppo.discount=0.1", "policies.w.discount=0.2"]
    assert load_config(None, arguments).policies["w"].discount == 0.2
    assert load_config(None, arguments[::-1]).policies["w"].discount == 0.1


@pytest.mark.parametrize("text", [OLD, NEW])
def test_a_whole_old_group_in_set_replaces_all_that_was_in_it(tmp_path: Path, text: str) -> None:
    walker = read(tmp_path, text, "policies.walker.ppo={rollout_steps: 9}").policies["walker"]
    assert (walker.rollout_steps, walker.discount) == (9, 0.99)
    assert walker.algorithm == PPOConfig()


def test_an_old_group_inside_a_group_that_set_gives_is_found() -> None:
    config = load_config(None, ["policies={w: {ppo: {discount: 0.5}}}"])
    assert config.policies == {"w": PolicyConfig(discount=0.5)}


# Mistakes


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            "    ppo: {clip_range: 0.1}\n    algorithm: {clip_range: 0.2}\n",
            "walk.yaml:3: policies.walker.ppo is the old form of policies.walker.algorithm, "
            "which is there as well (a group of options, walk.yaml:4); keep what you mean in "
            "policies.walker.algorithm and delete policies.walker.ppo",
        ),
        (
            "    discount: 0.9\n    ppo:\n      discount: 0.8\n",
            "walk.yaml:5: policies.walker.ppo.discount is the old form of "
            "policies.walker.discount, which is there as well (0.9, walk.yaml:3); keep what you "
            "mean in policies.walker.discount and delete policies.walker.ppo.discount",
        ),
        (
            "    ppo: {rollout_steps: 5}\n    rollout_steps:\n",
            "walk.yaml:3: policies.walker.ppo.rollout_steps is the old form of "
            "policies.walker.rollout_steps, which is there as well (empty, walk.yaml:4)",
        ),
    ],
)
def test_both_forms_of_one_thing_at_once_are_refused(
    tmp_path: Path, options: str, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert complaint(tmp_path, f"policies:\n  walker:\n{options}").startswith(expected)
    assert warnings(caplog) == []


def test_an_old_group_may_stand_beside_present_options_that_it_does_not_have(
    tmp_path: Path,
) -> None:
    text = "policies:\n  w:\n    discount: 0.5\n    ppo: {rollout_steps: 9}\n"
    assert read(tmp_path, text).policies["w"] == PolicyConfig(discount=0.5, rollout_steps=9)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("{clip_rnage: 0.1}", "algorithm has no option 'clip_rnage'; did you mean 'clip_range'?"),
        ("{discount: 2}", "discount is 2; it must be a number between 0 and 1"),
        ("{num_epochs: many}", "algorithm.num_epochs is 'many'; it must be an integer of at le"),
        ("5", "algorithm is 5; it must be a group of options, such as 'kind: ppo'"),
        ("{entropy_coefficient: 1}", "algorithm has no option 'entropy_coefficient'; did you mean"),
    ],
)
def test_a_mistake_in_an_old_group_is_told_with_its_line(
    tmp_path: Path, group: str, expected: str
) -> None:
    text = f"policies:\n  walker:\n    total_steps: 5\n    ppo: {group}\n"
    assert complaint(tmp_path, text).startswith(f"walk.yaml:4: policies.walker.{expected}")


def test_a_mistake_in_an_old_path_in_set_is_told_with_the_argument() -> None:
    argument = "policies.walker.ppo.clip_rnage=0.1"
    with pytest.raises(ConfigError, match=f"^--set {argument}: policies.walker.algorithm has no"):
        load_config(None, [argument])
