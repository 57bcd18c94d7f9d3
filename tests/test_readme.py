"""What the README shows is what the repository holds."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
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
