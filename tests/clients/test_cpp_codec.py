"""The C++ client writes and reads what the generated code does, byte by byte, and bounds frames."""

import base64
import hashlib
import math
import random
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from entrain_envs.wire import trainer_pb2 as pb
from support.cpp_probe import answers
from support.cpp_words import dotted, hello_lines, spelled, vectors

NOT_WRITTEN = {
    "hello-every-field": "the client asks for one unanswered Step, and speaks version 1 alone",
    "step-behaviour-without-rows": "the client leaves out behaviours without rows",
    "step-statistics": "the client always says how values are put together",
}
"""Vectors of from_simulator.json that this client has no way to send."""


def step_lines(step: pb.Step, specs: list[pb.BehaviourSpec]) -> Iterator[str]:
    """A Step whose behaviours stand in the order of `specs`."""
    names = [spec.name for spec in specs]
    yield f"step {step.sequence}"
    for declared in step.new_behaviours:
        yield f"declare {names.index(declared.name)}"
    for part in step.behaviours:
        yield f"rows {names.index(part.behaviour)}"
        yield from row_lines(part, specs[names.index(part.behaviour)])
    for statistic in step.statistics:
        yield (
            f"statistic {dotted(statistic.name)} {statistic.aggregation} "
            f"{spelled(statistic.values)}"
        )
    yield "end"


def row_lines(part: pb.BehaviourStep, spec: pb.BehaviourSpec) -> Iterator[str]:
    agents = struct.unpack(f"<{len(part.agent_id) // 8}q", part.agent_id)
    rewards = struct.unpack(f"<{len(agents)}f", part.reward)
    groups = struct.unpack(f"<{len(part.group_id) // 8}q", part.group_id)
    group_rewards = struct.unpack(f"<{len(part.group_reward) // 4}f", part.group_reward)
    branches = list(spec.action.branches)
    for row, agent in enumerate(agents):
        yield f"row {agent} {part.step_type[row]} {rewards[row]!r}"
        for index, (observation, content) in enumerate(
            zip(spec.observations, part.observations, strict=True)
        ):
            size = math.prod(observation.shape)
            if observation.dtype == pb.DTYPE_UINT8:
                numbers: Any = content[row * size : (row + 1) * size]
                yield f"bytes {index} {spelled(numbers)}"
            else:
                numbers = struct.unpack_from(f"<{size}f", content, 4 * row * size)
                yield f"floats {index} {spelled(numbers)}"
        mask = part.action_mask[row * sum(branches) : (row + 1) * sum(branches)]
        for branch, choices in enumerate(branches):
            at = sum(branches[:branch])
            for choice, allowed in enumerate(mask[at : at + choices]):
                if not allowed:
                    yield f"forbid {branch} {choice}"
        if groups:
            yield f"group {groups[row]} {group_rewards[row]!r}"
        if part.late and part.late[row]:
            yield "late"


def words_of(response: pb.ConnectResponse) -> list[str]:
    """What the program says of a message, as words; parameters in any order."""
    kind = response.WhichOneof("message")
    if kind is None:
        return ["none"]
    content = getattr(response, kind)
    if kind == "welcome":
        words: list[object] = [
            content.version, dotted(content.session_id), dotted(content.run_id), content.seed,
            int(content.resumed), single(content.grace_s), content.max_message_bytes,
            content.revision,
        ]  # fmt: skip
        for name, value in sorted(content.environment_parameters.items()):
            words += [dotted(name), single(value)]
    elif kind == "act":
        words = [content.sequence]
        for part in content.behaviours:
            words += [
                "part", dotted(part.behaviour), dotted(part.continuous), dotted(part.discrete),
                part.policy_version,
            ]  # fmt: skip
        for name, value in sorted(content.changed_environment_parameters.items()):
            words += ["parameter", dotted(name), single(value)]
    else:
        number = content.reason if kind == "close" else content.code
        words = [number, dotted(content.message)]
    return [kind, *map(str, words)]


def single(value: float) -> str:
    return dotted(struct.pack("<f", value))


def in_order(said: str) -> list[str]:
    """The program's words, with the parameters of a map sorted by name."""
    words = said.split()
    begin = words.index("parameter") if "parameter" in words else len(words)
    size, first = (3, begin) if words[0] == "act" else (2, 9)
    if words[0] not in ("act", "welcome"):
        return words
    pairs = [words[at : at + size] for at in range(first, len(words), size)]
    return words[:first] + [word for pair in sorted(pairs) for word in pair]


def test_what_is_written_is_what_the_vectors_say(cpp_probe: Path) -> None:
    specs = next(
        pb.ConnectRequest.FromString(bytes.fromhex(vector["bytes"])).hello.behaviours
        for vector in vectors("from_simulator")
        if vector["name"] == "hello-every-field"
    )
    known = list(specs)
    lines: list[str] = []
    expected: dict[str, str] = {}
    for vector in vectors("from_simulator"):
        if vector["name"] in NOT_WRITTEN:
            continue
        request = pb.ConnectRequest.FromString(bytes.fromhex(vector["bytes"]))
        expected[vector["name"]] = "." + vector["bytes"]
        if request.HasField("hello"):
            lines += hello_lines(request.hello)
        elif request.HasField("goodbye"):
            lines.append(f"goodbye {dotted(request.goodbye.reason)}")
        else:
            new = [*known, *request.step.new_behaviours]
            lines += [line for line in hello_lines(pb.Hello(behaviours=new)) if line != "end"]
            lines += step_lines(request.step, new)
    said = answers(cpp_probe, lines)
    assert dict(zip(expected, said, strict=True)) == expected


def test_random_steps_are_the_bytes_of_the_generated_code(cpp_probe: Path) -> None:
    chance = random.Random(5)
    specs = [
        pb.BehaviourSpec(
            name="a",
            observations=[
                pb.ObservationSpec(name="x", shape=[3], dtype=pb.DTYPE_FLOAT32),
                pb.ObservationSpec(name="y", shape=[2, 5], dtype=pb.DTYPE_UINT8),
            ],
            action=pb.ActionSpec(low=[-1], high=[1], branches=[3, 4]),
        ),
        pb.BehaviourSpec(
            name="b",
            observations=[pb.ObservationSpec(name="z", dtype=pb.DTYPE_FLOAT32)],
            action=pb.ActionSpec(low=[-1], high=[1]),
        ),
    ]
    steps = [random_step(chance, number) for number in range(1, 60)]
    lines = [line for line in hello_lines(pb.Hello(behaviours=specs)) if line != "end"]
    for step in steps:
        lines += step_lines(step, specs)
    expected = [dotted(pb.ConnectRequest(step=step).SerializeToString()) for step in steps]
    assert answers(cpp_probe, lines) == expected


def random_step(chance: random.Random, number: int) -> pb.Step:
    step = pb.Step(sequence=number**5)
    for name, sizes in (("a", (12, 10)), ("b", (4,))):
        rows = chance.choice([0, 1, 2, 13, 40])
        if rows == 0:
            continue
        part = pb.BehaviourStep(
            behaviour=name,
            agent_id=struct.pack(f"<{rows}q", *(chance.getrandbits(60) for _ in range(rows))),
            step_type=bytes(chance.choices([1, 2, 3, 4], k=rows)),
            reward=struct.pack(f"<{rows}f", *(chance.gauss(0, 1) for _ in range(rows))),
            observations=[random_numbers(chance, rows * size, size % 4 == 0) for size in sizes],
        )
        if name == "a" and chance.random() < 0.5:
            part.action_mask = bytes([0, *[1] * (7 * rows - 1)])
        if chance.random() < 0.3:
            part.late = bytes([*[0] * (rows - 1), 1])
        step.behaviours.append(part)
    return step


def random_numbers(chance: random.Random, size: int, are_floats: bool) -> bytes:
    if not are_floats:
        return chance.randbytes(size)
    return struct.pack(f"<{size // 4}f", *(chance.random() for _ in range(size // 4)))


@pytest.mark.parametrize("name", ["from_trainer", "tolerated"])
def test_what_is_read_is_what_the_generated_code_reads(cpp_probe: Path, name: str) -> None:
    listed = [vector for vector in vectors(name) if vector["message"] == "ConnectResponse"]
    said = answers(cpp_probe, [f"read .{vector['bytes']}" for vector in listed])
    for vector, words in zip(listed, said, strict=True):
        message = pb.ConnectResponse.FromString(bytes.fromhex(vector["bytes"]))
        assert in_order(words) == words_of(message), vector["name"]


def test_damaged_messages_are_seen_to_be(cpp_probe: Path) -> None:
    listed = vectors("malformed")
    said = answers(cpp_probe, [f"read .{vector['bytes']}" for vector in listed])
    names = [vector["name"] for vector in listed]
    assert dict(zip(names, said, strict=True)) == dict.fromkeys(names, "damaged")


def test_every_message_cut_short_or_changed_is_survived(cpp_probe: Path) -> None:
    chance = random.Random(7)
    lines = []
    for vector in [*vectors("from_trainer"), *vectors("tolerated")]:
        content = bytes.fromhex(vector["bytes"])
        lines += [f"read {dotted(content[:size])}" for size in range(len(content))]
        for _ in range(30):
            changed = bytearray(content) or bytearray(1)
            changed[chance.randrange(len(changed))] = chance.randrange(256)
            lines.append(f"read {dotted(bytes(changed))}")
    assert len(answers(cpp_probe, lines)) == len(lines)


def test_inquiries_and_their_answers(cpp_probe: Path) -> None:
    request, *responses = vectors("inquire")
    fields: Mapping[str, Any] = request["fields"]
    lines = [
        f"inquiry {dotted(fields['session_id'])} {dotted(fields['instance_id'])} "
        f"{fields['sequence']}"
    ]
    lines += [f"standing .{vector['bytes']}" for vector in responses]
    assert answers(cpp_probe, lines) == ["." + request["bytes"], "0", "1", "2", "3"]


def test_varints(cpp_probe: Path) -> None:
    listed = [vector for vector in vectors("varints") if vector["number"] != "0"]
    said = answers(cpp_probe, [f"varint {vector['number']}" for vector in listed])
    assert said == [f".08{vector['bytes']} {vector['number']}" for vector in listed]


def test_digests_of_texts_of_every_length(cpp_probe: Path) -> None:
    chance = random.Random(1)
    texts = [chance.randbytes(size) for size in range(120)]
    said = answers(cpp_probe, [f"sha1 {dotted(text)}" for text in texts])
    for text, words in zip(texts, said, strict=True):
        digest = hashlib.sha1(text).digest()
        encoded = [base64.b64encode(part).decode() for part in (digest, digest[:19])]
        assert words.split() == [dotted(digest), *encoded]


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 125, 126, 65535, 65536, 70001])
def test_a_frame_is_masked_and_says_its_length(cpp_probe: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    (said,) = answers(cpp_probe, [f"frame 67305985 {dotted(content)}"])
    written = bytes.fromhex(said[1:])
    assert written[0] == 0x82
    mark = written[1] - 0x80
    head = {126: 4, 127: 10}.get(mark, 2)
    assert (int.from_bytes(written[2:head], "big") if head > 2 else mark) == size
    assert written[head : head + 4] == bytes([1, 2, 3, 4])
    masked = written[head + 4 :]
    assert bytes(byte ^ (at % 4 + 1) for at, byte in enumerate(masked)) == content


def sent(kind: int, content: bytes = b"", *, is_last: bool = True, masked: int = 0) -> bytes:
    head = bytes([(0x80 if is_last else 0) | kind])
    if len(content) < 126:
        return head + bytes([masked | len(content)]) + content
    if len(content) < 65536:
        return head + struct.pack("!BH", masked | 126, len(content)) + content
    return head + struct.pack("!BQ", masked | 127, len(content)) + content


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_frames_are_put_together_however_they_come(cpp_probe: Path, piece: int) -> None:
    long = bytes(range(256)) * 3
    stream = (
        sent(2, b"abc") + sent(2, b"") + sent(2, b"d", is_last=False) + sent(9, b"?")
        + sent(0, b"", is_last=False) + sent(10, b"!") + sent(0, b"e") + sent(2, long)
        + sent(8, b"\x03\xe8bye")
    )  # fmt: skip
    (said,) = answers(cpp_probe, [f"frames 1000 {piece} {dotted(stream)}"])
    assert said.split() == [
        "message" + dotted("abc"), "message.", "ping" + dotted("?"), "message" + dotted("de"),
        "message" + dotted(long), "close" + dotted(b"\x03\xe8bye"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (sent(1, b"words"), 1003),
        (sent(2, b"abc", masked=0x80), 1002),
        (sent(2 | 0x40, b"abc"), 1002),
        (sent(0, b"abc"), 1002),
        (sent(3, b"abc"), 1002),
        (sent(11), 1002),
        (sent(2, b"a", is_last=False) + sent(2, b"b"), 1002),
        (sent(9, b"", is_last=False), 1002),
        (sent(9, bytes(126)), 1002),
        (sent(2, bytes(11)), 1009),
        (b"\x82\x7f" + b"\xff" * 8, 1009),
        (sent(2, bytes(6), is_last=False) + sent(0, bytes(5)), 1009),
    ],
)
def test_frames_that_break_the_rules_are_refused(cpp_probe: Path, stream: bytes, code: int) -> None:
    (said,) = answers(cpp_probe, [f"frames 10 1 {dotted(stream)}"])
    assert said.split()[-2:] == ["fault", str(code)]
