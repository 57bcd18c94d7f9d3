"""The JavaScript package as npm and a bundler see it: types, size, contents, version."""

import gzip
import json
import subprocess
from pathlib import Path

import pytest

from support.node import NPM_MODULES, PACKAGE, needs_node, needs_npm_modules, node

ENVS = PACKAGE.parent


def test_its_version_and_license_are_those_of_the_python_client() -> None:
    described = json.loads((PACKAGE / "package.json").read_text())
    python = (ENVS / "pyproject.toml").read_text()
    assert f'version = "{described["version"]}"' in python
    assert f'license = "{described["license"]}"' in python
    assert (PACKAGE / "LICENSE").read_bytes() == (ENVS / "LICENSE").read_bytes()
    assert not {"dependencies", "peerDependencies", "optionalDependencies"} & described.keys()


@needs_node
@needs_npm_modules
@pytest.mark.clients
def test_the_sources_and_a_users_program_are_of_the_declared_types() -> None:
    roots = NPM_MODULES / "@types"
    node(NPM_MODULES / "typescript/bin/tsc", "-p", PACKAGE, "--typeRoots", roots)


@needs_node
@needs_npm_modules
@pytest.mark.clients
def test_the_sources_are_formatted() -> None:
    node(NPM_MODULES / "prettier/bin/prettier.cjs", "--check", "src", "test", "types")


@needs_node
@needs_npm_modules
@pytest.mark.clients
@pytest.mark.parametrize(("entry", "most", "zipped"), [("browser", 40_500, 15_000)])
def test_a_bundle_is_small(tmp_path: Path, entry: str, most: int, zipped: int) -> None:
    bundle = tmp_path / "bundle.js"
    bundler = NPM_MODULES / ".bin" / "esbuild"
    options = ["--bundle", "--minify", "--format=esm", "--target=es2022", "--log-level=error"]
    subprocess.run(
        [bundler, PACKAGE / "src" / f"{entry}.js", *options, f"--outfile={bundle}"], check=True
    )
    content = bundle.read_bytes()
    # docs/javascript.md says both.
    assert len(content) < most
    assert len(gzip.compress(content, 9)) < zipped
    assert b"node:" not in content
