"""What README and results show is what the repository holds."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from entrain_envs import command_line

ROOT = Path(__file__).parents[1]
LOG = ROOT / "benchmarks" / "log"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_simulator_that_the_readme_shows_is_the_example_that_tests_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    example = (ROOT / "envs" / "examples" / "minimal_simulator.py").read_text(encoding="utf-8")
    assert blocks == [example]


def test_every_file_that_the_readme_and_the_architecture_link_to_exists() -> None:
    for page in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
        missing = [link for link in links if not (ROOT / link).exists()]
        assert missing == [], page


def test_every_file_that_the_results_and_their_diary_link_to_exists() -> None:
    pages = [ROOT / "docs/results.md", ROOT / "benchmarks/README.md", *LOG.glob("*.md")]
    for page in pages:
        links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
        missing = [link for link in links if not (page.parent / link).exists()]
        assert missing == [], page


def test_the_page_on_recordings_shows_code_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "play.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "play.md", "exec"), {})
    assert (tmp_path / "mine.gif").read_bytes().startswith(b"GIF89a")


def test_the_pictures_of_the_readme_are_small_animations() -> None:
    for name in ("before", "after"):
        picture = ROOT / "docs" / "images" / f"balance_ball_{name}.gif"
        assert picture.stat().st_size < 300_000
        with Image.open(picture) as image:
            assert getattr(image, "n_frames", 1) > 20


def test_every_claim_has_its_command_its_date_and_its_place_in_the_diary() -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert len(page.splitlines()) <= 100, "a page that is read at a glance"
    *themes, trainer = page.split("\n## ")[1:]
    rows = [line for line in trainer.splitlines() if line.startswith("| ")][1:]
    assert len(themes) >= 3
    assert len(rows) >= 8
    for claim in [*themes, *rows]:
        for part in (
            r"`(python -m|make|pytest|entrain)\s",
            r"2026-\d\d-\d\d",
            "benchmarks/log/2026-",
        ):
            assert re.search(part, claim), (part, claim)


def test_the_diary_names_its_files_by_date_and_topic() -> None:
    names = {path.name for path in LOG.iterdir()} - {"README.md"}
    assert names
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d-[a-z0-9-]+\.md", name) for name in names)


def commands_on(page: str) -> list[list[str]]:
    """The lines of a page's code blocks that run `entrain-env`, as lists of words."""
    blocks = re.findall(r"```sh\n(.*?)```|((?:^    .*\n)+)", page, flags=re.DOTALL | re.MULTILINE)
    text = "\n".join(part for block in blocks for part in block).replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip().startswith("entrain-env ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize(("name", "at_least"), [("docs/gymnasium.md", 4), ("envs/README.md", 4)])
def test_every_command_that_runs_an_environment_is_understood(name: str, at_least: int) -> None:
    commands = commands_on((ROOT / name).read_text(encoding="utf-8"))
    assert len(commands) >= at_least
    for command in commands:
        assert command_line.parser().parse_args(command).kind == command[0]


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in [*(ROOT / "docs").glob("*.md"), ROOT / "envs/README.md", ROOT / "proto/README.md"]:
        links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        missing = [
            link for link in links if "://" not in link and not (page.parent / link).exists()
        ]
        assert missing == [], page


def test_the_readme_leads_to_every_page() -> None:
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    further = README[README.index("\n## Further") :]
    assert pages <= set(re.findall(r"\]\(([^)#]+)\)", further))


def test_the_changelog_has_one_version_to_come_with_each_kind_of_change_once() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    (to_come,) = [each for each in re.split(r"^## ", text, flags=re.M) if "released" in each[:40]]
    assert to_come.startswith("0.2.0 (not released)\n")
    assert re.findall(r"^### (.*)", to_come, flags=re.M) == ["Added", "Changed", "Fixed"]
    entries = re.findall(r"^- .*", to_come, flags=re.M)
    assert len(set(entries)) == len(entries)
