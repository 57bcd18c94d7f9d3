"""Numbers, samplers and curricula in a file: what is read, and what is said about wrong ones."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.config.environment_parameters import (
    CompletionConfig,
    CurriculumConfig,
    GaussianSampler,
    LessonConfig,
    MultirangeSampler,
    UniformSampler,
    values_at,
    with_seeds,
)
from entrain.config.load import load_config, to_yaml
from entrain.config.run import RunConfig
from entrain.config.schema import json_schema
from settings_files import complaint, read, write

PLATFORM = """\
environment_parameters:
  gravity: 9.81
  ball_radius: {kind: uniform, low: 0.3, high: 0.7}
  mass: {kind: gaussian, mean: 2, standard_deviation: 0.5, seed: 7}
  wind: {kind: multirange, intervals: [[-2, -1], [1, 2]]}
  platform_size:
    kind: curriculum
    lessons:
      - name: large
        value: 8
        completion: {behaviour: ball, threshold: 80, min_episodes: 100, smoothing: false}
      - name: medium
        value: 5
        completion: {behaviour: ball, measure: progress, threshold: 0.5, require_reset: true}
      - name: small
        value: {kind: uniform, low: 3, high: 5}
"""
PARAMETERS: dict[str, Any] = {
    "gravity": 9.81,
    "ball_radius": UniformSampler(low=0.3, high=0.7),
    "mass": GaussianSampler(mean=2.0, standard_deviation=0.5, seed=7),
    "wind": MultirangeSampler(intervals=((-2.0, -1.0), (1.0, 2.0))),
    "platform_size": CurriculumConfig(
        lessons=(
            LessonConfig(
                name="large",
                value=8.0,
                completion=CompletionConfig(
                    behaviour="ball", threshold=80.0, min_episodes=100, smoothing=False
                ),
            ),
            LessonConfig(
                name="medium",
                value=5.0,
                completion=CompletionConfig(
                    behaviour="ball", measure="progress", threshold=0.5, require_reset=True
                ),
            ),
            LessonConfig(name="small", value=UniformSampler(low=3.0, high=5.0)),
        )
    ),
}


def test_a_parameter_is_a_number_a_sampler_or_a_curriculum(tmp_path: Path) -> None:
    config = read(tmp_path, PLATFORM)
    assert config.environment_parameters == PARAMETERS
    assert load_config(write(tmp_path, to_yaml(config)), []) == config


def test_an_editor_is_told_of_each_form() -> None:
    schema = json_schema()
    number, groups = schema["properties"]["environment_parameters"]["additionalProperties"]["anyOf"]
    assert number == {"type": "number"}
    assert set(groups["discriminator"]["mapping"]) == set(KINDS.removeprefix(OF).split(", "))
    for group in groups["oneOf"]:
        assert "kind" in group["required"]
        assert group["$ref"].removeprefix("#/$defs/") in schema["$defs"]


def test_set_changes_one_option_of_a_sampler_and_of_a_lesson(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        PLATFORM,
        "environment_parameters.ball_radius.low=0.4",
        "environment_parameters.platform_size.lessons.0.completion.threshold=90",
        "environment_parameters.gravity={kind: gaussian, mean: 9.81}",
    )
    parameters = config.environment_parameters
    assert parameters["ball_radius"] == UniformSampler(low=0.4, high=0.7)
    assert parameters["gravity"] == GaussianSampler(mean=9.81)
    curriculum = parameters["platform_size"]
    assert isinstance(curriculum, CurriculumConfig)
    completion = curriculum.lessons[0].completion
    assert completion is not None
    assert completion.threshold == 90.0


A_GROUP = "it must be a number or a group of options, such as 'kind: uniform'"
OF = "it must be one of "
KINDS = f"{OF}uniform, gaussian, multirange, curriculum"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("many", f" is 'many'; {A_GROUP}"),
        ("uniform", f" is 'uniform'; {A_GROUP}; write 'g: {{kind: uniform}}'"),
        ("true", f" is true; {A_GROUP}"),
        ("", f" is empty; {A_GROUP}"),
        ("[1, 2]", f" is a list; {A_GROUP}"),
        (
            ".inf",
            " is .inf; it must be a finite number or a group of options, such as 'kind: uniform'",
        ),
        ("{low: 3}", f" lacks 'kind'; {KINDS}"),
        ("{kind: unifrom}", f".kind is 'unifrom'; {KINDS}; did you mean 'uniform'?"),
        ("{kind: [uniform]}", f".kind is a list; {KINDS}"),
        ("{kind: uniform, low: 3}", ".low is 3; it must be at most high 1"),
        ("{kind: uniform, min_value: 3}", " has no option 'min_value'; did you mean 'low'?"),
        (
            "{kind: uniform, lessons: []}",
            " has no option 'lessons' with kind 'uniform'; it is one of kind 'curriculum'",
        ),
        (
            "{kind: gaussian, standard_deviation: -1}",
            ".standard_deviation is -1; it must be a number of at least 0",
        ),
        (
            "{kind: gaussian, seed: -1}",
            ".seed is -1; it must be an integer of at least 0 and below 9223372036854775808 or "
            "null",
        ),
        (
            "{kind: multirange, intervals: 3}",
            ".intervals is 3; it must be a list, each entry a list of 2: a number, a number",
        ),
        (
            "{kind: multirange, intervals: [[1]]}",
            ".intervals.0 is a list; it must be a list of 2: a number, a number",
        ),
        (
            "{kind: multirange, intervals: [[1, b]]}",
            ".intervals.0.1 is 'b'; it must be a number",
        ),
        (
            "{kind: multirange, intervals: [[2, 1]]}",
            ".intervals has [2, 1]; the smaller number of an interval stands first",
        ),
        (
            "{kind: multirange, intervals: []}",
            ".intervals is empty; give at least one, such as [[0, 1]]",
        ),
        (
            "{kind: curriculum}",
            " lacks 'lessons'; it must be a list, each entry a group of options, such as 'name'",
        ),
        (
            "{kind: curriculum, lessons: []}",
            ".lessons is empty; give at least one, with name and value",
        ),
        ("{kind: curriculum, lessons: [{name: a}]}", f".lessons.0 lacks 'value'; {A_GROUP}"),
        (
            "{kind: curriculum, lessons: [{name: '', value: 1}]}",
            ".lessons.0.name is ''; it must be text that is not empty",
        ),
        (
            "{kind: curriculum, lessons: [{name: a, value: {kind: curriculum}}]}",
            ".lessons.0.value.kind is 'curriculum'; it must be one of uniform, gaussian, "
            "multirange",
        ),
        (
            "{kind: curriculum, lessons: [{name: a, value: 1}, {name: b, value: 2}]}",
            ".lessons has no completion for 'a', number 1 of 2, so the next lesson would never "
            "begin; give it one, such as completion: {behaviour: NAME, threshold: 10, "
            "min_episodes: 100}",
        ),
        (
            "{kind: curriculum, lessons: [{name: a, value: 1, completion: {behaviour: x}}]}",
            ".lessons has a completion for 'a', which is the last, so no lesson follows; delete it",
        ),
        (
            "{kind: curriculum, lessons: [{name: a, value: 1}], completed: 1}",
            ".completed is 1 of 1 lessons; the last one never ends, so it must be less",
        ),
    ],
)
def test_a_wrong_form_is_told_in_one_sentence(tmp_path: Path, written: str, expected: str) -> None:
    text = f"environment_parameters: {{g: {written}}}"
    assert complaint(tmp_path, text) == f"walk.yaml:1: environment_parameters.g{expected}"


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("{threshold: 1}", " lacks 'behaviour'; it must be text"),
        (
            "{behaviour: x, measure: prog}",
            ".measure is 'prog'; it must be one of reward, progress; did you mean 'progress'?",
        ),
        (
            "{behaviour: x, measure: progress, threshold: 3}",
            ".threshold is 3; of measure progress it must be between 0 and 1",
        ),
        (
            "{behaviour: x, min_lesson_length: 3}",
            " has no option 'min_lesson_length'; did you mean 'min_episodes'?",
        ),
    ],
)
def test_a_wrong_completion_is_told_in_one_sentence(
    tmp_path: Path, completion: str, expected: str
) -> None:
    lessons = f"[{{name: a, value: 1, completion: {completion}}}, {{name: b, value: 2}}]"
    text = f"environment_parameters: {{g: {{kind: curriculum, lessons: {lessons}}}}}"
    where = "walk.yaml:1: environment_parameters.g.lessons.0.completion"
    assert complaint(tmp_path, text) == f"{where}{expected}"


def test_a_lesson_needs_a_behaviour_that_can_take_part(tmp_path: Path) -> None:
    assert complaint(tmp_path, f"{PLATFORM}policies: {{walker: {{}}, runner: {{}}}}\n") == (
        "walk.yaml:1: environment_parameters: lesson 'large' of 'platform_size' is over by what "
        "behaviour 'ball' does, and policies has no such behaviour (it has: walker, runner)"
    )


def test_values_are_those_of_the_lessons_that_are_reached() -> None:
    size = "platform_size"
    assert values_at(PARAMETERS, {})[size] == 8.0
    assert values_at(PARAMETERS, {size: 1})[size] == 5.0
    assert values_at(PARAMETERS, {size: 2})[size] == UniformSampler(low=3.0, high=5.0)
    assert values_at(PARAMETERS, {size: 2})["gravity"] == 9.81


def test_a_curriculum_begins_behind_the_lessons_that_are_completed() -> None:
    size = "platform_size"
    curriculum = PARAMETERS[size]
    assert isinstance(curriculum, CurriculumConfig)
    later = curriculum.model_copy(update={"completed": 1})
    assert values_at({size: later}, {})[size] == 5.0
    assert values_at({size: later}, {size: 0})[size] == 8.0


def test_seeds_are_numbered_over_numbers_samplers_and_lessons() -> None:
    # gravity 5, ball_radius 6, mass has its own, wind 7, then the lessons 8, 9 and 10.
    seeded: Any = with_seeds(PARAMETERS, 5)
    assert seeded["gravity"] == 9.81
    assert [seeded[name].seed for name in ("ball_radius", "mass", "wind")] == [6, 7, 7]
    assert seeded["platform_size"].lessons[2].value.seed == 10


numbers = st.floats(-1e30, 1e30)


@settings(deadline=None, max_examples=15)
@given(low=numbers, width=st.floats(0, 1e30), seed=st.none() | st.integers(0, 2**63 - 1))
def test_a_sampler_is_written_and_read_back_equal(
    low: float, width: float, seed: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = RunConfig(
        environment_parameters={
            "a": UniformSampler(low=low, high=low + width, seed=seed),
            "b": MultirangeSampler(intervals=((low, low + width), (low, low)), seed=seed),
        }
    )
    path = write(tmp_path_factory.mktemp("written"), to_yaml(config))
    assert load_config(path, []) == config
