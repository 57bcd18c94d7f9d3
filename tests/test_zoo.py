"""The zoo: its settings load and are measured, and its page shows what was measured."""

import re
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from benchmarks import runs, zoo, zoo_results
from benchmarks.runs import FinishedRun
from benchmarks.zoo_picture import SOURCE, draw
from benchmarks.zoo_results import Result
from benchmarks.zoo_settings import ZOO, Setting, all_settings, chosen
from PIL import Image

from entrain.config.load import load_config
from entrain_envs.command_line import parser
from entrain_envs.making import make_groups

SETTINGS = {setting.name: setting for setting in all_settings()}
RESULTS = zoo_results.load(ZOO / "results.json")
EACH = pytest.mark.parametrize("name", SETTINGS)

HILL = """\
# A hill.
# Solved: a return of -1,110.5 (its own threshold)
policies:
  Hill-v0: {total_steps: 1_000}
"""


@EACH
def test_a_setting_names_the_bar_of_its_environment(name: str) -> None:
    setting = SETTINGS[name]
    if setting.source.startswith("our own"):
        return
    assert setting.source == "Gymnasium's reward_threshold"
    registered = gymnasium.registry.get(setting.environment)
    assert registered is not None
    assert setting.bar == registered.reward_threshold


@EACH
def test_a_setting_launches_simulators_of_the_environment_that_its_policy_is_named_after(
    name: str,
) -> None:
    setting = SETTINGS[name]
    config = load_config(setting.config, ())
    assert config.name == name
    (launched,) = config.simulators.launch
    assert isinstance(launched.command, str)
    command, *words = shlex.split(launched.command)
    assert command == "entrain-env"
    for package, environments in (("Box2D", "Lunar|Bipedal"), ("minigrid", "MiniGrid")):
        if re.match(environments, setting.environment):
            pytest.importorskip(package, reason="pip install './envs[box2d,minigrid]'")
    (environment,) = make_groups(parser().parse_args([*words, "--connect", "localhost:1"]))
    assert [spec.name for spec in environment.behaviours] == [setting.environment]
    environment.close()


@EACH
def test_a_setting_was_measured_with_the_options_that_it_has(name: str) -> None:
    measured = [result for result in RESULTS if result.setting == name]
    assert measured
    for result in measured:
        again = f"its options have changed: make zoo ONLY={name}"
        assert result.digest == SETTINGS[name].digest, again
        assert result.episodes >= 20
        # The update that reaches the total may overshoot it by a batch.
        assert 0 <= result.env_steps - SETTINGS[name].total_steps < 100


def test_every_result_is_of_a_setting_that_there_is() -> None:
    assert {result.setting for result in RESULTS} <= set(SETTINGS)


def test_the_page_of_the_zoo_has_the_table_and_the_picture_of_the_results() -> None:
    page = (ZOO / "README.md").read_text(encoding="utf-8")
    table = zoo_results.table(list(SETTINGS.values()), RESULTS)
    assert zoo_results.with_table(page, table) == page, "python -m benchmarks.zoo --render"
    for setting in SETTINGS.values():
        assert f"({setting.config.name})" in table
        assert f"## {setting.name}\n" in page.replace("`", ""), "what it shows, and why its options"
    with Image.open(ZOO / "curves.png") as picture:
        assert picture.info[SOURCE] == zoo_results.digest(RESULTS)


def made(name: str = "hill", *, seed: int = 1, return_mean: float = 1.0, **other: Any) -> Result:
    fields: dict[str, Any] = {
        "setting": name,
        "seed": seed,
        "digest": "d",
        "return_mean": return_mean,
        "return_std": 1.0,
        "episodes": 20,
        "env_steps": 1000,
        "processor_s": 30.0,
        "date": "2026-11-29",
        "machine": "2 x Test",
        "curve": ((500.0, 0.5), (1000.0, 1.0)),
    }
    return Result(**{**fields, **other})


def hill(folder: Path, text: str = HILL, name: str = "hill") -> Setting:
    config = folder / f"{name}.yaml"
    config.write_text(text, encoding="utf-8")
    return Setting.load(config)


def test_a_line_of_the_table_by_hand(tmp_path: Path) -> None:
    setting = hill(tmp_path)
    # Mean (-1100 - 1120) / 2 = -1110; deviation sqrt(10^2 + 10^2) = 14.1; time (30 + 90) / 2 s.
    results = [
        made(return_mean=-1100.0),
        made(seed=2, return_mean=-1120.0, processor_s=90.0, date="2026-11-30"),
    ]
    _, _, line, _, machine = zoo_results.table([setting], results).splitlines()
    assert line == (
        "| [hill](hill.yaml) | Hill-v0 | PPO | 1,000 | 2 | -1,110.0 +- 14.1 "
        "| -1,110.5, its own threshold | reached | 1.0 min | 2026-11-30 |"
    )
    assert machine == "Machine: 2 x Test."
    assert "| missed |" in zoo_results.table([setting], [made(return_mean=-1110.6)])
    assert "| not measured yet |" in zoo_results.table([setting], [])


def test_the_options_of_a_setting_count_and_its_comments_do_not(tmp_path: Path) -> None:
    before = hill(tmp_path)
    assert (before.bar, before.total_steps) == (-1110.5, 1000)
    assert hill(tmp_path, HILL + "# More.\n").digest == before.digest
    after = hill(tmp_path, HILL.replace("1_000", "2_000"))
    assert after.digest != before.digest
    results = [made(digest=before.digest), made(seed=2, digest=after.digest), made("gone")]
    assert zoo_results.current(results, [after]) == results[1:2]


def test_a_file_without_a_bar_is_no_setting(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 policies and 0 lines '# Solved: a return of NUMBER"):
        hill(tmp_path, HILL.replace("Solved", "solved"))
    with pytest.raises(ValueError, match="the zoo has no 'hil'; it has: hill"):
        chosen([hill(tmp_path)], ["hil"])
    with pytest.raises(ValueError, match="one line <!-- results -->"):
        zoo_results.with_table("nothing", "")


def test_a_curve_is_the_mean_over_the_episodes_of_each_span() -> None:
    rows = [
        row(10, 1.0, episodes=1),
        row(50, 4.0, episodes=2),  # the first of two spans: (1 * 1 + 2 * 4) / 3 = 3
        {"env_steps": "60", "rollout/episode_return_mean": "", "rollout/episodes": "0"},
        row(100, 7.0, episodes=5),
    ]
    run = FinishedRun(Path(), rows, {})
    assert zoo_results.curve(run, points=2) == ((50, 3.0), (100, 7.0))
    # Of four spans, the second ends at 50; no episode ended in the third.
    assert zoo_results.curve(run, points=4) == ((25, 1.0), (50, 4.0), (100, 7.0))


def row(steps: int, mean: float, *, episodes: int) -> dict[str, str]:
    return {
        "env_steps": str(steps),
        "rollout/episode_return_mean": str(mean),
        "rollout/episodes": str(episodes),
    }


def test_what_was_written_is_what_is_read(tmp_path: Path) -> None:
    setting = hill(tmp_path)
    results = [made("hill", seed=seed, digest=setting.digest) for seed in (2, 1)]
    for result in results:
        zoo_results.add(result, tmp_path / "results.json")
    assert zoo_results.load(tmp_path / "results.json") == results[::-1]
    assert zoo_results.digest(results) != zoo_results.digest([replace(results[0], seed=3)])


def test_a_result_replaces_one_of_its_seed_and_of_a_file_as_it_was(tmp_path: Path) -> None:
    file, old = tmp_path / "results.json", hill(tmp_path)
    zoo_results.add(made("hill", digest=old.digest), file)
    zoo_results.add(made("hill", digest=old.digest, return_mean=2.0), file)
    assert [each.return_mean for each in zoo_results.load(file)] == [2.0]
    new = hill(tmp_path, HILL.replace("1_000", "2_000"))
    zoo_results.add(made("hill", seed=2, digest=new.digest), file)
    assert [each.seed for each in zoo_results.load(file)] == [2]


def test_of_results_that_come_at_the_same_time_none_is_lost(tmp_path: Path) -> None:
    setting = hill(tmp_path)

    def add(seed: int) -> None:
        result = made("hill", seed=seed, digest=setting.digest)
        zoo_results.add(result, tmp_path / "results.json")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    kept = zoo_results.load(tmp_path / "results.json")
    assert [each.seed for each in kept] == list(range(40))


def test_the_command_measures_what_is_missing_and_goes_on_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hill(tmp_path)
    hill(tmp_path, HILL.replace("1_000", "500"), name="dune")
    (tmp_path / "README.md").write_text(f"# Zoo\n{zoo_results.BEGIN}{zoo_results.END}")
    trained: list[str] = []
    drawn: list[int] = []

    def train(config: Path, folder: Path, *settings: str) -> FinishedRun:
        name = f"{config.stem} {settings[-1]}"
        trained.append(name)
        if len(trained) == 2:
            other = made("hill", seed=9, digest=Setting.load(config).digest)
            zoo_results.add(other, tmp_path / "results.json")
        if len(trained) == 3:
            raise RuntimeError("it was stopped")
        folder.mkdir(parents=True)
        (folder / runs.PROCESSOR_TIME).write_text("1.5\n2\n")
        summary = {"policies": {"Hill-v0": {"progress": {"env_steps": 510}}}}
        return FinishedRun(folder, [row(500, 3.0, episodes=2)], summary)

    played = {"return_mean": 7.0, "return_std": 0.0, "episodes": 20}
    monkeypatch.setattr(zoo, "train", train)
    monkeypatch.setattr(zoo, "evaluated", lambda run, *, episodes: played)
    monkeypatch.setattr(zoo, "described", lambda: "2 x Test")
    monkeypatch.setattr(zoo, "draw", lambda settings, results, file: drawn.append(len(results)))
    words = ["--seeds", "2", "--folder", str(tmp_path / "runs")]
    assert zoo.main(words, tmp_path) == 1
    assert "dune seed 2 FAILED: it was stopped\n" in capsys.readouterr().out
    # The shorter setting first, and every setting once before any twice.
    assert trained == ["dune seed=1", "hill seed=1", "dune seed=2", "hill seed=2"]
    kept = zoo_results.load(tmp_path / "results.json")
    assert [(each.setting, each.seed) for each in kept] == [
        ("dune", 1),
        ("hill", 1),
        ("hill", 2),
        ("hill", 9),  # another command's, which came meanwhile
    ]
    assert [(each.processor_s, each.env_steps) for each in kept[:3]] == 3 * [(3.5, 510)]
    zoo.main([*words, "--only", "hill"], tmp_path)
    assert len(trained) == 4
    assert zoo.main(words, tmp_path) == 0
    assert trained[4:] == ["dune seed=2"]
    zoo.main([*words, "--render"], tmp_path)
    assert len(trained) == 5
    assert drawn == [4, 4, 5, 5]
    page = (tmp_path / "README.md").read_text()
    assert "| [dune](dune.yaml) | Hill-v0 | PPO | 500 | 2 | 7.000 +- 0.000 |" in page
    assert "dune seed 2: return 7.000 over 20 episodes, 4 s of processor time\n" in (
        capsys.readouterr().out
    )


def test_a_picture_says_whose_results_it_shows(tmp_path: Path) -> None:
    results = [made(), made(seed=2)]
    draw([hill(tmp_path), hill(tmp_path, name="bare")], results, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.info[SOURCE] == zoo_results.digest(results)


STAND_IN = """\
import json, sys, time
from pathlib import Path
words = sys.argv[1:]
folder = Path(words[words.index("--runs-directory") + 1], words[words.index("--name") + 1])
folder.mkdir(exist_ok=True)
(folder / "metrics.csv").write_text("env_steps\\n5\\n")
is_second = (folder / "summary.json").exists()
outcome = "completed" if is_second else "stopped"
(folder / "summary.json").write_text(json.dumps({"outcome": outcome}))
while time.process_time() < 0.2:
    pass
"""


def test_a_run_that_was_stopped_goes_on_and_its_processor_time_adds_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "entrain.py").write_text(STAND_IN)
    monkeypatch.setattr(runs, "ENTRAIN", (sys.executable, str(tmp_path / "entrain.py")))
    with pytest.raises(RuntimeError, match=r"walk.yaml: the run in .* did not come to its end"):
        runs.train(tmp_path / "walk.yaml", tmp_path / "run")
    run = runs.train(tmp_path / "walk.yaml", tmp_path / "run")
    assert run.column("env_steps") == [5.0]
    assert 0.4 <= run.processor_s < 5.0
