"""The report shows what happened, needs no network, and survives odd metrics."""

import io
import json
import math
import re
import subprocess
import sys
import time
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image

from entrain.errors import ConfigError
from entrain.run.folder import RunFolder
from entrain.run.losses import Losses
from entrain.run.metrics_writer import MetricsWriter
from entrain.run.plots import Plot, draw_plots
from entrain.run.progress import Progress
from entrain.run.report import best_evaluation, final_return, rewrite_report, write_report
from entrain.run.summary import Outcome, PolicySummary, RunSummary
from entrain.run.table import Series

ALL_PLOTS = [
    "return",
    "episode-length",
    "entropy",
    "sigma",
    "value-loss",
    "kl",
    "clip-fraction",
    "steps-per-second",
]


def series(rows: int, **columns: list[float] | float) -> Series:
    """`rows` updates of 2,048 steps; a column is a list, or one number for all rows."""
    return Series(
        env_steps=2048 * np.arange(1, rows + 1),
        wall_time=1.76e9 + np.arange(rows, dtype=np.float64),
        columns={
            name.replace("__", "/"): np.broadcast_to(np.asarray(column, np.float64), (rows,))
            for name, column in columns.items()
        },
    )


def training(rows: int, *, dimensions: int = 2) -> Series:
    """Believable curves."""
    generator = np.random.default_rng(1)
    done = np.linspace(0.01, 1.0, rows)
    columns = {
        "rollout/episodes": np.full(rows, 12.0),
        "rollout/episode_return_mean": 3000 * done + generator.normal(size=rows),
        "rollout/episode_return_std": 200 + generator.random(rows),
        "rollout/episode_length_mean": 1000 * done,
        "policy/entropy": 8 - 9 * done,
        "loss/value": 300 * np.exp(-9 * done),
        "policy/kl": 0.01 * generator.random(rows),
        "policy/clip_fraction": generator.random(rows),
        "time/env_steps_per_second": 4000 + generator.normal(size=rows),
    }
    for d in range(dimensions):
        columns[f"policy/sigma/{d}"] = np.exp(-done * (d + 1))
    return Series(2048 * np.arange(1, rows + 1), np.arange(rows, dtype=np.float64), columns)


def only(curves: Series, *metrics: str) -> Series:
    """Of these metrics alone, or of those whose names begin so."""
    columns = {name: it for name, it in curves.columns.items() if name.startswith(metrics)}
    return Series(curves.env_steps, curves.wall_time, columns)


def each_kind(curves: Series) -> Series:
    """Of the pictures alone that are drawn each in a way of its own: the others are as the last."""
    return only(curves, "rollout/episode_return", "policy/entropy", "policy/sigma", "loss/value")


EACH_KIND = ["return", "entropy", "sigma", "value-loss"]


def learning_from_a_replay(rows: int, *, coefficient: list[float] | float) -> Series:
    """Believable curves of SAC; values and losses begin with the gradient steps."""
    done = np.linspace(0.01, 1.0, rows)
    learned = np.where(np.arange(rows) < rows // 3, np.nan, 1.0)
    columns = {
        "rollout/episode_return_mean": (300 * done).tolist(),
        "entropy/coefficient": coefficient,
        "value/q": (30 * done * learned).tolist(),
        "loss/q": (9 * done * learned).tolist(),
        "replay/age": (5 * done).tolist(),
    }
    return series(rows, **columns)


SHORT = series(2, policy__kl=0.1)
"""What has one picture, for what is around it."""


def names(series: Series) -> list[str]:
    return [plot.name for plot in draw_plots(series)]


def pixels(png: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def picture(series: Series, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return pixels(next(plot.png for plot in draw_plots(series) if plot.name == name))


def num_coloured(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], rgb: str) -> int:
    """Pixels of exactly that colour."""
    colour = [int(rgb[i : i + 2], 16) for i in (0, 2, 4)]
    return int((image == colour).all(axis=-1).sum())


def summary(
    *,
    name: str = "walk",
    outcome: Outcome = "completed",
    behaviours: tuple[str, ...] = ("walker",),
    simulators: tuple[str, ...] = ("4 x balance-ball, 64 agents",),
    warnings: tuple[str, ...] = (),
) -> RunSummary:
    progress = Progress(env_steps=99_999, updates=48, episodes=1234, seconds=50.0)
    return RunSummary(
        name=name,
        outcome=outcome,
        started_at=1.76e9,
        ended_at=1.76e9 + 3600,
        seconds=50.0,
        simulators=simulators,
        software=("entrain 0.1.0",),
        policies={
            name: PolicySummary(
                progress=progress,
                total_steps=100_000,
                ledger={"opened": 100_005, "closed": 99_999, "dropped": 2},
                warnings=warnings,
            )
            for name in behaviours
        },
        counters={"sessions_joined": 4, "sessions_lost": 1, "steps_refused": 0},
    )


@pytest.fixture(scope="module")
def drawn() -> list[Plot]:
    """All pictures of a whole training."""
    return list(draw_plots(training(5)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The folder of a whole training, with its report."""
    folder = made_folder(tmp_path_factory.mktemp("trained"))
    record(folder, "walker", training(5))
    write_report(folder, summary())
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return made_folder(tmp_path)


def made_folder(runs: Path) -> RunFolder:
    folder = RunFolder.create(runs, "walk")
    folder.write_config("name: walk\nnote: <script>alert('x')</script> & more\n")
    return folder


def record(folder: RunFolder, behaviour: str, curves: Series) -> None:
    with MetricsWriter(folder, clock=lambda: 1.76e9) as writer:
        for i, env_steps in enumerate(curves.env_steps):
            values = {name: float(column[i]) for name, column in curves.columns.items()}
            writer.write(behaviour, int(env_steps), values)


class Page(HTMLParser):
    """What a browser would make of a page: its text, pictures, and whatever it would load."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = ""
        self.pictures: list[bytes] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert self._open == [], "tags that are never closed"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in {"meta", "link", "img"}:
            self._open.append(tag)
        for name, value in attributes:
            if name in {"src", "href"} and value is not None:
                self.loads.append(value)
                if tag == "img":
                    self.pictures.append(b64decode(value.removeprefix("data:image/png;base64,")))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self.text += "\n"

    def handle_data(self, text: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.text += text


# Pictures.


def test_a_run_with_a_replay_shows_its_values_its_temperature_and_its_age() -> None:
    falling = np.linspace(0.2, 0.05, 9).tolist()
    replay = ["action-value", "action-value-loss", "replay-age"]
    adapted = names(learning_from_a_replay(9, coefficient=falling))
    assert adapted == ["return", "entropy-coefficient", *replay]
    assert names(learning_from_a_replay(9, coefficient=0.01)) == ["return", *replay]


def test_a_whole_training_has_every_picture_in_reading_order(drawn: list[Plot]) -> None:
    assert [plot.name for plot in drawn] == ALL_PLOTS


def test_pictures_are_png_of_one_size_with_a_title(drawn: list[Plot]) -> None:
    images = [Image.open(io.BytesIO(plot.png)) for plot in drawn]
    assert {image.size for image in images} == {(928, 496)}
    assert images[0].text["Title"].startswith("Episode return")  # type: ignore[attr-defined]


def test_what_was_not_measured_has_no_picture() -> None:
    # A discrete policy has no sigma.
    assert names(each_kind(training(5, dimensions=0))) == ["return", "entropy", "value-loss"]
    assert names(series(5, policy__kl=0.1)) == ["kl"]
    assert names(series(5)) == []


def test_what_was_never_finite_has_no_picture() -> None:
    curves = series(2, policy__kl=math.nan, loss__value=math.inf, policy__clip_fraction=0.5)
    assert names(curves) == ["clip-fraction"]


@pytest.mark.parametrize("rows", [1, 60, 500])
def test_any_number_of_updates_can_be_drawn(rows: int) -> None:
    assert names(each_kind(training(rows))) == EACH_KIND


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_odd_values_leave_a_gap_and_the_rest_is_drawn(odd: float) -> None:
    curves = each_kind(training(80))
    with_gaps = {
        name: np.where(np.arange(80) % 3 == 0, odd, column)
        for name, column in curves.columns.items()
    }
    gappy = Series(curves.env_steps, curves.wall_time, with_gaps)
    assert names(gappy) == EACH_KIND


@pytest.mark.parametrize("value", [0.0, -5.0, 1e300])
def test_a_curve_without_change_can_be_drawn(value: float) -> None:
    columns = dict.fromkeys(each_kind(training(3)).columns, value)
    curves = series(3, **{name.replace("/", "__"): v for name, v in columns.items()})
    assert names(curves) == EACH_KIND


def test_one_update_is_a_visible_point() -> None:
    assert num_coloured(picture(only(training(1), "policy/kl"), "kl"), "1f6feb") > 20


def test_each_dimension_has_a_line_of_its_own_colour() -> None:
    image = picture(only(training(40, dimensions=3), "policy/sigma"), "sigma")
    for colour in ("1f6feb", "d4691c", "2a9d4a"):
        assert num_coloured(image, colour) > 100
    assert num_coloured(image, "8250df") == 0


def test_many_dimensions_are_drawn_with_their_mean() -> None:
    image = picture(only(training(40, dimensions=21), "policy/sigma"), "sigma")
    assert num_coloured(image, "24292f") > 300


def test_entropy_per_dimension_is_drawn_if_it_was_measured() -> None:
    curves = series(
        20,
        policy__entropy=3.0,
        policy__entropy__0=[i / 20 for i in range(20)],
        policy__entropy__1=2.0,
    )
    image = picture(curves, "entropy")
    for colour in ("1f6feb", "d4691c", "24292f"):
        assert num_coloured(image, colour) > 100


def test_a_wide_value_loss_is_drawn_on_a_logarithmic_scale() -> None:
    # On it, an exponential is a straight line; on a linear scale, half way along it would have
    # fallen by all but a thousandth of the way.
    image = picture(series(40, loss__value=[1000 * 0.5**i for i in range(40)]), "value-loss")
    inked = (image == [0x1F, 0x6F, 0xEB]).all(axis=-1)
    rows, columns = np.nonzero(inked)
    half_way = rows[columns == (columns.min() + columns.max()) // 2].mean()
    fallen = (half_way - rows.min()) / (rows.max() - rows.min())
    assert 0.4 < fallen < 0.6


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    list(draw_plots(each_kind(training(3))))
    assert dict(mpl.rcParams) == before
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


# The page.


def test_the_page_needs_nothing_but_itself(trained: RunFolder) -> None:
    page = Page(trained.report)
    assert all(load.startswith("data:") for load in page.loads)
    assert "script" not in page.tags
    assert not re.search(r"url\(|@import|https?:", trained.report.read_text(encoding="utf-8"))


def test_the_page_has_every_picture_and_so_has_the_folder(trained: RunFolder) -> None:
    files = {path.name: path.read_bytes() for path in trained.plots.iterdir()}
    assert set(files) == {f"walker-{name}.png" for name in ALL_PLOTS}
    assert sorted(files.values()) == sorted(Page(trained.report).pictures)


def test_below_each_picture_stands_what_it_shows(trained: RunFolder) -> None:
    html = trained.report.read_text(encoding="utf-8")
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", html)
    assert len(captions) == html.count("<figure>")
    assert captions[0].startswith("Sum of the rewards of an episode")
    clipped = next(caption for caption in captions if "probability ratio" in caption)
    # Names stand in backquotes where they are declared.
    assert "left <code>clip_range</code>," in clipped
    assert "`" not in "".join(captions)


def test_the_head_says_what_the_run_came_to(trained: RunFolder) -> None:
    text = " ".join(Page(trained.report).text.split())
    assert "walk completed Every policy has done its total steps." in text
    for fact in (
        "time training 0:50",
        "env steps 99,999",
        "env steps/s, overall 2,000",
        "updates 48",
        "episodes 1,234",
        "4 x balance-ball, 64 agents",
        "steps of 'walker': 100,005 opened, 99,999 closed, 2 dropped",
        "sessions joined: 4",
        "sessions lost: 1",
        "entrain 0.1.0",
    ):
        assert fact in text
    assert "steps refused" not in text
    # 99,999 of 100,000 is not yet all.
    assert "99 % of 100k" in text
    assert re.search(r"started \(\S+\) 2025-10-\d\d \d\d:\d\d ended \(\S+\) 2025-10-\d\d", text)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [("stopped", "names the command that goes on"), ("failed", "see log.txt")],
)
def test_another_outcome_is_said(folder: RunFolder, outcome: Outcome, words: str) -> None:
    record(folder, "walker", SHORT)
    write_report(folder, summary(outcome=outcome))
    assert words in Page(folder.report).text


def test_the_configuration_is_there_and_harmless(trained: RunFolder) -> None:
    assert trained.config.read_text() in Page(trained.report).text
    assert "details" in Page(trained.report).tags


def test_no_name_can_break_the_page(folder: RunFolder) -> None:
    evil = '</style><script>alert("1")</script>&\'../x'
    record(folder, evil, SHORT)
    write_report(folder, summary(name=evil, behaviours=(evil,), simulators=(evil,)))
    page = Page(folder.report)
    assert "script" not in page.tags
    assert page.text.count(evil) == 5  # title, heading, its policy, its simulator, its steps
    assert all(path.parent == folder.plots for path in folder.plots.rglob("*.png"))


def test_each_policy_has_its_part(folder: RunFolder) -> None:
    record(folder, "walker", series(3, policy__kl=0.1, policy__clip_fraction=0.2))
    record(folder, "jumper", SHORT)
    write_report(folder, summary(behaviours=("walker", "jumper")))
    page = Page(folder.report)
    assert len(page.pictures) == 2 + 1
    assert page.text.index("jumper") < page.text.index("walker")
    assert (folder.plots / "jumper-kl.png").exists()


def test_a_policy_in_whose_training_no_episode_ended_says_so(folder: RunFolder) -> None:
    record(folder, "walker", series(3, policy__kl=0.1, rollout__episodes=0.0))
    write_report(folder, summary())
    assert "no episode ended" in Page(folder.report).text


def test_what_a_policy_was_warned_of_stands_above_its_pictures_in_order(folder: RunFolder) -> None:
    record(folder, "walker", SHORT)
    write_report(folder, summary(warnings=("update 3: sigma runaway", "update 9: 1 < 2 <b>")))
    text = Page(folder.report).text
    assert text.index("sigma runaway") < text.index("update 9: 1 < 2 <b>")
    html = folder.report.read_text(encoding="utf-8")
    assert html.index("update 9") < html.index("<figure>")
    assert '<div class="warnings">' in html


def test_a_policy_that_was_warned_of_nothing_has_no_room_for_it(trained: RunFolder) -> None:
    assert '<div class="warnings">' not in trained.report.read_text(encoding="utf-8")


def test_a_policy_that_the_summary_does_not_know_is_shown_by_its_metrics(folder: RunFolder) -> None:
    record(folder, "walker", SHORT)
    write_report(folder, summary(behaviours=()))
    page = Page(folder.report)
    assert len(page.pictures) == 1
    assert "env steps/s, overall" in page.text


def test_a_run_without_one_update_has_a_page(folder: RunFolder) -> None:
    write_report(folder, summary(outcome="stopped", simulators=()))
    text = Page(folder.report).text
    assert "No update was made." in text


def test_what_crashes_cost_is_in_summary_and_report(folder: RunFolder) -> None:
    losses = Losses.of_rows({"walker": (3, 900), "jumper": (1, 50)}, {"walker": 400})
    lost = losses + Losses() + losses
    # Each time 900 - 400 and 50 - 0 env steps.
    assert lost == Losses(resumes=2, env_steps=1100, updates=8, rows=8)
    assert not Losses.of_rows({}, {"walker": 400})
    write_report(folder, replace(summary(), lost=lost))
    assert RunSummary.load(folder.summary).lost == lost
    said = "lost at 2 resumes, and done again: at least 1,100 env steps and 8 updates (8 rows of"
    assert said in Page(folder.report).text


def test_a_report_can_be_written_again(folder: RunFolder) -> None:
    record(folder, "walker", each_kind(training(4)))
    write_report(folder, summary())
    first = folder.report.read_bytes()
    folder.report.unlink()
    rewrite_report(RunFolder.existing(folder.path))
    assert folder.report.read_bytes() == first


def test_a_report_that_cannot_be_written_does_not_spoil_a_run_that_ended_well(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*arguments: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    record(folder, "walker", SHORT)
    monkeypatch.setattr("entrain.run.report.replace_file", refuse)
    write_report(folder, summary())
    assert "the report in " in caplog.text
    assert "No space left" in caplog.text


def test_a_run_that_never_ended_has_no_report_to_write_again(folder: RunFolder) -> None:
    with pytest.raises(ConfigError, match=r"summary\.json is not there; a run writes it"):
        rewrite_report(folder)


def test_a_long_run_is_reported_in_seconds(folder: RunFolder) -> None:
    rows = 5000
    curves = training(rows, dimensions=6)
    header = ["behaviour", "env_steps", "wall_time", *curves.columns]
    table = np.column_stack([curves.env_steps, curves.wall_time, *curves.columns.values()])
    lines = [f"walker,{int(row[0])},{','.join(map(repr, row[1:].tolist()))}" for row in table]
    folder.metrics.write_text("\n".join([",".join(header), *lines, ""]))
    begin_s = time.process_time()
    write_report(folder, summary())
    assert time.process_time() - begin_s < 10


# Numbers in it.


def test_the_final_return_is_that_of_the_episodes_in_the_last_tenth_by_hand() -> None:
    # Twenty updates; those beyond 18/20 of the steps are 19 and 20: 1 and 3 episodes.
    mean = [100.0] * 18 + [3.0, 7.0]
    episodes = [50.0] * 18 + [1.0, 3.0]
    curves = series(20, rollout__episode_return_mean=mean, rollout__episodes=episodes)
    # (1 * 3 + 3 * 7) / 4 = 6
    assert final_return(curves) == pytest.approx(6.0)


def test_many_short_episodes_of_long_ago_do_not_pull_the_final_return_down() -> None:
    # Long episodes end in few updates: the last ten that saw an end reach back to the beginning.
    mean = [2.0] * 5 + [math.nan] * 14 + [100.0]
    episodes = [200.0] * 5 + [0.0] * 14 + [4.0]
    curves = series(20, rollout__episode_return_mean=mean, rollout__episodes=episodes)
    assert final_return(curves) == 100.0


def test_without_an_episode_in_the_last_tenth_the_last_that_ended_count() -> None:
    mean = [1.0, 5.0, *([math.nan] * 18)]
    assert final_return(series(20, rollout__episode_return_mean=mean)) == 5.0


def test_without_episode_counts_every_update_weighs_the_same() -> None:
    mean = [9.0] * 18 + [1.0, 3.0]
    assert final_return(series(20, rollout__episode_return_mean=mean)) == 2.0


@pytest.mark.parametrize("curves", [series(2), series(2, rollout__episode_return_mean=math.nan)])
def test_without_an_episode_there_is_no_final_return(curves: Series) -> None:
    assert math.isnan(final_return(curves))


# The summary.


def test_a_summary_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = summary(
        behaviours=("walker", "a/b?"), simulators=("one", "Läufer"), warnings=("one", "another")
    )
    written.save(tmp_path / "summary.json")
    assert RunSummary.load(tmp_path / "summary.json") == written
    assert written.env_steps == 2 * 99_999


def test_a_summary_of_before_there_were_warnings_is_read(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    summary(warnings=("one",)).save(path)
    fields = json.loads(path.read_text())
    del fields["policies"]["walker"]["warnings"]
    path.write_text(json.dumps(fields))
    assert RunSummary.load(path) == summary()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"policies": {"w": {}}}', '{"policies": 3}'])
def test_a_damaged_summary_is_a_clear_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(ConfigError, match=r"summary\.json cannot be read"):
        RunSummary.load(tmp_path / "summary.json")


def test_a_run_is_started_without_what_draws_its_pictures() -> None:
    script = "import sys, entrain.run.report; assert 'matplotlib' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def evaluated(rows: int) -> Series:
    """Training of which every second row is that of an evaluation, which do better and better."""
    learned = training(rows)
    is_evaluation = np.arange(rows) % 2 == 1
    columns = {name: np.where(is_evaluation, math.nan, it) for name, it in learned.columns.items()}
    columns["evaluation/env_steps"] = np.where(is_evaluation, learned.env_steps - 2048.0, math.nan)
    columns["evaluation/return_mean"] = np.where(
        is_evaluation, 1000.0 + np.arange(rows, dtype=np.float64), math.nan
    )
    return Series(learned.env_steps, learned.wall_time, columns)


def test_evaluations_are_drawn_beside_training_where_their_weights_were_taken() -> None:
    orange = "d4691c"
    assert num_coloured(picture(training(20), "return"), orange) == 0
    assert num_coloured(picture(evaluated(20), "return"), orange) > 100
    alone = series(3, evaluation__env_steps=[1.0, 2.0, 3.0], evaluation__return_mean=5.0)
    assert num_coloured(picture(alone, "return"), orange) > 100


def test_the_best_evaluation_is_said_with_its_env_steps(folder: RunFolder) -> None:
    # Rows 1, 3, ..., 19 are evaluations: the last has 1000 + 19, of 20 * 2048 - 2048 env steps.
    assert best_evaluation(evaluated(20)) == (1019.0, 38912)
    assert best_evaluation(training(20)) is None
    record(folder, "walker", only(evaluated(20), "rollout/", "evaluation/"))
    write_report(folder, summary())
    page = folder.report.read_text()
    assert re.search(r"best evaluation</dt><dd>1,019.0 <small>at 38.9k env steps", page)
    assert re.search(r"final return</dt><dd>[-0-9,.]+ <small>over the last tenth<", page)
    # The page's other numbers are those of training.
    assert final_return(evaluated(20).updates) == final_return(evaluated(20))


def test_a_run_that_was_good_enough_says_so(folder: RunFolder) -> None:
    words = "the policy reached return 487.2 in an evaluation; stop_at.return is 475"
    write_report(folder, replace(summary(), reached=words))
    page = folder.report.read_text()
    assert "The policy reached return 487.2 in an evaluation; stop_at.return is 475." in page
    assert "Every policy has done its total steps." not in page
