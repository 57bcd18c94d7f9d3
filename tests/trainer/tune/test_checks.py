"""What is wrong with a section `search` is said before anything starts, as settings say it."""

from pathlib import Path

import pytest

from entrain.cli import main
from entrain.errors import ConfigError
from entrain.tune.service import Tuning
from entrain.tune.space import Choices, Numbers
from support.made_up_tunings import SETTINGS, TuningWorld

pytestmark = pytest.mark.usefixtures("logging_as_before")

RATE = "policies.hopper.algorithm.learning_rate: {{low: 1e-4, high: 1e-2, log: true}}"


def complaint(folder: Path, text: str, *overrides: str) -> str:
    world = TuningWorld(folder, text)
    with pytest.raises(ConfigError) as caught:
        Tuning.read(world.options(*overrides))
    assert not world.runs.exists()
    return str(caught.value).replace(f"{folder}/", "")


def complaint_about(folder: Path, line: str) -> str:
    """What is said if the line of the learning rate is another one."""
    return complaint(folder, SETTINGS.replace(RATE, line))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "policies.hopper.algorithm.learning_rat: {{low: 1e-4, high: 1e-2}}",
            "hop.yaml:17: policies.hopper.algorithm has no option 'learning_rat'; did you mean "
            "'learning_rate'?",
        ),
        (
            "policies.hopper.algorithm.learning_rate: {{low: -1, high: 1e-2}}",
            "hop.yaml:17: policies.hopper.algorithm.learning_rate is -1; it must be a number "
            "above 0",
        ),
        (
            "policies.hopper.algorithm.gae_lambda: {{low: 0.9, high: 1.5}}",
            "hop.yaml:17: policies.hopper.algorithm.gae_lambda is 1.5; it must be a number between "
            "0 and 1",
        ),
        (
            "policies.hopper.rollout_steps: {{low: 0.5, high: 8}}",
            "hop.yaml:17: policies.hopper.rollout_steps is 0.5; it must be an integer of at least "
            "1",
        ),
        (
            "policies.hopper.rollout_steps: {{low: 2, high: 8, step: 0.5}}",
            'hop.yaml:17: search.options."policies.hopper.rollout_steps".step is 0.5; '
            "policies.hopper.rollout_steps is an integer, and so must be its step",
        ),
        (
            "policies.hopper.rollout_steps: {{low: 4, high: 21, step: 4}}",
            'hop.yaml:17: search.options."policies.hopper.rollout_steps".high is 21, which steps '
            "of 4 from 4 pass over; write high: 20, the last value that they reach, or another "
            "step",
        ),
        (
            "policies.hopper.algorithm.surrogate: {{choices: [joint, per_dimensoin]}}",
            "hop.yaml:17: policies.hopper.algorithm.surrogate is 'per_dimensoin'; it must be one "
            "of joint, per_dimension; did you mean 'per_dimension'?",
        ),
        (
            "policies.hopper.algorithm.surrogate: {{low: 1, high: 2}}",
            "hop.yaml:17: policies.hopper.algorithm.surrogate must be one of joint, per_dimension; "
            "give choices in place of low and high",
        ),
        (
            "policies.walker.algorithm.learning_rate: {{low: 1e-4, high: 1e-2}}",
            "hop.yaml:17: policies.walker.algorithm.learning_rate is of a policy that the file "
            "does not name (it has: hopper); 'walker' would be another one",
        ),
        (
            "seed: {{low: 1, high: 9}}",
            "hop.yaml:17: seed cannot be varied: search.seeds says with how many seeds each trial "
            "runs",
        ),
        (
            "policies..learning_rate: {{low: 1, high: 9}}",
            "hop.yaml:17: 'policies..learning_rate' is no path of an option; write names with dots "
            "between them, such as policies.walker.algorithm.clip_range, and quote a name that "
            "holds a dot, a space or '='",
        ),
        (
            'policies.hopper.algorithm."num_epochs": {{low: 1, high: 9}}',
            "hop.yaml:18: policies.hopper.algorithm.num_epochs is varied twice; the first is "
            "'policies.hopper.algorithm.\"num_epochs\"', delete one of them",
        ),
        (
            "policies.hopper.algorithm.learning_rate: {{low: 1e-2, high: 1e-4}}",
            'hop.yaml:17: search.options."policies.hopper.algorithm.learning_rate".low is 0.01; it '
            "must be below high, which is 0.0001",
        ),
        (
            "policies.hopper.algorithm.learning_rate: {{low: 0, high: 1, log: true}}",
            'hop.yaml:17: search.options."policies.hopper.algorithm.learning_rate".low is 0; with '
            "log: true it must be above 0",
        ),
        (
            "policies.hopper.algorithm.learning_rate: {{low: 1, high: 9, log: true, step: 2}}",
            'hop.yaml:17: search.options."policies.hopper.algorithm.learning_rate".step is given '
            "with log: true; delete one of them",
        ),
        (
            "policies.hopper.algorithm.learning_rate: {{low: 1, high: 9, step: 20}}",
            'hop.yaml:17: search.options."policies.hopper.algorithm.learning_rate".step is 20; it '
            "must be at most high - low, 8",
        ),
        (
            "policies.hopper.algorithm.learning_rate: {{low: 1}}",
            'hop.yaml:17: search.options."policies.hopper.algorithm.learning_rate".high is not '
            "given; write low and high, as in {low: 1e-4, high: 1e-2, log: true}, or choices: "
            "[64, 128]",
        ),
        (
            "policies.hopper.algorithm.learning_rate: {{low: 1, choices: [2, 3]}}",
            'hop.yaml:17: search.options."policies.hopper.algorithm.learning_rate".choices is '
            "given with low; delete one of them",
        ),
        (
            "policies.hopper.algorithm.learning_rate: {{choices: [2]}}",
            'hop.yaml:17: search.options."policies.hopper.algorithm.learning_rate".choices has 1 '
            "values; give at least two, or set the option itself",
        ),
        (
            "policies.hopper.algorithm.learning_rate: {{choices: [2, 3, 2]}}",
            'hop.yaml:17: search.options."policies.hopper.algorithm.learning_rate".choices holds 2 '
            "twice; delete one of them",
        ),
    ],
)
def test_a_wrong_option_or_range_is_said_with_its_line(
    tmp_path: Path, line: str, words: str
) -> None:
    assert complaint_about(tmp_path, line) == words


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "    - command: a-simulator\n",
            "    []\n",
            "hop.yaml:4: simulators.launch is empty; the runs of a tuning come and go by "
            "themselves, so say there which simulators they start",
        ),
        (
            "  trials: 4\n",
            "  metric: rollout/retrun\n",
            "hop.yaml:13: search.metric is 'rollout/retrun', which no run writes; `entrain "
            "metrics` lists what there is, and what simulators report is statistics/NAME",
        ),
        (
            "  trials: 4\n",
            "  metric: policy/entropy\n",
            "hop.yaml:13: of policy/entropy neither more nor less is better by itself; say which "
            "with search.direction: maximize or minimize",
        ),
        (
            "  trials: 4\n",
            "  policy: walker\n",
            "hop.yaml:13: search.policy is 'walker', which the file does not name (it has: hopper)",
        ),
    ],
)
def test_what_a_tuning_needs_is_said_with_its_line(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    assert complaint(tmp_path, SETTINGS.replace(old, new)) == words


def test_a_file_without_a_search_names_the_example(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = TuningWorld(tmp_path, SETTINGS.partition("search:")[0])
    assert main(["tune", str(world.file)]) == 2
    assert "a run has no section 'search'" in capsys.readouterr().err


def test_a_search_without_options_is_refused(tmp_path: Path) -> None:
    text = SETTINGS.partition("  options:")[0] + "  options: {{}}\n"
    assert "search.options is empty; name an option with its range" in complaint(tmp_path, text)


def test_the_direction_is_that_of_the_metric_or_what_the_file_says(tmp_path: Path) -> None:
    world = TuningWorld(tmp_path)
    assert Tuning.read(world.options()).direction == "maximize"
    metric = "search.metric=rollout/late_steps"
    assert Tuning.read(world.options(metric)).direction == "minimize"
    own = ("search.metric=statistics/score", "search.direction=minimize")
    assert Tuning.read(world.options(*own)).direction == "minimize"


def test_a_run_that_is_evaluated_is_compared_by_its_evaluations(tmp_path: Path) -> None:
    world = TuningWorld(tmp_path)
    assert Tuning.read(world.options()).metric == "rollout/episode_return_last_100"
    assert Tuning.read(world.options("evaluation={}")).metric == "evaluation/return_mean"


def test_integers_numbers_and_choices_are_told_apart(tmp_path: Path) -> None:
    searched = Tuning.read(TuningWorld(tmp_path).options()).space.searched
    by_end = {option.path[-1]: option for option in searched}
    rate, epochs, sizes = (by_end[it] for it in ("learning_rate", "num_epochs", "hidden_sizes"))
    assert isinstance(rate, Numbers)
    assert (rate.low, rate.high, rate.is_log, rate.is_whole) == (1e-4, 1e-2, True, False)
    assert isinstance(epochs, Numbers)
    assert (epochs.low, epochs.high, epochs.step, epochs.is_whole) == (2, 20, 2, True)
    assert isinstance(sizes, Choices)
    assert list(sizes.values) == [[64], [64, 64]]
