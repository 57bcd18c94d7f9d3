"""Carry this machine's pip configuration into an image build: one file, and what it points at.

    python3 docker/pip_configuration.py FILE

Writes FILE in pip.conf's format and prints the local files and folders that it names, one a line:
a build must see them at the same place. FILE may hold passwords; it is only readable by its owner.
Standard library only, for it runs before anything is installed.
"""

import ast
import configparser
import io
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

CARRIED = (
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "cert",
    "client-cert",
    "trusted-host",
    "proxy",
    "timeout",
    "default-timeout",
    "retries",
    "prefer-binary",
)
"""Options about where packages come from. Others (a target folder, a cache) stay here."""

PRECEDENCE = ("global", "install", ":env:")
"""Sections of `pip config list` that `pip install` heeds; a later one wins."""


def merge(listing: Iterable[str]) -> Mapping[str, str]:
    """The options that `pip install` would use, from lines such as `global.timeout='60'`."""
    found: dict[str, dict[str, str]] = {section: {} for section in PRECEDENCE}
    for line in listing:
        name, equals, quoted = line.strip().partition("=")
        section, _, option = name.rpartition(".")
        if equals and section in found and option in CARRIED:
            found[section][option] = str(ast.literal_eval(quoted))
    merged: dict[str, str] = {}
    for section in PRECEDENCE:
        merged.update(found[section])
    return merged


def render(options: Mapping[str, str]) -> str:
    """As a pip.conf with one section."""
    parser = configparser.RawConfigParser()
    parser["global"] = {
        name: "\n".join(value.split()) if "\n" in value else value
        for name, value in options.items()
    }
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def local_paths(options: Mapping[str, str]) -> Iterator[Path]:
    """Files and folders of this machine among the options' values."""
    for value in options.values():
        for word in value.split():
            path = Path(url2pathname(urlsplit(word).path) if word.startswith("file:") else word)
            if path.is_absolute() and path.exists():
                yield enclosing(path)


def enclosing(path: Path) -> Path:
    """A simple index (`ROOT/simple`) often points at its sibling folders, so all of ROOT."""
    return path.parent if path.name == "simple" else path


def main(target: Path) -> int:
    """Write `target`; print what it needs."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    )
    options = merge(listing.stdout.splitlines())
    target.touch(mode=0o600)
    target.write_text(render(options), encoding="utf-8")
    sys.stdout.write("".join(f"{path}\n" for path in sorted(set(local_paths(options)))))
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {Path(sys.argv[0]).name} FILE")
    sys.exit(main(Path(sys.argv[1])))
