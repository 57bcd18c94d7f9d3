"""A network that cannot be is said to who can mend it: to the user at once, or to the simulator."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from entrain.app import commands
from entrain.app.launcher import Launcher
from entrain.app.training import TrainingRun
from entrain.config.run import RunConfig
from entrain.errors import ConfigError, NoSimulatorError
from entrain.run.folder import RunFolder
from entrain.run.log_display import LogDisplay
from entrain_envs.client import TrainerClient
from entrain_envs.errors import RefusedError
from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from live_run import config_from, simulators, train

CONFIG = """
runs_directory: {folder}/runs
server: {{address: "unix:{folder}/s"}}
simulators: {simulators}
policies:
  ball:
    total_steps: 1000000
    network: {{hidden_sizes: [8]}}
    rollout_steps: 100
    algorithm: {{minibatch_size: 50, num_epochs: 1}}
  "*":
    network: {network}
"""

SOUND = (ObservationSpec("body", (3,)),)
SMALL = (ObservationSpec("camera", (10, 10, 3), "uint8"),)
SIMPLE = "{image_encoder: simple}"
CUSTOM = f"{{custom: '{__name__}:Misfit'}}"


class Misfit(nn.Module):
    """Gives another number of features than it says."""

    def __init__(self, observations: dict[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.feature_size = 2
        self.names = tuple(observations)

    def forward(self, observation: dict[str, Tensor]) -> Tensor:
        """[rows, 1] instead of [rows, 2]."""
        return observation[self.names[0]].flatten(1)[:, :1]


def a_config(folder: Path, *, network: str = SIMPLE, simulators: str = "{}") -> RunConfig:
    return config_from(CONFIG.format(folder=folder, network=network, simulators=simulators), folder)


def cube(observations: Sequence[ObservationSpec], name: str = "cube") -> BehaviourSpec:
    return BehaviourSpec(name, tuple(observations), ActionSpec((-1.0,), (1.0,)))


def refusal_of(address: str, *specs: BehaviourSpec) -> str:
    """What a simulator named late is told when it says Hello."""
    client = TrainerClient(address, specs, simulator="late", connect_s=20.0)
    with pytest.raises(RefusedError) as refused:
        client.connect()
    return str(refused.value)


@pytest.mark.parametrize(
    ("observations", "network", "words"),
    [
        (
            SMALL,
            SIMPLE,
            "image 'camera' is 10 x 10 (height x width); image_encoder simple needs",
        ),
        ((ObservationSpec("order", (4,), kind="goal"),), "{}", "add one, or choose concatenate"),
        (
            (ObservationSpec("previous_action", (3,)),),
            "{previous_action: true}",
            "rename it in the simulator, or set network.previous_action: false",
        ),
        (
            SOUND,
            CUSTOM,
            "Misfit gives torch.float32[1, 1] for 1 rows; expected torch.float32[1, 2]",
        ),
    ],
)
async def test_a_simulator_whose_network_cannot_be_is_told_why_and_the_run_goes_on(
    tmp_path: Path,
    observations: Sequence[ObservationSpec],
    network: str,
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = a_config(tmp_path, network=network)
    coming: list[asyncio.Task[tuple[str, int]]] = []

    async def come_late(run: TrainingRun) -> tuple[str, int]:
        told = await asyncio.to_thread(refusal_of, config.server.address, cube(observations))
        return told, run.env_steps

    def has_gone_on(run: TrainingRun) -> bool:
        if run.env_steps > 100 and not coming:
            coming.append(asyncio.create_task(come_late(run)))
        if not coming or not coming[0].done():
            return False
        return coming[0].exception() is not None or run.env_steps > coming[0].result()[1] + 200

    with simulators(config.server.address, {"sound": BalanceBall(count=2)}, reconnect_s=0.0):
        outcome, run = await train(
            config, RunFolder.create(tmp_path / "runs", "run"), stop_at=has_gone_on
        )
    told, _ = coming[0].result()
    assert outcome == "stopped"
    for part in ("INVALID_ARGUMENT", "late@", "cannot be given a policy", "'cube'", words):
        assert part in told
    assert list(run.trainers) == list(run.policies) == ["ball"]
    assert run.summary(outcome).counters["sessions_refused"] == 1
    assert "refused: late@" in caplog.text


def begun(config: RunConfig, folder: Path, name: str) -> TrainingRun:
    return TrainingRun(
        config,
        RunFolder.create(folder / "runs", name),
        LogDisplay(),
        launcher=lambda _: Launcher([], environment={}),
    )


def test_of_several_behaviours_all_get_a_policy_or_none(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    run = begun(config, tmp_path, "run")
    sound, small = cube(SOUND, "sound"), cube(SMALL, "small")
    with pytest.raises(ConfigError, match=r"^behaviour 'small': image 'camera' is 10 x 10"):
        run._trainers.make_all([sound, small])
    assert not run.trainers
    assert not run.policies
    run._trainers.make_all([sound])
    trainer = run.trainers["sound"]
    with pytest.raises(ConfigError):
        run._trainers.make_all([cube(SOUND, "another"), small])
    assert run.trainers == {"sound": trainer}


def test_who_was_refused_changes_no_weight_of_who_comes_after(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    runs = [begun(config, tmp_path, name) for name in ("disturbed", "quiet")]
    runs[0]._trainers.make_all([cube(SOUND, "first")])
    runs[1]._trainers.make_all([cube(SOUND, "first")])
    with pytest.raises(ConfigError):
        runs[0]._trainers.make_all([cube(SOUND, "other"), cube(SMALL)])
    for run in runs:
        run._trainers.make_all([cube(SOUND)])
    disturbed, quiet = (run.policies["cube"].state_dict() for run in runs)
    for name, tensor in quiet.items():
        np.testing.assert_array_equal(disturbed[name], tensor)


async def test_a_refused_simulator_may_come_back_mended(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    address = config.server.address

    async def come_twice() -> str:
        told = await asyncio.to_thread(refusal_of, address, cube(SMALL))
        client = TrainerClient(address, [cube(SOUND)], simulator="late")
        await asyncio.to_thread(client.connect)
        await asyncio.to_thread(client.close)
        return told

    coming = asyncio.create_task(come_twice())
    outcome, run = await train(
        config, RunFolder.create(tmp_path / "runs", "run"), stop_at=lambda _: coming.done()
    )
    assert outcome == "stopped"
    assert "is 10 x 10" in coming.result()
    assert list(run.trainers) == ["cube"]


def test_a_launched_simulator_whose_network_cannot_be_ends_the_run_with_those_words(
    tmp_path: Path,
) -> None:
    launch = '{launch: [{name: game, command: "entrain-env balance-ball"}]}'
    config = a_config(tmp_path, network=CUSTOM, simulators=launch)
    only_custom = config.model_copy(update={"policies": {"*": config.policies["*"]}})
    began_s = time.monotonic()
    with pytest.raises(NoSimulatorError) as raised:
        commands.train(only_custom)
    # Starting it again and again would take 31 s of pauses alone.
    assert time.monotonic() - began_s < 25.0
    assert raised.value.exit_code == 5
    words = str(raised.value)
    assert words.startswith("every simulator that this run launched was refused")
    for part in ("game-0@", "behaviour 'ball'", "Misfit gives torch.float32[1, 1]"):
        assert part in words


def test_an_external_simulator_that_is_refused_is_warned_of_and_others_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = a_config(tmp_path, simulators="{wait_s: 2.0}")

    async def refused_meanwhile() -> str:
        return await asyncio.to_thread(refusal_of, config.server.address, cube(SMALL))

    async def train_and_be_refused() -> None:
        coming = asyncio.create_task(refused_meanwhile())
        try:
            await train(config, RunFolder.create(tmp_path / "runs", "run"))
        finally:
            assert "is 10 x 10" in await coming

    with pytest.raises(NoSimulatorError, match=r"for 2 s .* Refused: late@.* is 10 x 10"):
        asyncio.run(train_and_be_refused())
    (record,) = [each for each in caplog.records if "refused: late@" in each.getMessage()]
    assert record.levelname == "WARNING"


@pytest.mark.parametrize(
    ("custom", "words"),
    [
        ("nosuch.module:Tower", "nosuch.module cannot be imported: ModuleNotFoundError"),
        (f"{__name__}:Towr", "has no torch.nn.Module 'Towr' .it has: Misfit"),
    ],
)
def test_a_network_that_is_not_there_is_told_before_anything_is_started(
    tmp_path: Path, custom: str, words: str
) -> None:
    started = tmp_path / "started"
    launch = f"{{launch: [{{command: [sh, -c, 'echo here | tee {started}']}}]}}"
    config = a_config(tmp_path, network=f"{{custom: '{custom}'}}", simulators=launch)
    with pytest.raises(ConfigError, match=words) as raised:
        commands.train(config)
    assert raised.value.exit_code == 2
    assert list((tmp_path / "runs").iterdir()) == []
    assert not started.exists()
    assert not (tmp_path / "s").exists()


def test_a_device_that_is_not_there_is_told_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = a_config(tmp_path).model_copy(update={"device": "cuda"})
    with pytest.raises(ConfigError, match=r"device is cuda, and torch .* finds no GPU; set device"):
        commands.train(config)
    assert list((tmp_path / "runs").iterdir()) == []
