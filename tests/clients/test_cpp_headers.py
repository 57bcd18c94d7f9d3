"""Each header of the C++ client compiles by itself, and beside an engine's macros."""

import subprocess
from pathlib import Path

import pytest

from support.cpp_probe import BUILDS, HEADERS, QUICK

pytestmark = pytest.mark.clients

CALLED = ("check", "checkf", "verify", "ensure", "TEXT", "UFUNCTION", "min", "max")
PLAIN = ("PI", "IN", "OUT", "FORCEINLINE", "near", "far", "small", "interface", "ERROR", "DELETE")
"""Names that Unreal or Windows define as macros; the first ones with arguments."""


def compile_text(tmp_path: Path, compiler: str, text: str, standard: str = "17") -> None:
    source = tmp_path / "source.cpp"
    source.write_text(text)
    _, *flags = BUILDS[QUICK]
    done = subprocess.run(
        [compiler, *flags, f"-std=c++{standard}", "-fsyntax-only", f"-I{HEADERS}", str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("header", sorted(path.name for path in HEADERS.glob("entrain/*.hpp")))
def test_a_header_includes_what_it_needs(tmp_path: Path, header: str) -> None:
    compile_text(tmp_path, "clang++", f'#include "entrain/{header}"\n#include "entrain/{header}"\n')


# Macros are taken with parentheses around a name, as (std::min)(a, b).
@pytest.mark.parametrize(("compiler", "standard"), [("g++", "20"), ("clang++", "17")])
def test_an_engines_macros_are_in_nobodys_way(tmp_path: Path, compiler: str, standard: str) -> None:
    system = {
        line
        for path in HEADERS.glob("entrain/*.hpp")
        for line in path.read_text().splitlines()
        if line.startswith("#include <") and "win" not in line and "ws2" not in line
    }
    names = [*(f"{name}(...)" for name in CALLED), *PLAIN]
    macros = [f"#define {name} this is a macro of an engine" for name in names]
    own = '#include "entrain/client.hpp"\n#include "entrain/openssl.hpp"'
    text = "\n".join([*sorted(system), *macros, own, ""])
    compile_text(tmp_path, compiler, text, standard)
