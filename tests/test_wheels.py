"""Names of our distributions, and what their wheels hold. `make wheels` installs and tries them."""

import contextlib
import importlib
import re
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import entrain

ROOT = Path(__file__).parents[1]
PROJECTS = {"entrain-rl": ROOT, "entrain-envs": ROOT / "envs"}
CONTRACT = "entrain/v1/trainer.proto"


def project(name: str) -> dict[str, Any]:
    """The [project] table of a distribution."""
    table: dict[str, Any] = tomllib.loads((PROJECTS[name] / "pyproject.toml").read_text())[
        "project"
    ]
    return table


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, zipfile.ZipFile]:
    """{distribution: its wheel}, built in this process by the build backend."""
    backend = importlib.import_module("hatchling.build")  # `make setup` installs it
    folder = tmp_path_factory.mktemp("dist")
    built = {}
    for name, root in PROJECTS.items():
        with contextlib.chdir(root):
            built[name] = zipfile.ZipFile(folder / backend.build_wheel(str(folder)))
    return built


@pytest.mark.parametrize("name", PROJECTS)
def test_a_distribution_has_the_name_that_the_index_leaves_to_us(name: str) -> None:
    # `entrain` in the package index is somebody else's.
    assert project(name)["name"] == name


def test_the_commands_are_entrain_and_entrain_env() -> None:
    assert project("entrain-rl")["scripts"] == {"entrain": "entrain.__main__:main"}
    assert project("entrain-envs")["scripts"] == {"entrain-env": "entrain_envs.__main__:main"}


def test_the_trainer_needs_the_sdk_of_its_own_version() -> None:
    assert project("entrain-rl")["version"] == project("entrain-envs")["version"]
    assert f"entrain-envs=={entrain.__version__}" in project("entrain-rl")["dependencies"]


def test_no_distribution_needs_the_package_that_is_somebody_elses() -> None:
    for name in PROJECTS:
        optional = project(name).get("optional-dependencies", {}).values()
        needed = [*project(name)["dependencies"], *(each for extra in optional for each in extra)]
        assert "entrain" not in {re.split(r"[^\w-]", each, maxsplit=1)[0] for each in needed}


@pytest.mark.parametrize(
    ("name", "package"),
    [("entrain-rl", ROOT / "trainer" / "entrain"), ("entrain-envs", ROOT / "envs/entrain_envs")],
)
def test_a_wheel_holds_its_package_whole_and_nothing_else(
    wheels: Mapping[str, zipfile.ZipFile], name: str, package: Path
) -> None:
    about = f"{name.replace('-', '_')}-{entrain.__version__}.dist-info"
    files = set(wheels[name].namelist())
    assert f"Name: {name}\n" in wheels[name].read(f"{about}/METADATA").decode()
    modules = {str(path.relative_to(package.parent)) for path in package.rglob("*.py")}
    assert modules <= files
    assert f"{package.name}/py.typed" in files
    assert {Path(file).parts[0] for file in files} == {package.name, about}


def test_the_wheel_of_the_sdk_holds_the_wire_contract(
    wheels: Mapping[str, zipfile.ZipFile],
) -> None:
    held = wheels["entrain-envs"].read(f"entrain_envs/proto/{CONTRACT}")
    assert held == (ROOT / "proto" / CONTRACT).read_bytes()


def test_the_contract_in_the_sdk_is_the_contract() -> None:
    copy = ROOT / "envs" / "entrain_envs" / "proto" / CONTRACT
    assert copy.read_bytes() == (ROOT / "proto" / CONTRACT).read_bytes(), "run `make proto`"


def test_no_page_sends_anyone_to_somebody_elses_package() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "envs" / "README.md"]:
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"^\s*pip install '?entrain(?:-rl|-envs)?\b.*", text, re.MULTILINE) == []
