"""The command line with stand-ins for what it calls."""

import sys

import pytest

import entrain.app
from support.fake_commands import FakeCommands


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> FakeCommands:
    commands = FakeCommands()
    monkeypatch.setitem(sys.modules, "entrain.app.commands", commands)
    monkeypatch.setattr(entrain.app, "commands", commands, raising=False)
    return commands
