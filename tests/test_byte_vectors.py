"""The recorded byte vectors are fresh, cover the contract, and agree with their page."""

import json
import re
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor
from proto.record_vectors import VECTORS, recorded, stale

from entrain_envs.wire import trainer_pb2 as pb

_PAGE = (VECTORS / "README.md").read_text(encoding="utf-8")


def vectors(name: str) -> dict[str, dict[str, Any]]:
    """{name: vector} of one file."""
    content = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return {vector["name"]: vector for vector in content["vectors"]}


def test_recorded_vectors_are_fresh() -> None:
    assert stale(VECTORS) == []


def test_a_changed_and_a_superfluous_file_are_stale(tmp_path: Path) -> None:
    for name, text in recorded().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert stale(tmp_path) == []
    (tmp_path / "inquire.json").write_text("{}", encoding="utf-8")
    (tmp_path / "old.json").write_text("{}", encoding="utf-8")
    assert stale(tmp_path) == ["inquire.json", "old.json"]


def test_every_file_is_on_the_page() -> None:
    assert set(re.findall(r"^\| `(\w+\.json)` \|", _PAGE, re.MULTILINE)) == set(recorded())


def test_the_pages_bytes_are_those_of_the_vector() -> None:
    block = _PAGE.split("```")[1]
    words = [re.match(r" *((?:[0-9a-f]{2,}(?: |$))+)", line) for line in block.strip().splitlines()]
    shown = "".join(word.group(1).replace(" ", "") for word in words if word)
    assert shown == vectors("from_simulator")["step-truncated"]["bytes"]
    assert vectors("from_simulator")["goodbye-without-reason"]["bytes"] == "1a00"


def test_vectors_set_every_field_of_the_contract() -> None:
    """A field that joins the contract needs a vector."""
    shown: set[str] = set()
    for name in ("from_simulator", "from_trainer", "inquire"):
        for vector in vectors(name).values():
            message = getattr(pb, vector["message"])()
            message.ParseFromString(bytes.fromhex(vector["bytes"]))
            shown |= _fields_set(message)
    contract = {
        f"{kind.name}.{field.name}"
        for kind in pb.DESCRIPTOR.message_types_by_name.values()
        for field in kind.fields
    }
    assert contract - shown == set()


def _fields_set(message: Any) -> set[str]:
    kind: Descriptor = message.DESCRIPTOR
    names: set[str] = set()
    for field, value in message.ListFields():
        names.add(f"{kind.name}.{field.name}")
        if field.message_type and not field.message_type.GetOptions().map_entry:
            for each in value if field.is_repeated else [value]:
                names |= _fields_set(each)
    return names


def test_a_case_in_words_says_what_its_bytes_hold() -> None:
    step = vectors("from_simulator")["step-end-and-beginning"]["fields"]["step"]
    assert step["sequence"] == "3"
    (rows,) = step["behaviours"]
    assert rows["agent_id"] == ["1", "1", "2"]
    assert rows["step_type"] == [3, 1, 2]
    assert rows["reward"] == [-5.0, 0.0, 1.0]
    assert rows["observations"] == [[9.0, 9.0, 9.0, 0.0, 0.0, 0.0, 3.0, 4.0, 5.0]]
