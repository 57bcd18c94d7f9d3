"""What README and results show is what the repository holds."""

import re
from pathlib import Path

import pytest
from PIL import Image

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
    claims = page.split("\n## ")[1:-1]  # the last section says what is not measured
    assert len(claims) == 12
    for claim in claims:
        assert re.search(r"\*\*(Claim|Withdrawn)\.\*\*", claim), claim
        for part in ("Command", r"2026-\d\d-\d\d", r"benchmarks/log/2026-"):
            assert re.search(part, claim), (part, claim)
        assert len(claim.splitlines()) <= 40, "one screen a claim"


def test_the_diary_names_its_files_by_date_and_topic() -> None:
    names = {path.name for path in LOG.iterdir()} - {"README.md"}
    assert names
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d-[a-z0-9-]+\.md", name) for name in names)
