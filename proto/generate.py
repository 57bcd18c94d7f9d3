"""Generate what the Python SDK holds of the wire contract, or check that it is fresh.

    python proto/generate.py envs/entrain_envs            writes wire/*.py and proto/
    python proto/generate.py --check envs/entrain_envs    exits 1 if something there is not fresh

Generated are the protobuf classes (`wire/`) and a copy of the contract itself (`proto/`), so that
an installed SDK has the `.proto` file for simulators in other languages. The classes' import path
is mapped to `entrain_envs.wire`: as `entrain/v1` they would collide with the trainer's package.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from grpc_tools import protoc

PROTO = Path(__file__).parent
CONTRACT = "entrain/v1/trainer.proto"
PACKAGE = "entrain_envs/wire"
CLASSES = ("trainer_pb2.py", "trainer_pb2.pyi", "trainer_pb2_grpc.py")


def generated() -> Mapping[str, bytes]:
    """{path within the SDK: what the contract gives}."""
    with tempfile.TemporaryDirectory() as scratch:
        status = protoc.main(
            [
                "protoc",
                f"-I{PACKAGE}={(PROTO / CONTRACT).parent}",
                f"--python_out={scratch}",
                f"--pyi_out={scratch}",
                f"--grpc_python_out={scratch}",
                f"{PACKAGE}/trainer.proto",
            ]
        )
        if status:
            raise SystemExit(f"protoc failed with exit code {status}")
        classes = {
            f"wire/{name}": (Path(scratch) / PACKAGE / name).read_bytes() for name in CLASSES
        }
    return {**classes, f"proto/{CONTRACT}": (PROTO / CONTRACT).read_bytes()}


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
