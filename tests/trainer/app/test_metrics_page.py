"""What people read of a metric: docs/metrics.md, and the command."""

import re
from pathlib import Path

import pytest

from entrain.app.metrics_page import explain, markdown
from entrain.cli import main
from entrain.errors import ConfigError
from entrain.metrics import KL, METRICS

ROOT = Path(__file__).parents[3]


def test_the_page_in_the_repository_is_the_one_that_make_docs_writes() -> None:
    written = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert written == markdown(), "run `make docs`"


def test_the_page_has_every_metric_with_its_unit_meaning_and_remedy() -> None:
    page = re.sub(r"\[(\w+\.md)\]\(\1\)", r"docs/\1", " ".join(markdown().split()))
    for metric in METRICS:
        assert f"### `{metric.name}`" in page
        assert metric.meaning in page
        assert metric.remedy in page
        assert metric.unit.capitalize() in page


def test_the_readme_links_to_the_page() -> None:
    assert "(docs/metrics.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_one_metric_is_explained_by_its_name_and_a_family_by_any_member() -> None:
    (name, *words) = explain(["policy/kl"])
    assert name == "policy/kl  (nats; written if algorithm.kind is PPO)"
    assert " ".join(" ".join(words).split()) == (
        f"{KL.meaning} If it looks wrong: {KL.remedy}".replace("`", "")
    )
    assert list(explain(["policy/sigma/3"])) == list(explain(["policy/sigma/N"]))


def test_without_a_name_all_are_explained() -> None:
    lines = list(explain([]))
    assert [line.split("  ")[0] for line in lines if not line.startswith(" ")] == [
        metric.name for metric in METRICS
    ]


def test_a_name_that_no_metric_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="no metric is called 'policy/mood'"):
        list(explain(["policy/kl", "policy/mood"]))


def test_the_command_prints_or_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", "policy/kl", "loss/value"]) == 0
    assert capsys.readouterr().out.splitlines() == list(explain(["policy/kl", "loss/value"]))
    page = tmp_path / "metrics.md"
    assert main(["metrics", "--markdown", "--output", str(page)]) == 0
    assert page.read_text(encoding="utf-8") == markdown()
    assert main(["metrics", "policy/mood"]) == 2
