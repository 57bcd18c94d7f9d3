"""Lines of words by which the codec of the C++ client's program is told what to write."""

import json
from collections.abc import Iterator
from typing import Any

from entrain_envs.wire import trainer_pb2 as pb
from support.cpp_probe import ROOT

VECTORS = ROOT / "proto" / "vectors"


def vectors(name: str) -> list[dict[str, Any]]:
    content = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    listed: list[dict[str, Any]] = content["vectors"]
    return listed


def dotted(content: bytes | str) -> str:
    """A text or bytes as one word."""
    return "." + (content.encode() if isinstance(content, str) else content).hex()


def spelled(numbers: Any) -> str:
    return " ".join(repr(float(number)) for number in numbers)


def spec_lines(spec: pb.BehaviourSpec) -> Iterator[str]:
    yield f"behaviour {dotted(spec.name)} {spec.deadline_ms} {spec.fallback}"
    for part in spec.observations:
        yield f"observation {dotted(part.name)} {part.dtype} {part.kind}"
        yield f"shape {spelled(part.shape)}"
        yield f"low {spelled(part.low)}"
        yield f"high {spelled(part.high)}"
    yield f"action_low {spelled(spec.action.low)}"
    yield f"action_high {spelled(spec.action.high)}"
    yield f"branches {spelled(spec.action.branches)}"


def hello_lines(hello: pb.Hello) -> Iterator[str]:
    yield (
        f"hello {dotted(hello.simulator)} {dotted(hello.instance_id)} {hello.max_agents} "
        f"{dotted(hello.resume_session_id)} {hello.role}"
    )
    for spec in hello.behaviours:
        yield from spec_lines(spec)
    yield "end"
