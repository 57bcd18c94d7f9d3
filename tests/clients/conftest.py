"""The C++ client's program in each way of compiling it; the slow ones are for `make clients`."""

from pathlib import Path

import pytest

from support.cpp_probe import BUILDS, QUICK, compiled, shared_folder


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(build, marks=[] if build == QUICK else [pytest.mark.clients])
        for build in BUILDS
    ],
)
def cpp_probe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program; see tests/clients/cpp/probe.cpp."""
    return compiled(request.param, shared_folder(tmp_path_factory))
