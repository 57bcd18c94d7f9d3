"""Node, and the JavaScript package's programs as processes, for tests."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "envs" / "javascript"
NPM_MODULES = PACKAGE.parents[1] / ".build" / "javascript" / "node_modules"
"""`make clients` installs them: what tests and examples need, and the package does not."""

LEAST_VERSION = 20


def _found() -> str | None:
    node = shutil.which("node")
    if node is None:
        return None
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    major = version.stdout.strip().removeprefix("v").partition(".")[0]
    return node if major.isdigit() and int(major) >= LEAST_VERSION else None


NODE = _found() or ""

needs_node = pytest.mark.skipif(
    not NODE, reason=f"node {LEAST_VERSION} or newer is missing (nodejs.org, or `make clients`)"
)

needs_npm_modules = pytest.mark.skipif(
    not NPM_MODULES.exists(), reason="packages of npm are missing (tests/clients/install.sh)"
)


def node(*arguments: str | Path, seconds: float = 300.0, **variables: str) -> str:
    """Run a program to its end; returns what it wrote. It must exit with 0."""
    done = subprocess.run(
        [NODE, *map(str, arguments)],
        cwd=PACKAGE,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


@contextmanager
def running(
    *arguments: str | Path, ends_within_s: float = 120.0, **variables: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """A program beside the block; after it, it must end by itself and with 0."""
    process = subprocess.Popen(
        [NODE, *map(str, arguments)], cwd=PACKAGE, env={**os.environ, **variables}
    )
    try:
        yield process
        assert process.wait(ends_within_s) == 0
    finally:
        process.kill()
        process.wait()
