"""Generate the protobuf classes from the wire contract, or check that they are fresh.

    python proto/generate.py OUT            writes OUT/trainer_pb2.py and its companions
    python proto/generate.py --check OUT    exits 1 if OUT is not what would be written

The import path is mapped to `entrain_envs.wire`: generated as `entrain/v1` the classes would
collide with the trainer's own package.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

PROTO = Path(__file__).parent / "entrain" / "v1"
PACKAGE = "entrain_envs/wire"
GENERATED = ("trainer_pb2.py", "trainer_pb2.pyi", "trainer_pb2_grpc.py")


def generate(out: Path) -> None:
    """Write the generated modules into `out`."""
    with tempfile.TemporaryDirectory() as scratch:
        status = protoc.main(
            [
                "protoc",
                f"-I{PACKAGE}={PROTO}",
                f"--python_out={scratch}",
                f"--pyi_out={scratch}",
                f"--grpc_python_out={scratch}",
                f"{PACKAGE}/trainer.proto",
            ]
        )
        if status:
            raise SystemExit(f"protoc failed with exit code {status}")
        out.mkdir(parents=True, exist_ok=True)
        for name in GENERATED:
            (out / name).write_bytes((Path(scratch) / PACKAGE / name).read_bytes())


def stale(out: Path) -> list[str]:
    """Names of generated modules in `out` that differ from what the contract gives."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        generate(fresh)
        return [
            name
            for name in GENERATED
            if not (out / name).exists() or (out / name).read_bytes() != (fresh / name).read_bytes()
        ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if not arguments.check:
        generate(arguments.out)
    elif names := stale(arguments.out):
        sys.exit(f"{', '.join(names)} in {arguments.out} is not fresh; run `make proto`")


if __name__ == "__main__":
    main()
