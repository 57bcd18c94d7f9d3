"""A run's table is followed as it grows, and read anew when it was written anew."""

import math
from pathlib import Path

import pytest

from entrain.run.table import MetricsTable
from entrain.supervise import following
from entrain.supervise.following import Followed

RETURN = "rollout/episode_return_last_100"


def append(table: MetricsTable, steps: int, value: float, *, policy: str = "ball") -> None:
    metrics = {RETURN: value, "time/seconds": steps / 100, "loss/other": 5.0}
    table.append(policy, env_steps=steps, wall_time=1000.0 + steps, metrics=metrics)
    table.flush()


def returns(followed: Followed, policy: str = "ball") -> list[float]:
    curves = followed.curves[policy]
    curve = curves.curve(RETURN, curves.rows_after(0, most=1000))
    assert curve is not None
    return [float(value) for value in curve.mean]


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    followed = Followed(path)
    followed.look()
    assert followed.curves == {}
    assert math.isnan(followed.seconds)
    table = MetricsTable(path)
    append(table, 100, 1.0)
    followed.look()
    append(table, 200, 2.0)
    append(table, 50, 7.0, policy="other")
    followed.look()
    followed.look()
    assert returns(followed) == [1.0, 2.0]
    assert returns(followed, "other") == [7.0]
    assert followed.env_steps == {"ball": 200, "other": 50}
    assert followed.seconds == 2.0
    assert "loss/other" not in followed.curves["ball"].names


def test_half_a_row_waits_for_its_other_half(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    append(MetricsTable(path), 100, 1.0)
    followed = Followed(path)
    followed.look()
    with path.open("a") as file:
        file.write("ball,200,12")
        file.flush()
        followed.look()
        assert returns(followed) == [1.0]
        file.write("00.0,2.5,2.0,5.0\n")
    followed.look()
    assert returns(followed) == [1.0, 2.5]


def test_a_table_that_a_resume_wrote_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    table = MetricsTable(path)
    for steps in (100, 200, 300):
        append(table, steps, float(steps))
    followed = Followed(path)
    followed.look()
    again = MetricsTable(path)
    again.drop_rows_beyond({"ball": 100})
    # Longer than what was read: its length alone does not say that it is another one.
    for steps in (250, 260, 270):
        append(again, steps, 9.0)
    followed.look()
    assert returns(followed) == [100.0, 9.0, 9.0, 9.0]
    path.unlink()
    followed.look()
    assert returns(followed) == [100.0, 9.0, 9.0, 9.0]


@pytest.mark.parametrize("content", [b"", b"nothing\n", b"\xff\x00,\n\n", b"behaviour,env_steps\n"])
def test_another_file_in_its_place_has_no_curves(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metrics.csv").write_bytes(content)
    followed = Followed(tmp_path / "metrics.csv")
    followed.look()
    assert followed.curves == {}


def test_rows_that_are_damaged_are_left_out_and_policies_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "MOST_POLICIES", 2)
    path = tmp_path / "metrics.csv"
    head = f"behaviour,env_steps,wall_time,{RETURN}\n"
    path.write_text(f"{head}a,1,1.0,1\na,x,1.0,2\na,2,1.0\na,3,1.0,q\nb,1,1,1\nc,1,1,1\na,4,2,4\n")
    followed = Followed(path)
    followed.look()
    assert returns(followed, "a") == [1.0, 4.0]
    assert list(followed.curves) == ["a", "b"]
