"""The unit for systemd starts what there is, and leaves runs the time to save."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from entrain.cli import main
from entrain.supervise.supervisor import Rules

UNIT = Path(__file__).parents[1] / "docker" / "entrain-serve.service"


def service() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read(UNIT)
    return parser["Service"]


@pytest.mark.usefixtures("logging_as_before")
def test_its_command_is_one_that_entrain_takes(capsys: pytest.CaptureFixture[str]) -> None:
    program, *words = service()["ExecStart"].split()
    assert program.endswith("/entrain")
    # The command line is read, and only then there is no such directory.
    assert main([word.replace("/etc/entrain/runs", "/nowhere") for word in words]) == 2
    assert "/nowhere is no folder; name the one with the settings files" in capsys.readouterr().err


def test_runs_have_time_to_save_and_outlive_their_supervisor() -> None:
    unit = service()
    assert float(unit["TimeoutStopSec"]) >= Rules.stop_s + 10
    assert (unit["Type"], unit["KillMode"], unit["NotifyAccess"]) == ("notify", "process", "main")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_understands_it_and_finds_it_confined(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    # There is no entrain in /opt here.
    copy.write_text(
        UNIT.read_text().replace("/opt/entrain/bin/entrain", shutil.which("true") or "")
    )
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        check=False,
        capture_output=True,
        text=True,
    )
    about = [line for line in verified.stderr.splitlines() if UNIT.name in line]
    assert (verified.returncode, about) == (0, [])
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=25", str(copy)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert rated.returncode == 0, rated.stdout[-300:] + rated.stderr
