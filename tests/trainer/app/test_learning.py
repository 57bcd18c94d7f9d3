"""`entrain learn`: which run it begins, goes on with or refuses, and how arguments are read."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from entrain.app import commands, sittings
from entrain.app.evaluation_options import EvaluationOptions
from entrain.app.training_result import TrainingResult
from entrain.cli import main
from entrain.config.load import load_config, to_yaml
from entrain.config.run import RunConfig
from entrain.run.folder import RunFolder

pytestmark = pytest.mark.usefixtures("logging_as_before")

STOCK_RUN = Path(__file__).parents[2] / "cases" / "stock_run"


class Calls:
    """Stands in for training and evaluation, and remembers what was asked for."""

    def __init__(self) -> None:
        self.trained: list[tuple[Path, RunConfig, bool]] = []
        self.others: dict[str, Any] = {}
        self.evaluated: list[tuple[Path, list[str], EvaluationOptions]] = []

    def train_in(
        self, folder: RunFolder, config: RunConfig, lock: Any, *, restored: Any, **others: Any
    ) -> TrainingResult:
        self.trained.append((folder.path, config, restored is not None))
        self.others = others
        folder.write_config(to_yaml(config))
        return TrainingResult(
            run=folder.path, outcome="completed", exit_code=0, env_steps=0, seconds=0.0, policies={}
        )

    def evaluate(self, run: Path, overrides: list[str], options: EvaluationOptions) -> int:
        self.evaluated.append((run, overrides, options))
        return 0


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Calls:
    found = Calls()
    monkeypatch.setattr(sittings, "train_in", found.train_in)
    monkeypatch.setattr(commands, "evaluate", found.evaluate)
    monkeypatch.setattr(
        "entrain.run.checkpoint.CheckpointStore.load_newest",
        lambda _: type("Loaded", (), {"path": "newest"}),
    )
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text("behaviors: {Walker: {trainer_type: ppo}}")
    return found


def test_the_command_of_mlagents_learn_trains_in_the_folder_of_the_run_id(calls: Calls) -> None:
    arguments = "learn config.yaml --env=Build.x86_64 --run-id=walker --num-envs=4 --seed=3"
    assert main([*arguments.split(), "--env-args", "--level", "3", "--seed=9"]) == 0
    ((folder, config, restored),) = calls.trained
    assert (folder, restored) == (Path("results/walker"), False)
    assert (config.seed, list(config.policies)) == (3, ["Walker"])
    assert config.unity is not None and config.unity.launch is not None
    assert (config.unity.games, config.unity.port) == (4, 5005)
    assert config.unity.launch.arguments == ("--level", "3", "--seed=9")
    assert calls.others["words"].resume.endswith(" --run-id=walker --resume")


def test_messages_say_what_to_change_in_a_file_of_mlagents_learn(calls: Calls) -> None:
    assert main(["learn", "config.yaml", "--results-dir=r"]) == 0
    words = calls.others["words"]
    assert words.another_policy("Odd") == "add behaviors.Odd or default_settings to config.yaml"
    assert (
        words.train_on == "raise max_steps in config.yaml, and give the same command with --resume"
    )
    assert words.resume.endswith(" --run-id=ppo --results-dir=r --resume")


def test_every_flag_sets_its_key(calls: Calls) -> None:
    given = """--env=B --run-id=x --results-dir=r --seed=1 --base-port=6000 --num-envs=2
    --num-areas=3 --timeout-wait=4 --max-lifetime-restarts=5 --restarts-rate-limit-n=6
    --restarts-rate-limit-period-s=7 --torch-device=cpu --width=8 --height=9 --quality-level=1
    --time-scale=2.5 --target-frame-rate=30 --capture-frame-rate=0 --no-graphics
    --no-graphics-monitor --debug --force"""
    assert main(["learn", "config.yaml", *given.split()]) == 0
    ((folder, config, _),) = calls.trained
    assert folder == Path("r/x")
    assert (config.seed, config.device) == (1, "cpu")
    assert config.unity is not None
    assert config.unity.model_dump(mode="json") == {
        "host": "localhost",
        "port": 6000,
        "games": 2,
        "timeout_s": 4.0,
        "num_areas": 3,
        "native": False,
        "engine": {
            "width": 8,
            "height": 9,
            "quality_level": 1,
            "time_scale": 2.5,
            "target_frame_rate": 30,
            "capture_frame_rate": 0,
        },
        "launch": {
            "path": "B",
            "arguments": [],
            "no_graphics": True,
            "no_graphics_monitor": True,
            "max_lifetime_restarts": 5,
            "restarts_rate_limit": 6,
            "restarts_period_s": 7.0,
        },
    }


def test_flags_of_our_own_set_the_editors_port_the_longest_message_and_the_page(
    calls: Calls,
) -> None:
    flags = ["--editor-port=5010", "--receive-mib=512", "--http=localhost:8080"]
    assert main(["learn", "config.yaml", *flags]) == 0
    config = calls.trained[0][1]
    assert config.unity is not None
    assert (config.unity.port, config.server.max_message_mib) == (5010, 512.0)
    assert config.http.address == "localhost:8080"
    assert main(["learn", "config.yaml", "--resume", *flags]) == 0
    assert calls.trained[1][1] == config
    assert main(["learn", "config.yaml", "--inference", "--resume", "--editor-port=5011"]) == 0
    acting = load_config(Path("results/ppo/config.yaml"), calls.evaluated[0][1])
    assert acting.unity is not None
    assert (acting.unity.port, acting.server.max_message_mib) == (5011, 512.0)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--env=B", "--editor-port=5010"], "which dials --base-port; leave one of the two out"),
        (["--editor-port=70000"], "--editor-port: unity.port is 70000; it must be an integer"),
        (["--receive-mib=0"], "--receive-mib: server.max_message_mib is 0"),
        (["--http=8080"], "--http: http.address is '8080'; it must be HOST:PORT"),
    ],
)
def test_flags_of_our_own_that_make_no_sense_are_refused(
    flags: list[str], words: str, calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["learn", "config.yaml", *flags]) == 2
    assert words in capsys.readouterr().err
    assert not calls.trained


def test_a_port_for_builds_has_no_effect_on_the_editor_and_that_is_said(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["learn", "config.yaml", "--base-port=6000"]) == 0
    config = calls.trained[0][1]
    assert config.unity is not None and config.unity.port == 5004
    assert "--base-port has no effect without --env: the Editor dials 5004" in (
        capsys.readouterr().err
    )


def test_a_run_that_is_there_is_neither_overwritten_nor_mixed_up(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["learn", "config.yaml", "--resume"]) == 2
    assert "there is no run of entrain in results/ppo to resume" in capsys.readouterr().err
    assert main(["learn", "config.yaml"]) == 0
    old = Path("results/ppo/metrics.csv")
    old.write_text("old")
    assert main(["learn", "config.yaml"]) == 2
    assert capsys.readouterr().err.endswith(
        "entrain: results/ppo holds an earlier run; go on with it with --resume, overwrite it with "
        "--force, or give another --run-id\n"
    )
    Path("results/ppo/mine.txt").write_text("the user's own")
    assert main(["learn", "config.yaml", "--force"]) == 0
    assert "--force: the run that was in results/ppo is removed\n" in capsys.readouterr().err
    assert not old.exists()
    assert Path("results/ppo/mine.txt").exists()
    assert [restored for *_, restored in calls.trained] == [False, False]


def test_force_says_what_becomes_of_a_run_of_mlagents_learn_and_nothing_of_an_empty_folder(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("results/empty").mkdir(parents=True)
    assert main(["learn", "config.yaml", "--run-id=empty", "--force"]) == 0
    assert "--force" not in capsys.readouterr().err
    shutil.copytree(STOCK_RUN, "results/stock")
    assert main(["learn", "config.yaml", "--run-id=stock", "--force"]) == 0
    said = capsys.readouterr().err
    assert "--force: models and curves that are in results/stock are removed where" in said


def test_a_run_of_games_writes_no_models_that_no_game_loads(calls: Calls) -> None:
    assert main(["learn", "config.yaml"]) == 0
    assert calls.others["exports"] is False


def test_resume_goes_on_with_the_settings_of_now_and_the_seed_of_then(calls: Calls) -> None:
    assert main(["learn", "config.yaml", "--seed=42"]) == 0
    Path("config.yaml").write_text("behaviors: {Walker: {max_steps: 7}}")
    assert main(["learn", "config.yaml", "--load"]) == 0
    _, (folder, config, restored) = calls.trained
    assert (folder, restored, config.seed) == (Path("results/ppo"), True, 42)
    assert config.policies["Walker"].total_steps == 7
    assert load_config(folder / "config.yaml", []) == config


def test_nothing_is_removed_if_the_weights_to_begin_with_are_not_there_or_go_with_it(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["learn", "config.yaml", "--run-id=old"]) == 0
    kept = Path("results/old/metrics.csv")
    kept.write_text("old")
    force = ["learn", "config.yaml", "--run-id=old", "--force"]
    assert main([*force, "--initialize-from=older"]) == 2
    assert "results/older, which is neither the folder of a run" in capsys.readouterr().err
    shutil.copytree(STOCK_RUN / "3DBall", "results/old/Walker")
    assert main([*force, "--initialize-from=old"]) == 2
    assert "results/old is overwritten by the run that would begin" in capsys.readouterr().err
    assert kept.read_text() == "old"
    assert len(calls.trained) == 1


def test_resume_goes_on_with_what_mlagents_learn_left_until_there_is_a_checkpoint(
    calls: Calls,
) -> None:
    shutil.copytree(STOCK_RUN / "3DBall", "results/ppo/Walker")
    for has_checkpoint in (False, False, True):
        if has_checkpoint:
            Path("results/ppo/checkpoints/0001-step-5").mkdir()
        assert main(["learn", "config.yaml", "--resume"]) == 0
        _, config, restored = calls.trained[-1]
        assert restored is has_checkpoint
        options = config.policies["Walker"]
        assert options.initial_progress
        assert options.initial_weights == Path("results/ppo")


def test_resume_without_our_checkpoints_says_what_is_lost(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(STOCK_RUN / "3DBall", "results/ppo/Walker")
    resume = ["learn", "config.yaml", "--resume"]
    assert main(resume) == 0
    assert "going on from what mlagents-learn left in results/ppo" in capsys.readouterr().err
    status = Path("results/ppo/run_logs/training_status.json")
    status.parent.mkdir()
    status.write_text('{"metadata": {"entrain_version": "0.2.0"}}')
    assert main(resume) == 0
    told = capsys.readouterr().err
    assert "results/ppo has no checkpoint of entrain any more" in told
    assert "What was collected and not learned from is lost" in told
    assert "what mlagents-learn left" not in told


def test_inference_first_makes_a_checkpoint_of_what_mlagents_learn_left(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(STOCK_RUN / "3DBall", "results/ppo/Walker")
    assert main(["learn", "config.yaml", "--resume", "--inference"]) == 0
    ((folder, config, restored),) = calls.trained
    assert (folder, restored) == (Path("results/ppo"), False)
    # It has its total steps as soon as the game has joined.
    options = config.policies["Walker"]
    assert (options.total_steps, options.initial_progress) == (1, True)
    assert "the game is ended once it has joined, and then started again" in capsys.readouterr().err
    ((acts, _, _),) = calls.evaluated
    assert acts == Path("results/ppo")


def test_weights_to_begin_with_count_until_a_game_has_joined(calls: Calls) -> None:
    shutil.copytree(STOCK_RUN / "3DBall", "results/ppo/Walker")
    assert main(["learn", "config.yaml", "--resume"]) == 0
    # It was stopped before: there is a checkpoint, and no policy in it.
    Path("results/ppo/checkpoints/0001-step-0").mkdir()
    assert main(["learn", "config.yaml", "--resume"]) == 0
    _, config, restored = calls.trained[-1]
    assert restored
    options = config.policies["Walker"]
    assert (options.initial_weights, options.initial_progress) == (Path("results/ppo"), True)


def test_inference_acts_until_it_is_stopped(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["learn", "config.yaml", "--inference"]) == 2
    assert "add --resume" in capsys.readouterr().err
    assert main(["learn", "config.yaml"]) == 0
    assert main(["learn", "config.yaml", "--inference", "--resume", "--deterministic"]) == 0
    ((folder, overrides, options),) = calls.evaluated
    assert folder == Path("results/ppo")
    assert options.deterministic
    assert load_config(folder / "config.yaml", overrides).unity is not None


def test_flags_may_be_cut_short_and_old_ones_are_named(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    old = ["--torch", "--tensorflow", "--train"]
    assert main(["learn", "config.yaml", "--run=5", "--determ", *old]) == 0
    errors = capsys.readouterr().err
    for flag in (*old, "--deterministic"):
        assert f"{flag} has no effect" in errors
    assert calls.trained[0][0] == Path("results/5")
    assert main(["learn", "config.yaml", "--tourch"]) == 2
    assert main(["learn", "--help"]) == 0
    assert "--max-lifetime-restarts" in capsys.readouterr().out


def test_the_editor_is_one_game(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "config.yaml", "--num-envs=2"]) == 2
    assert "name a build with --env, or leave --num-envs out" in capsys.readouterr().err
    Path("config.yaml").write_text("behaviors: {A: {}}\nenv_settings: {num_envs: 8}")
    assert main(["learn", "config.yaml"]) == 0
    config = calls.trained[0][1]
    assert config.unity is not None
    assert config.unity.games == 1
    assert "num_envs is 8 and no game is named" in capsys.readouterr().err


def test_nothing_is_made_for_settings_that_are_refused(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("config.yaml").write_text("behaviors: {A: {trainer_type: poca}, B: {self_play: {}}}")
    assert main(["learn", "config.yaml"]) == 2
    assert "not yet in entrain: trainer_type poca (behaviors.A); self_play" in (
        capsys.readouterr().err
    )
    assert not Path("results").exists()
    assert not calls.trained


def test_without_a_file_every_behaviour_gets_the_defaults(calls: Calls) -> None:
    assert main(["learn"]) == 0
    assert list(calls.trained[0][1].policies) == ["*"]


def test_ranks_of_torchrun_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "h",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    settings = tmp_path / "walker.yaml"
    settings.write_text("behaviors: {Walker: {trainer_type: ppo}}")
    assert main(["learn", str(settings)]) == 2
    assert "entrain learn is for one rank, and this is rank 0 of 2" in capsys.readouterr().err
