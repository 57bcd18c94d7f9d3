"""The table of benchmarks: its arithmetic, its turns, and what it says of rows without a peer."""

import io
import json
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest
from benchmarks import contenders, table
from benchmarks.contenders import Absence, MissingError, alive, family, rounds_since
from benchmarks.groups import GROUPS, Group, stock_mlagents, with_memory
from benchmarks.peers.turns import Turns
from benchmarks.rows import ROWS, Measured, Outcome, Row, Unmeasured, chosen, outcomes

FASTER = Row("fast", "speed", "made", "us", "them", "steps/s", wanted=1.5, aim=2.0)
CHEAPER = Row("cheap", "cost", "made", "us", "them", "us", 1.25, 1.0, less_is_better=True)


def test_a_ratio_is_the_median_of_its_pairs() -> None:
    # 30 / 10 = 3, 20 / 20 = 1, 40 / 20 = 2; medians beside each other would be 30 / 20 = 1.5.
    measured = Measured(FASTER, [30.0, 20.0, 40.0], [10.0, 20.0, 20.0])
    assert measured.ratios == [3.0, 1.0, 2.0]
    assert measured.ratio == 2.0
    assert measured.verdict == "best"
    assert Measured(FASTER, [16.0], [10.0]).verdict == "reached"
    assert Measured(FASTER, [14.0], [10.0]).verdict == "missed"


def test_where_less_is_better_a_larger_ratio_misses() -> None:
    assert Measured(CHEAPER, [13.0], [10.0]).verdict == "missed"
    assert Measured(CHEAPER, [12.0], [10.0]).verdict == "reached"
    assert Measured(CHEAPER, [9.0], [10.0]).verdict == "best"
    assert Measured(CHEAPER, [10.0], [10.0]).achieved(1.25) == 1.25


def test_rows_are_chosen_by_what_their_names_begin_with() -> None:
    names = [row.name for row in chosen(ROWS, ["update-512", "cheetah-512-lag"])]
    assert names == ["update-512", "cheetah-512-lag-sb3"]
    assert len(chosen(ROWS, [""])) == len(ROWS)
    with pytest.raises(ValueError, match="no row is named 'walker', and no name begins with it"):
        chosen(ROWS, ["walker"])


def test_each_row_has_a_name_of_its_own_and_a_group_that_measures_it() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert {row.group for row in ROWS} == set(GROUPS)


def test_the_quick_table_is_planned_to_take_less_than_five_minutes() -> None:
    pairs = table.planned(ROWS, quick=True, pairs=None)
    assert (
        sum(GROUPS[name].start_s + n * GROUPS[name].pair_s for name, n in pairs.items() if n) < 300
    )
    assert table.planned(ROWS, quick=True, pairs=1)["cheetah-64"] == 1
    assert set(table.planned(ROWS, quick=False, pairs=None).values()) == {table.PAIRS}


def test_a_row_whose_peer_is_not_installed_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contenders, "PEERS", tmp_path)
    with alive({"sb3": lambda: contenders.Peer("sb3")}) as (playing, missing):
        assert not playing
    assert missing["sb3"] == Absence("sb3 is not installed; `make peers` installs it")
    row = Row("r", "speed", "g", "us", "sb3", "steps/s")
    (outcome,) = outcomes([row], {"us": [1.0]}, missing)
    assert "| speed | | | | | | |  |  | sb3 is not installed" in table.as_markdown([outcome])


def test_stock_mlagents_with_a_slow_protobuf_is_no_peer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contenders, "PEERS", tmp_path)
    python = tmp_path / "mlagents" / "bin" / "python"
    python.parent.mkdir(parents=True)
    with pytest.raises(MissingError, match=r"^mlagents is not installed; .*README"):
        stock_mlagents()
    python.write_text("#!/bin/sh\necho python\n")
    python.chmod(0o755)
    with pytest.raises(MissingError, match="protobuf is the one in pure Python"):
        stock_mlagents()
    python.write_text("#!/bin/sh\necho cpp\n")
    assert stock_mlagents() == python.parent / "mlagents-learn"


def test_a_group_that_fails_does_not_take_the_others_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(
        _asked: Collection[str], _pairs: int
    ) -> tuple[dict[str, list[float]], dict[str, Absence]]:
        raise RuntimeError("the run ended\nand its log")

    def works(
        asked: Collection[str], pairs: int
    ) -> tuple[dict[str, list[float]], dict[str, Absence]]:
        assert asked == {"us", "them"}
        return {"us": [3.0] * pairs, "them": [2.0] * pairs}, {}

    monkeypatch.setitem(GROUPS, "bad", Group(fails, 1, 0, 0))
    monkeypatch.setitem(GROUPS, "made", Group(works, 1, 0, 0))
    bad = Row("bad", "fault", "bad", "us", "them", "steps/s")
    came = table.measure([bad, FASTER], {"bad": 1, "made": 2})
    assert came == [
        Unmeasured(bad, "failed: the run ended", failed=True),
        Measured(FASTER, [3.0, 3.0], [2.0, 2.0]),
    ]
    assert "| **1.50** | 1.50 to 1.50 | 2 | 1.5 | 2 | reached |" in table.as_markdown(came)
    assert [row.get("verdict") for row in json.loads(table.as_json(came, {}))["rows"]] == [
        None,
        "reached",
    ]


def test_rounds_with_a_rest_in_them_do_not_count() -> None:
    # It rests from 2.5 until 9.0; the round that ends at 9.5 began before.
    assert rounds_since(9.0, [1.0, 2.0, 9.5, 10.5, 11.75]) == [1.0, 1.25]
    assert rounds_since(9.0, [1.0, 2.0, 9.5]) == []


def test_a_family_is_a_process_and_all_that_it_started() -> None:
    starts = "import subprocess; c = subprocess.Popen(['sleep', '60']); print(c.pid, flush=True); "
    parent = subprocess.Popen([sys.executable, "-c", f"{starts}c.wait()"], stdout=-1, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
        assert list(family(parent.pid)) == [parent.pid, child]
        subprocess.run(["kill", str(child)], check=True)
        parent.wait()
    assert list(family(parent.pid)) == [parent.pid]


def test_a_peer_warms_up_rests_until_it_is_asked_and_ends_when_nobody_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Optimizer:
        def step(self) -> int:
            return 7

    answers = io.StringIO()
    monkeypatch.setattr(sys, "stdout", answers)
    monkeypatch.setattr(sys, "stdin", io.StringIO("2\n1\n"))
    turns, optimizer = Turns(), Optimizer()
    turns.count_descents(optimizer)
    rounds = 0
    with pytest.raises(SystemExit):
        while True:
            turns.between_rounds(parameters=11)
            rounds += 1
            assert [optimizer.step() for _ in range(3)] == [7, 7, 7]
    assert rounds == 2 + 2 + 1
    hello, first, second = (json.loads(line) for line in answers.getvalue().splitlines())
    assert hello == {"gradient_steps": 3.0, "parameters": 11}
    assert [len(first), len(second)] == [2, 1]


def test_a_contender_that_ends_in_its_start_does_not_take_the_others_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(contenders, "PEERS", tmp_path)
    program = tmp_path / "sb3" / "bin" / "python"
    program.parent.mkdir(parents=True)
    (tmp_path / "sb3" / "installed").touch()
    program.write_text("#!/bin/sh\necho lost >&2\n")
    program.chmod(0o755)
    with alive({"sb3": lambda: contenders.Peer("sb3")}) as (playing, absent):
        assert not playing
    assert absent["sb3"] == Absence("sb3 failed: sb3 ended:", is_fault=True)
    assert "lost" in capsys.readouterr().err
    (outcome,) = outcomes([Row("r", "speed", "g", "us", "sb3", "1/s")], {"us": [1.0]}, absent)
    assert outcome == Unmeasured(outcome.row, "sb3 failed: sb3 ended:", failed=True)


def test_a_memory_that_entrain_does_not_have_is_no_contender() -> None:
    with pytest.raises(MissingError, match="entrain has no memory of kind paper, but none, lstm"):
        with_memory("paper")


def test_contenders_with_different_numbers_of_gradient_steps_are_not_compared() -> None:
    class Steps:
        def __init__(self, steps: int) -> None:
            self.steps, self.closed = steps, False

        def wait_until_ready(self) -> int:
            return self.steps

        def play(self, rounds: int) -> list[float]:
            return [1.0] * rounds

        def close(self) -> None:
            self.closed = True

    ours, theirs = Steps(320), Steps(40)
    with (
        pytest.raises(RuntimeError, match=r"gradient steps of a round differ: .*320.*40"),
        alive({"ours": lambda: ours, "theirs": lambda: theirs}),
    ):
        pass
    assert ours.closed and theirs.closed


def test_the_picture_shows_every_row(tmp_path: Path) -> None:
    from benchmarks.picture import draw

    came: list[Outcome] = [
        Measured(FASTER, [30.0, 20.0], [10.0, 20.0]),
        Measured(CHEAPER, [14.0, 15.0], [10.0, 10.0]),
        Measured(Row("r", "no bar", "made", "us", "them", "steps/s"), [3.0], [2.0]),
        Unmeasured(FASTER, "sb3 is not installed"),
    ]
    draw(came, tmp_path / "table.png")
    assert (tmp_path / "table.png").read_bytes().startswith(b"\x89PNG")
