"""Record the byte vectors of the contract, or check that they are fresh.

    python -m proto.record_vectors            writes proto/vectors/*.json
    python -m proto.record_vectors --check    exits 1 if one of them is not fresh

Bytes come from the generated code, never from a codec of ours. What is said to be refused is shown
to the Python SDK's codec, which must refuse it. proto/vectors/README.md explains the files.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from google.protobuf.message import DecodeError, Message
from proto.vector_bytes import (
    MALFORMED,
    TOLERATED,
    VARINTS,
    Bytes,
    varint,
)
from proto.vector_cases import FROM_SIMULATOR, FROM_TRAINER, INQUIRIES, SPECS, Case
from proto.vector_refusals import WRONG_ACTIONS, WRONG_ROWS
from proto.vector_words import Words, in_words

from entrain_envs.codec import decode_actions, decode_timesteps
from entrain_envs.errors import EntrainEnvsError
from entrain_envs.spec_codec import decode_spec
from entrain_envs.wire import trainer_pb2 as pb

VECTORS = Path(__file__).parent / "vectors"

_SPECS = {spec.name: decode_spec(spec) for spec in SPECS}


def recorded() -> Mapping[str, str]:
    """{file name: its text}."""
    specs = {spec.name: in_words(spec, SPECS) for spec in SPECS}
    files: Mapping[str, Words] = {
        "from_simulator": {
            "about": "Messages of a simulator. Write each from its fields, and read it back.",
            "specs": specs,
            "vectors": _cases(FROM_SIMULATOR),
        },
        "from_trainer": {
            "about": "Messages of a trainer. Read each, and find its fields.",
            "specs": specs,
            "vectors": _cases(FROM_TRAINER),
        },
        "inquire": {
            "about": "Messages of the second call, Inquire.",
            "vectors": _cases(INQUIRIES),
        },
        "varints": {
            "about": "Whole numbers as varints, both ways.",
            "vectors": [{"number": str(each), "bytes": varint(each).hex()} for each in VARINTS],
        },
        "tolerated": {
            "about": "Unusual bytes with a meaning. Read each, and find its fields.",
            "vectors": [_tolerated(each) for each in TOLERATED],
        },
        "malformed": {
            "about": "No messages. Reading each must fail, without reading beyond its end.",
            "vectors": [_malformed(each) for each in MALFORMED],
        },
        "refused": {
            "about": "Messages that break a rule: rows for a trainer to refuse, or actions.",
            "specs": specs,
            "vectors": [*_wrong_rows(), *_wrong_actions()],
        },
    }
    return {
        f"{name}.json": json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        for name, content in files.items()
    }


def _cases(cases: Iterable[Case]) -> list[Words]:
    return [
        {
            "name": case.name,
            "about": case.about,
            "message": type(case.message).__name__,
            "fields": in_words(case.message, SPECS),
            "bytes": case.message.SerializeToString(deterministic=True).hex(),
        }
        for case in cases
    ]


def _parsed(kind: str, content: bytes) -> Message:
    message: Message = getattr(pb, kind)()
    message.ParseFromString(content)
    return message


def _tolerated(case: Bytes) -> Words:
    message = _parsed(case.kind, case.content)
    message.DiscardUnknownFields()
    return {
        "name": case.name,
        "about": case.about,
        "message": case.kind,
        "fields": in_words(message, SPECS),
        "bytes": case.content.hex(),
    }


def _malformed(case: Bytes) -> Words:
    try:
        _parsed(case.kind, case.content)
    except DecodeError:
        return {
            "name": case.name,
            "about": case.about,
            "message": case.kind,
            "bytes": case.content.hex(),
        }
    raise SystemExit(f"{case.name} was read although it is said to be malformed")


def _wrong_rows() -> list[Words]:
    words: list[Words] = []
    for case in WRONG_ROWS:
        try:
            decode_timesteps(_SPECS[case.behaviour], case.rows)
        except EntrainEnvsError:
            step = pb.ConnectRequest(step=pb.Step(sequence=1, behaviours=[case.rows]))
            words.append(
                {
                    "name": case.name,
                    "about": case.reason,
                    "message": "ConnectRequest",
                    "fields": in_words(step, SPECS),
                    "bytes": step.SerializeToString(deterministic=True).hex(),
                }
            )
        else:
            raise SystemExit(f"{case.name} was taken although it is said to be refused")
    return words


def _wrong_actions() -> list[Words]:
    words: list[Words] = []
    for case in WRONG_ACTIONS:
        try:
            decode_actions(_SPECS[case.behaviour], case.actions, case.rows)
        except EntrainEnvsError:
            act = pb.ConnectResponse(act=pb.Act(sequence=1, behaviours=[case.actions]))
            words.append(
                {
                    "name": case.name,
                    "about": case.reason,
                    "message": "ConnectResponse",
                    "rows_that_need_an_action": case.rows,
                    "fields": in_words(act, SPECS),
                    "bytes": act.SerializeToString(deterministic=True).hex(),
                }
            )
        else:
            raise SystemExit(f"{case.name} was taken although it is said to be refused")
    return words


def stale(folder: Path) -> list[str]:
    """Names of files in `folder` that are missing, differ from what would be written, or are too
    many.
    """
    files = recorded()
    differing = [
        name
        for name, text in files.items()
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text
    ]
    return differing + sorted({path.name for path in folder.glob("*.json")} - files.keys())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        if names := stale(VECTORS):
            sys.exit(f"{', '.join(names)} in {VECTORS} is not fresh; run `make proto`")
        return
    for name, text in recorded().items():
        (VECTORS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
