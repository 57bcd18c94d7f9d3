"""`entrain play`: the trained policy acts in one copy of its simulators, which record it."""

import os
import re
import shlex
import sys
from pathlib import Path

import pytest
from PIL import Image

from entrain import cli
from entrain.app import commands, playing, sittings
from entrain.app.evaluation_options import EvaluationOptions, PlayOptions
from entrain.app.training import TrainingRun
from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.errors import ConfigError, NoSimulatorError
from entrain.run import report
from entrain.run.folder import RunFolder
from entrain.run.summary import RunSummary

pytestmark = pytest.mark.skipif(os.name != "posix", reason="groups of processes")

ROOT = Path(__file__).parents[2]
BALL = f"{sys.executable} -m entrain_envs balance-ball --count 3"

CONFIG = """
runs_directory: {folder}/runs
server: {{address: "localhost:0"}}
simulators: {{launch: [{{command: "{command}", count: 2}}]}}
policies: {{ball: {{total_steps: 300, rollout_steps: 300, network: {{hidden_sizes: [4]}}}}}}
"""

ONE = EvaluationOptions(episodes=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A policy that two simulators of three balls trained for an update, with its report."""
    folder = tmp_path_factory.mktemp("ball")
    path = folder / "ball.yaml"
    path.write_text(CONFIG.format(folder=folder, command=BALL))

    def write_summary(run_folder: RunFolder, run: TrainingRun, outcome: str, **_: object) -> None:
        assert outcome == "completed"
        run.summary("completed").save(run_folder.summary)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sittings, "write_results", write_summary)
        assert commands.train(load_config(path, [])) == 0
    return RunFolder(folder / "runs" / "run")


def num_pictures(path: Path) -> int:
    with Image.open(path) as image:
        return int(getattr(image, "n_frames", 1))


def commands_of_make_demo() -> list[list[str]]:
    """The words behind `entrain` of each command of the Makefile's target, of a run named run."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = makefile.partition("\ndemo: ")[2].partition("\n\n")[0].replace("\\\n", " ")
    recipe = recipe.replace("$(DEMO)", "run").replace("$(HTTP)", "localhost:0")
    lines = [shlex.split(line) for line in recipe.splitlines()[1:]]
    assert all(words[0] == "$(BIN)/entrain" for words in lines)
    return [words[1:] for words in lines]


@pytest.mark.usefixtures("logging_as_before")
def test_make_demo_trains_and_then_records_the_same_run_before_and_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained: list[RunConfig] = []
    played: list[tuple[object, ...]] = []

    def train(config: RunConfig, **_: object) -> int:
        trained.append(config)
        return 0

    def play(*words: object, **_: object) -> int:
        played.append(words)
        return 0

    monkeypatch.setattr(commands, "train", train)
    monkeypatch.setattr(playing, "play", play)
    monkeypatch.chdir(ROOT)
    for words in commands_of_make_demo():
        assert cli.main(words) == 0
    (config,) = trained
    assert (config.name, config.http.address) == ("run", "localhost:0")
    folder = Path("runs/run")
    before = PlayOptions(record=folder / "recordings" / "before.gif", untrained=True)
    after = PlayOptions(record=folder / "recordings" / "after.gif")
    assert played == [
        (folder, [], EvaluationOptions(episodes=1, deterministic=False), before),
        (folder, [], ONE, after),
    ]


@pytest.mark.usefixtures("logging_as_before")
def test_make_demo_ends_with_one_copy_recorded_the_report_that_shows_it_and_what_is_next(
    run: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "draw_plots", lambda series: [])  # slow, and tested elsewhere
    monkeypatch.chdir(run.path.parents[1])
    assert cli.main(commands_of_make_demo()[-1]) == 0
    told = capsys.readouterr().out
    assert "over 1 episode\n" in told, "one copy of the three, of one simulator of the two"
    length = int(float(told.partition("length ")[2].partition(",")[0]))
    assert num_pictures(run.recordings / "after.gif") == length + 1
    assert "; when training began, it lasted " in told
    *_, recorded, shown, following = told.splitlines()
    picture = r"recorded runs/run/recordings/after\.gif \([\d,]+ KiB\): open it in a browser"
    assert re.fullmatch(picture, recorded)
    assert shown == "shown in runs/run/report.html, too"
    assert following == "next, returns over many episodes: entrain evaluate runs/run"
    page = run.report.read_text(encoding="utf-8")
    assert 'src="data:image/gif;base64,' in page
    assert 'href="recordings/after.gif"' in page
    assert RunSummary.load(run.summary).outcome == "completed"


def test_it_ends_at_its_limit_with_a_whole_recording(run: RunFolder, tmp_path: Path) -> None:
    gif = tmp_path / "short.gif"
    options = EvaluationOptions(episodes=5, max_steps=7)
    assert playing.play(run.path, [], options, PlayOptions(record=gif, speed=5.0)) == 0
    # The simulator may make a step or two more before it hears that the play is over.
    assert 7 + 1 <= num_pictures(gif) <= 7 + 4
    with Image.open(gif) as image:
        assert image.info["duration"] == 200


def test_a_simulator_that_does_not_record_is_named_with_what_it_must_do(
    run: RunFolder, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign.py"
    foreign.write_text(
        "import os, runpy, sys\n"
        "del os.environ['ENTRAIN_RECORD']\n"
        "sys.argv = ['entrain-env', 'balance-ball', '--count', '1']\n"
        "runpy.run_module('entrain_envs', run_name='__main__')\n"
    )
    old = tmp_path / "old.gif"
    old.write_bytes(b"of another day")
    with pytest.raises(ConfigError, match=r"simulator-0 wrote no .*old\.gif: .* ENTRAIN_RECORD"):
        playing.play(
            run.path,
            [],
            EvaluationOptions(episodes=1, max_steps=5),
            PlayOptions(record=old, launch=f"{sys.executable} {foreign}"),
        )


def test_a_recording_that_the_simulator_refuses_ends_the_play_with_its_words(
    run: RunFolder, tmp_path: Path
) -> None:
    with pytest.raises(NoSimulatorError, match=r"must end with \.gif or \.html"):
        playing.play(run.path, [], ONE, PlayOptions(record=tmp_path / "ball.mp4"))


def test_what_cannot_be_played_is_refused_before_anything_starts(
    run: RunFolder, tmp_path: Path
) -> None:
    gif = tmp_path / "a.gif"
    nobody = ["simulators.launch=[]"]
    with pytest.raises(ConfigError, match="launches no simulator that could be told to record"):
        playing.play(run.path, nobody, ONE, PlayOptions(record=gif))
    with pytest.raises(ConfigError, match="is no folder; make it first"):
        playing.play(run.path, [], ONE, PlayOptions(record=tmp_path / "no" / "a.gif"))
    with pytest.raises(ConfigError, match=r"no policy 'bal' \(it has: ball\); did you mean 'ball'"):
        playing.play(run.path, [], EvaluationOptions(behaviour="bal"), PlayOptions())
    with pytest.raises(ConfigError, match=r"--launch .* is no command"):
        playing.play(run.path, [], ONE, PlayOptions(launch="'open"))
