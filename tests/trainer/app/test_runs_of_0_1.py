"""A run that entrain 0.1 wrote: whatever reads its checkpoint says in one line what it is.

The folder in `tests/cases` was written by entrain 0.1: CartPole, 64 steps, 4 hidden units.
"""

import shutil
from pathlib import Path

import pytest

import entrain
from entrain.cli import main

pytestmark = pytest.mark.usefixtures("logging_as_before")

WRITTEN = Path(__file__).parents[2] / "cases/run_of_0.1"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(WRITTEN, tmp_path / "walk"))


def said(run: Path) -> str:
    return (
        f"{run / 'checkpoints' / '0001-step-64'} was written by entrain 0.1, in checkpoint format "
        f"1; this is entrain {entrain.__version__}, which reads format 2 only: install entrain 0.1 "
        "to go on, or start the run anew with `entrain train` and the run's config.yaml"
    )


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines behind the program's name, and none from the log."""
    lines = capsys.readouterr().err.splitlines()
    return [line.removeprefix("entrain: ") for line in lines if line.startswith("entrain: ")]


@pytest.mark.parametrize("command", ["resume", "evaluate", "export"])
def test_a_command_that_needs_the_checkpoint_refuses_it(
    run: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(run.rglob("*"))
    assert main([command, str(run)]) == 3
    assert errors(capsys) == [said(run)]
    # The lock is all that is left.
    assert set(run.rglob("*")) - {run / "run.lock"} == set(before)


def test_info_says_so_of_the_checkpoint_and_shows_the_rest(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"  0001-step-64  {said(run)}"


def test_a_prior_is_refused_before_a_simulator_is_waited_for(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prior = f"policies.w.entropy={{prior: {run}, coefficient: 0.1}}"
    arguments = ["train", "--set", prior, "--runs-directory", str(tmp_path / "runs")]
    assert main(arguments) == 2
    [line] = errors(capsys)
    assert line.startswith(f"entropy.prior of 'w' cannot be used: {said(run)}")
    assert not list((tmp_path / "runs").glob("*"))


@pytest.mark.parametrize("command", ["resume", "info"])
def test_its_configuration_is_read_with_a_warning_that_shows_the_present_form(
    run: Path, command: str, caplog: pytest.LogCaptureFixture
) -> None:
    main([command, str(run)])
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith(f"{run / 'config.yaml'}:")
    assert "\n  CartPole-v1:\n    rollout_steps: 32\n    discount: 0.9\n" in warning
