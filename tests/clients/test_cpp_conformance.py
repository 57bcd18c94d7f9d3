"""The C++ client keeps every rule of the wire contract that it can show."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.cpp_probe import compiled, shared_folder

pytestmark = [pytest.mark.clients, pytest.mark.timeout(500)]

SHOWN = (
    "token", "new-behaviours", "mask", "groups", "statistics", "max-agents", "two-rows", "respawn",
    "final-observation", "leave-and-return", "late-act", "pongs", "long-act", "inquires", "resume",
    "names-all", "sends-again", "waits-to-dial", "begins-anew", "stopped", "stays-away", "refused",
)  # fmt: skip


def test_the_conformance_kit_finds_nothing(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = compiled("addresses", shared_folder(tmp_path_factory))
    token_file = tmp_path / "token"
    token_file.write_text("s3cret\n")
    simulator = [
        *(str(program), "play", "{address}", "steps=1000000", "use=poll", "token=s3cret"),
        *("extras=1", "max_agents=6"),
    ]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "entrain_envs", "check", "--listen", "ws://localhost:0"),
            *("--timeout", "400"),
            *("--token-file", str(token_file)),
            *(word for rule in SHOWN for word in ("--need", rule)),
            *("--", *simulator),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert " 0 failed" in done.stdout, done.stdout
    assert done.returncode == 0, done.stdout
