"""How many processors there are, by what the machine and a container's limit say."""

import os
from pathlib import Path

import pytest

from entrain.app.threads import available_processors


@pytest.fixture
def four_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 8, 9}, raising=False)


@pytest.mark.usefixtures("four_processors")
@pytest.mark.parametrize(
    ("limit", "processors"),
    [
        pytest.param("max 100000\n", 4, id="no limit"),
        pytest.param("200000 100000\n", 2, id="two"),
        pytest.param("150000 100000\n", 2, id="one and a half"),
        pytest.param("1000 100000\n", 1, id="a hundredth"),
        pytest.param("0 100000\n", 1, id="nothing, which no kernel says"),
        pytest.param("900000 100000\n", 4, id="more than there are"),
        pytest.param("", 4, id="empty"),
        pytest.param("0 0\n", 4, id="no period"),
    ],
)
def test_a_container_gets_no_more_than_its_limit(
    tmp_path: Path, limit: str, processors: int
) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(limit)
    assert available_processors(file) == processors


@pytest.mark.usefixtures("four_processors")
def test_without_containers_all_that_the_process_may_run_on_count(tmp_path: Path) -> None:
    assert available_processors(tmp_path / "nothing") == 4


@pytest.mark.parametrize(("count", "processors"), [(6, 6), (None, 1)])
def test_where_binding_is_unknown_all_of_the_machines_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int | None, processors: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert available_processors(tmp_path / "nothing") == processors
