"""Simulators of evaluations dial where nobody else does."""

from pathlib import Path

import pytest

from entrain.app.evaluation_side import EvaluationSide, side_of
from entrain.app.launch_plan import Simulator
from entrain.app.launcher import Launcher
from entrain.app.program_environments import ProgramEnvironment
from entrain.config.evaluation import EvaluationConfig
from entrain.config.launch import LaunchConfig
from entrain.config.run import RunConfig, ServerConfig
from entrain.run.folder import RunFolder
from entrain.serving.front import Ending

LAUNCH = (LaunchConfig(command="judge {address}", name="judge", count=2),)


class Noted(Launcher):
    """Notes what it is to start, and starts nothing."""

    def __init__(self) -> None:
        super().__init__([], environment={})
        self.added: list[Simulator] = []

    def add(self, simulators: object) -> None:
        assert isinstance(simulators, tuple)
        self.added += simulators


def side(folder: Path, server: ServerConfig) -> EvaluationSide:
    config = RunConfig(server=server, evaluation=EvaluationConfig(launch=LAUNCH))
    made = side_of(config, RunFolder(folder), rank=0)
    assert made is not None
    return made


def test_only_the_first_rank_of_a_run_with_evaluations_has_a_side(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert side_of(RunConfig(), folder, rank=0) is None
    evaluated = RunConfig(evaluation=EvaluationConfig(launch=LAUNCH))
    assert side_of(evaluated, folder, rank=1) is None


@pytest.mark.parametrize(
    ("address", "own"),
    [("[::1]:50051", "[::1]:0"), ("localhost:50051", "localhost:0"), ("unix:/a/s", "localhost:0")],
)
def test_it_listens_on_a_free_port_of_the_runs_host(tmp_path: Path, address: str, own: str) -> None:
    made = side(tmp_path, ServerConfig(address=address, websocket="localhost:50052"))
    assert made.participants.config.address == own
    assert made.participants.config.websocket == "localhost:0"
    assert made.participants.expected == 2


@pytest.mark.parametrize("launch", [None, ()], ids=["copied", "said otherwise"])
async def test_environments_of_a_program_have_a_like_that_evaluates(
    tmp_path: Path, launch: tuple[LaunchConfig, ...] | None
) -> None:
    environments = [ProgramEnvironment(f"simulator-{index}-0", b"made") for index in range(2)]
    made = side_of(
        RunConfig(
            server=ServerConfig(address="localhost:0"), evaluation=EvaluationConfig(launch=launch)
        ),
        RunFolder(tmp_path),
        rank=0,
        environments=environments,
    )
    assert made is not None
    launcher = Noted()
    await made.start(launcher)
    await made.stop(Ending.COMPLETED, "the run is complete")
    if launch is not None:
        assert (made.are_launched, launcher.added) == (False, [])
        return
    assert made.are_launched
    assert made.participants.expected == 2
    names = [each.name for each in launcher.added]
    assert names == ["evaluation-simulator-0-0", "evaluation-simulator-1-0"]
    for each in launcher.added:
        assert (each.stdin, each.is_needed) == (b"made", False)
        assert each.variables["ENTRAIN_ADDRESS"].startswith("localhost:")
        assert each.log == RunFolder(tmp_path).simulators / f"{each.name}.log"


async def test_what_is_launched_for_it_is_told_of_it_alone_and_is_not_needed(
    tmp_path: Path,
) -> None:
    made = side(tmp_path, ServerConfig(address="localhost:0", websocket="localhost:0"))
    launcher = Noted()
    await made.start(launcher)
    try:
        first, second = launcher.added
        assert (first.name, second.name) == ("judge-0", "judge-1")
        address = first.variables["ENTRAIN_ADDRESS"]
        assert first.command == ("judge", address)
        assert first.variables["ENTRAIN_WEBSOCKET"].startswith("ws://localhost:")
        assert not first.is_needed
    finally:
        await made.stop(Ending.COMPLETED, "the run is complete")
