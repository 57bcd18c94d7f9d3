"""Settings files for tests: written into a folder, read, and what is said about a wrong one."""

from pathlib import Path

import pytest

from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.errors import ConfigError


def write(folder: Path, text: str, name: str = "walk.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, text: str, *overrides: str) -> RunConfig:
    return load_config(write(folder, text), overrides)


def complaint(folder: Path, text: str, *overrides: str) -> str:
    """What is said about a file, without the folder it lies in."""
    with pytest.raises(ConfigError) as caught:
        read(folder, text, *overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{folder}/", "").replace(f"{folder}\\", "")


WALKER = """\
name: walk
policies:
  walker:
    total_steps: 5000
    algorithm:
      clip_range: 0.1
"""
