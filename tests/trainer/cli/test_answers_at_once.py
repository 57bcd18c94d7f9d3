"""What a command answers before anything heavy is imported: help, version, typing mistakes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import entrain.app
from entrain.cli import main
from entrain.errors import (
    EntrainError,
)

pytestmark = pytest.mark.usefixtures("logging_as_before")


def test_help_answers_at_once_and_never_imports_torch() -> None:
    # In units of what the machine, as busy as it is, takes for a million turns of an empty loop:
    # help takes about 7 of them, torch's import alone 50.
    script = (
        "import sys, time\n"
        "began = time.process_time()\n"
        "for _ in range(1_000_000): pass\n"
        "unit = time.process_time() - began\n"
        "began = time.process_time()\n"
        "from entrain.cli import main\n"
        "assert main(['train', '--help']) == 0 and main(['--help']) == 0\n"
        "heavy = {'torch', 'grpc', 'numpy', 'matplotlib', 'yaml'} & sys.modules.keys()\n"
        "units = (time.process_time() - began) / unit\n"
        "print(json.dumps([sorted(heavy), units]), file=sys.stderr)\n"
    )
    durations = []
    for _ in range(3):  # the first may find nothing of it in the cache of the disk
        done = subprocess.run(
            [sys.executable, "-c", f"import json\n{script}"], check=True, capture_output=True
        )
        heavy, units = json.loads(done.stderr)
        assert heavy == []
        durations.append(units)
    assert min(durations) < 12


def test_a_mistake_in_the_settings_is_told_before_torch_is_imported(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from entrain.cli import main\n"
        "assert main(['train', '--set', 'nmae=x']) == 2\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_help_tells_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    told = {int(line.split()[0]) for line in text.splitlines() if line.strip()[:1].isdigit()}
    kinds = EntrainError.__subclasses__()
    assert told == {0, 1, 130, *(kind.exit_code for kind in kinds)}


@pytest.mark.parametrize(
    "command",
    ["list", "train", "resume", "evaluate", "play", "export", "info", "schema", "serve", "version"],
)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"entrain {command}" in capsys.readouterr().out


def test_a_misspelt_command_is_answered_with_the_closest_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["trian"]) == 2
    assert "train" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_the_version_is_that_of_the_package(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"entrain {entrain.__version__}\n"


def test_the_package_says_the_version_that_it_is_built_as() -> None:
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{entrain.__version__}"\n' in project


def test_python_m_entrain_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "entrain", "version"], capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == f"entrain {entrain.__version__}"
