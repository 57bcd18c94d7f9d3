"""The program by which the C++ client is tested: compiled once for all workers, and asked."""

import fcntl
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADERS = ROOT / "envs" / "cpp" / "include"
SOURCES = ROOT / "tests" / "clients" / "cpp"

STRICT = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic", "-pthread"]
PLAIN = [*STRICT, "-fno-exceptions", "-fno-rtti"]
SANITIZED = [*PLAIN, "-g", "-O1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"]

BUILDS: Mapping[str, Sequence[str]] = {
    "g++": ["g++", *PLAIN, "-O0"],
    "clang++": ["clang++", *PLAIN, "-O2"],
    "addresses": ["g++", *SANITIZED, "-fsanitize=address,undefined"],
    "threads": ["g++", *SANITIZED, "-fsanitize=thread"],
    "tls": ["g++", *SANITIZED, "-fsanitize=address,undefined", "-DENTRAIN_PROBE_OPENSSL"],
}
"""Each way in which the program is compiled. Only the first is in `make test`."""

QUICK = "g++"


def compiled(build: str, folder: Path, source: str = "probe.cpp", *further: str) -> Path:
    """The program, compiled before if another test has asked for it.

    Args:
        build: one of BUILDS.
        folder: that all workers of the test run share.
        source: of the program, below SOURCES or absolute.
        further: words for the compiler.
    """
    compiler, *flags = BUILDS[build]
    if shutil.which(compiler) is None:
        package = "clang" if compiler == "clang++" else compiler
        pytest.skip(f"{compiler} is missing: apt-get install {package}")
    path = SOURCES / source
    program = folder / f"{path.stem}-{build.replace('+', 'p')}"
    libraries = ["-lssl", "-lcrypto"] if build == "tls" else []
    command = [compiler, *flags, f"-I{HEADERS}", str(path), *further, *libraries]
    with (folder / f"{program.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            done = subprocess.run(
                [*command, "-o", str(program)], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return program


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that all workers of this test run see."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "gw" in base.name else base) / "cpp"
    folder.mkdir(exist_ok=True)
    return folder


def answers(program: Path, lines: Sequence[str]) -> list[str]:
    """What the program answers to lines for its codec."""
    done = subprocess.run(
        [str(program), "codec"],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        check=False,
        timeout=300.0,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
