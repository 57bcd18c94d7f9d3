"""A recording: which moments it keeps, how large it may become, and what the file holds."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from entrain_envs.errors import OptionError
from entrain_envs.recording.frames import Frames, Moment, Picture, as_picture, fitting_size
from entrain_envs.recording.recorder import Recorder

GREY = np.full((40, 60, 3), 128, np.uint8)


def bar(step: int) -> Picture:
    """A picture that differs from that of any other step below 60."""
    picture = np.zeros((40, 120, 3), np.uint8)
    picture[:, 2 * step : 2 * step + 2] = (200, 40, 20)
    return picture


def play(recorder: Recorder, *lengths: int, draw: Callable[[int], Picture] = bar) -> None:
    for length in lengths:
        recorder.begin(lambda: draw(0))
        for step in range(1, length + 1):
            recorder.step(lambda step=step: draw(step), 0.5, ended=step == length)  # type: ignore[misc]


def pictures(path: Path) -> list[Picture]:
    with Image.open(path) as image:
        found = []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            found.append(np.asarray(image.convert("RGB")))
    return found


def test_a_gif_shows_the_beginning_and_every_step_and_begins_again(tmp_path: Path) -> None:
    play(Recorder(tmp_path / "a.gif"), 12)
    shown = pictures(tmp_path / "a.gif")
    assert len(shown) == 12 + 1
    for step, picture in enumerate(shown):
        assert np.abs(picture.astype(int) - bar(step)).max() <= 8
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["loop"] == 0
        assert image.info["duration"] == 50  # 20 steps in a second, unless the environment says


def test_the_speed_is_the_users_then_the_environments(tmp_path: Path) -> None:
    for name, speed in (("own.gif", None), ("users.gif", 4.0)):
        recorder = Recorder(tmp_path / name, speed=speed)
        recorder.suggest_speed(10)
        play(recorder, 3)
    for name, duration_ms in (("own.gif", 100), ("users.gif", 250)):
        with Image.open(tmp_path / name) as image:
            assert image.info["duration"] == duration_ms


def test_a_fast_environment_shows_fewer_pictures_not_faster_ones(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.gif")
    recorder.suggest_speed(90)  # every third step, 30 pictures a second
    play(recorder, 20)
    assert len(pictures(tmp_path / "a.gif")) == 1 + 6 + 1  # 0, 3, ... 18, and the last one
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["duration"] == 30


def test_a_long_episode_is_shown_whole_by_few_pictures(tmp_path: Path) -> None:
    drawn: list[int] = []

    def draw(step: int) -> Picture:
        drawn.append(step)
        return bar(step * 50 // 5000)

    play(Recorder(tmp_path / "a.gif", max_frames=20), 5000, draw=draw)
    shown = pictures(tmp_path / "a.gif")
    assert 10 <= len(shown) <= 20
    assert np.argmax(shown[-1][0, :, 0]) == 100
    assert len(drawn) < 150, "what is not kept is not drawn"


def test_many_short_episodes_end_the_recording_at_its_bound(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(tmp_path / "a.gif", episodes=1000, max_frames=20)
    play(recorder, *[1] * 50)
    assert recorder.is_done
    assert len(pictures(tmp_path / "a.gif")) <= 20
    assert "the recording ends after 10 of 1000 episodes" in caplog.text


def test_a_recording_that_is_too_large_is_written_with_fewer_pictures(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)

    def draw(_: int) -> Picture:
        return noise.integers(0, 256, (100, 100, 3), np.uint8)

    play(Recorder(tmp_path / "a.gif", max_bytes=70_000), 12, draw=draw)
    assert (tmp_path / "a.gif").stat().st_size <= 70_000
    assert len(pictures(tmp_path / "a.gif")) >= 3


def test_the_file_is_there_when_the_last_step_returns_and_nothing_follows(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.gif", episodes=2)
    play(recorder, 3)
    assert not (tmp_path / "a.gif").exists()
    play(recorder, 4)
    assert recorder.is_done
    before = (tmp_path / "a.gif").read_bytes()
    play(recorder, 5)
    recorder.finish()
    assert (tmp_path / "a.gif").read_bytes() == before
    assert len(pictures(tmp_path / "a.gif")) == 4 + 5
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"], "nothing else is left"


def test_what_has_not_ended_is_written_at_the_finish(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.gif")
    recorder.begin(lambda: bar(0))
    recorder.step(lambda: bar(1), 1.0, ended=False)
    recorder.finish()
    assert len(pictures(tmp_path / "a.gif")) == 2


def test_a_reset_before_the_first_step_is_no_episode(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.gif")
    recorder.begin(lambda: bar(30))
    play(recorder, 2)
    assert len(pictures(tmp_path / "a.gif")) == 3


def test_a_recording_without_an_episode_is_not_written(tmp_path: Path) -> None:
    Recorder(tmp_path / "a.gif").finish()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.mp4", "a", "nowhere/a.gif"])
def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError, match=r"cannot record to .*(\.gif or \.html|folder)"):
        Recorder(tmp_path / name)


def test_a_disk_that_fails_costs_the_recording_and_not_the_simulator(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    recorder = Recorder(folder / "a.gif")
    folder.rmdir()
    play(recorder, 3)
    assert recorder.is_done
    assert "the recording ends, for the disk fails: No such file or directory" in caplog.text


def test_a_page_holds_all_pictures_and_asks_no_network(tmp_path: Path) -> None:
    play(Recorder(tmp_path / "a.html", episodes=2), 3, 2)
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    rows = re.search(r'id="frames">\n(.*?)\n?</script>', page, re.DOTALL)
    assert rows is not None
    frames = json.loads(rows[1])
    assert [row[1:] for row in frames] == [
        [1, 0, "0.0", 0],
        [1, 1, "0.5", 0],
        [1, 2, "1.0", 0],
        [1, 3, "1.5", 1],
        [2, 0, "0.0", 0],
        [2, 1, "0.5", 0],
        [2, 2, "1.0", 1],
    ]
    assert all(row[0].startswith("data:image/png;base64,") for row in frames)
    assert not re.search(r"https?://|src=\"(?!data:)", page)
    assert "default-src 'none'" in page


def test_large_pictures_are_reduced_and_tiny_ones_enlarged() -> None:
    assert fitting_size(1600, 800) == (400, 200)
    assert fitting_size(160, 210) == (160, 210)
    assert fitting_size(8, 10) == (160, 200)
    assert fitting_size(100_000, 10) == (400, 1)


def test_pictures_of_other_sizes_become_those_of_the_first(tmp_path: Path) -> None:
    frames = Frames(tmp_path)
    frames.append(GREY[:20, :30], Moment(1, 0, 0.0, False))
    frames.append(GREY, Moment(1, 1, 0.0, True))
    assert [picture.shape for picture, _ in frames] == [(120, 180, 3)] * 2
    frames.close()


def test_what_is_rendered_may_be_grey_or_see_through() -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert as_picture(grey, where="it").tolist() == np.stack([grey] * 3, axis=-1).tolist()
    assert as_picture(grey[:, :, None], where="it").shape == (2, 3, 3)
    assert as_picture(np.zeros((2, 3, 4), np.uint8), where="it").shape == (2, 3, 3)


@pytest.mark.parametrize("rendered", [None, "text", np.zeros((2, 3, 3)), np.zeros((0, 3, 3))])
def test_what_is_no_picture_is_refused_by_its_shape(rendered: object) -> None:
    with pytest.raises(OptionError, match="it cannot be recorded: it rendered"):
        as_picture(rendered, where="it")
