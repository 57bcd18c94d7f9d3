"""The commands and examples of the Python SDK pass the conformance kit, as users run both."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "envs" / "examples"

pytestmark = pytest.mark.clients


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, str(EXAMPLES / "minimal_simulator.py"), "{address}"],
        [
            *[sys.executable, "-m", "entrain_envs"],
            "gymnasium",
            "CartPole-v1",
            "--groups",
            "2",
            "--count",
            "6",
        ],
        [*[sys.executable, "-m", "entrain_envs"], "balance-ball"],
        [*[sys.executable, "-m", "entrain_envs"], "cue-memory", "--count", "8"],
    ],
    ids=["minimal", "cart-poles-in-turns", "balance-ball", "cue-memory"],
)
def test_a_command_passes_with_the_usual_patience(command: list[str]) -> None:
    check = [sys.executable, "-m", "entrain_envs", "check", "--listen", "localhost:0"]
    need = [
        "--need",
        "inquires",
        "--need",
        "begins-anew" if "entrain_envs" in command else "stopped",
    ]
    done = subprocess.run(
        [*check, *need, "--", *command], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 failed" in done.stdout
