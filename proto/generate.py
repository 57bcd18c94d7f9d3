"""Generate what the Python SDK holds of the wire contracts, or check that it is fresh.

    python proto/generate.py envs/entrain_envs            writes wire/, unity/wire/ and proto/
    python proto/generate.py --check envs/entrain_envs    exits 1 if something there is not fresh

Generated are the protobuf classes (`wire/`, and `unity/wire/` for games of ML-Agents) and a copy of
the native contract itself (`proto/`), so that an installed SDK has the `.proto` file for simulators
in other languages. The classes' import path is mapped to `entrain_envs`: as `entrain/v1` they would
collide with the trainer's package.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from grpc_tools import protoc

PROTO = Path(__file__).parent
CONTRACT = "entrain/v1/trainer.proto"


@dataclass(frozen=True)
class Source:
    """One .proto file, and what is generated from it."""

    contract: str
    """Path below this folder."""

    folder: str
    """Of the generated classes, within the SDK."""

    has_service: bool = False

    @property
    def name(self) -> str:
        """The contract without its folder."""
        return Path(self.contract).name

    @property
    def classes(self) -> tuple[str, ...]:
        """File names of the generated classes."""
        stem = f"{Path(self.contract).stem}_pb2"
        return (f"{stem}.py", f"{stem}.pyi", *([f"{stem}_grpc.py"] if self.has_service else []))

    def generate(self, scratch: Path) -> Mapping[str, bytes]:
        """{path within the SDK: what the contract gives}."""
        package = f"entrain_envs/{self.folder}"
        status = protoc.main(
            [
                "protoc",
                f"-I{package}={(PROTO / self.contract).parent}",
                f"--python_out={scratch}",
                f"--pyi_out={scratch}",
                *([f"--grpc_python_out={scratch}"] if self.has_service else []),
                f"{package}/{self.name}",
            ]
        )
        if status:
            raise SystemExit(f"protoc failed with exit code {status}")
        return {
            f"{self.folder}/{name}": (scratch / package / name).read_bytes()
            for name in self.classes
        }


SOURCES = (
    Source(CONTRACT, "wire", has_service=True),
    Source("communicator_objects/exchange.proto", "unity/wire"),
    Source("communicator_objects/packed.proto", "unity/wire"),
)


def generated() -> Mapping[str, bytes]:
    """{path within the SDK: what the contracts give}."""
    files = {f"proto/{CONTRACT}": (PROTO / CONTRACT).read_bytes()}
    for source in SOURCES:
        with tempfile.TemporaryDirectory() as scratch:
            files |= source.generate(Path(scratch))
    return files


def write(sdk: Path) -> None:
    """Write everything generated into the package folder `sdk`."""
    for name, content in generated().items():
        path = sdk / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def stale(sdk: Path) -> list[str]:
    """Names of generated files in `sdk` that are missing or differ from what would be written."""
    return [
        name
        for name, content in generated().items()
        if not (sdk / name).exists() or (sdk / name).read_bytes() != content
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("sdk", type=Path, help="the folder of the package entrain_envs")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if not arguments.check:
        write(arguments.sdk)
    elif names := stale(arguments.sdk):
        sys.exit(f"{', '.join(names)} in {arguments.sdk} is not fresh; run `make proto`")


if __name__ == "__main__":
    main()
