"""The pseudo-code of docs/other-languages.md keeps every rule, and protoc takes its lines."""

import re
import secrets
import shutil
import subprocess
import threading
import time
from pathlib import Path
from random import uniform
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from entrain_envs.codec import encode_timesteps
from entrain_envs.conformance.grpc_port import GrpcPort
from entrain_envs.conformance.listening import Access, read_place
from entrain_envs.conformance.pace import Pace
from entrain_envs.conformance.results import Verdict
from entrain_envs.conformance.script import Script
from entrain_envs.connection import Connection, Destination
from entrain_envs.errors import BrokenStreamError, RefusedError
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.spec_codec import encode_spec
from entrain_envs.timestep import StepType, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "other-languages.md").read_text(encoding="utf-8")
CODE = PAGE.split("```python\n")[1].split("```")[0]
SPEC = BehaviourSpec("point", (ObservationSpec("place", (2,)),), ActionSpec(low=(-1,), high=(1,)))
QUICK = Pace(late_s=0.05, quiet_s=0.3, silence_s=5.0, min_steps=12, max_steps=40, episodes=2)


_HASTE = 20.0
"""The page's seconds pass so many times faster."""


class LostError(Exception):
    """`Lost` of the page."""


class DoneError(Exception):
    """`Done` of the page."""


class PageStream:
    """The stream of the page, on the SDK's connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._arrived: list[Any] = []
        self._has_come = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while True:
                self._put(self._connection.receive())
        except (BrokenStreamError, RefusedError) as error:
            self._put(error)

    def _put(self, what: Any) -> None:
        self._arrived.append(what)
        self._has_come.set()

    def send(self, message: bytes) -> None:
        self._connection.send(pb.ConnectRequest.FromString(message))

    def receive(self, timeout_s: float) -> Any:
        if not self._has_come.wait(timeout_s / _HASTE):
            return None
        if isinstance(self._arrived[0], Exception):
            raise self._arrived[0]
        response = self._arrived.pop(0)
        if not self._arrived:
            self._has_come.clear()
        reason = response.close.reason
        return SimpleNamespace(
            is_act=response.HasField("act"),
            is_stopped=reason == pb.CLOSE_REASON_STOPPED,
            is_completed=reason == pb.CLOSE_REASON_COMPLETED,
            session_id=response.welcome.session_id,
            resumed=response.welcome.resumed,
            max_message_bytes=response.welcome.max_message_bytes,
        )

    def cancel(self) -> None:
        self._connection.give_up("cancelled")

    def inquire(self, request: pb.InquireRequest) -> str:
        return pb.StepStanding.Name(self._connection.inquire(request, timeout_s=5).standing)[14:]


def session_of_the_page(address: str) -> Any:
    """An instance of the page's class, at this address."""
    destination = Destination(address=address)
    streams: list[PageStream] = []

    def open_stream() -> PageStream:
        streams.append(PageStream(destination.open()))
        return streams[-1]

    def hello(instance_id: str, *, resume_session_id: str) -> bytes:
        said = pb.Hello(min_version=1, max_version=1, simulator="page", instance_id=instance_id)
        said.behaviours.append(encode_spec(SPEC))
        said.resume_session_id = resume_session_id
        return pb.ConnectRequest(hello=said).SerializeToString()

    def step(sequence: int, rows: TimestepBatch) -> bytes:
        parts = [encode_timesteps(SPEC, rows)]
        request = pb.ConnectRequest(step=pb.Step(sequence=sequence, behaviours=parts))
        return request.SerializeToString()

    def inquire(session_id: str, instance_id: str, sequence: int, *, timeout_s: float) -> str:
        asked = pb.InquireRequest(session_id=session_id, instance_id=instance_id, sequence=sequence)
        return streams[-1].inquire(asked)

    def fail(words: str) -> None:
        raise RefusedError(words)

    names: dict[str, Any] = {
        "open_stream": open_stream,
        "hello": hello,
        "step": step,
        "goodbye": lambda: pb.ConnectRequest(goodbye=pb.Goodbye()).SerializeToString(),
        "inquire": inquire,
        "fail": fail,
        "random_hex": lambda: secrets.token_hex(8),
        "random_between": uniform,
        "sleep": time.sleep,
        "Broken": BrokenStreamError,
        "Lost": LostError,
        "Done": DoneError,
    }
    exec(CODE, names)
    return names["Session"]()


def simulate(address: str) -> None:
    """The loop around the page's class: three points whose episodes have four Steps."""
    session, random = session_of_the_page(address), np.random.default_rng(1)
    kinds = [StepType.FIRST, StepType.MID, StepType.MID, StepType.TERMINATED]
    while True:
        try:
            for kind in kinds:
                rows = TimestepBatch.of(
                    SPEC,
                    agent_id=[1, 2, 3],
                    step_type=kind,
                    reward=0.0 if kind is StepType.FIRST else 1.0,
                    observation={"place": random.normal(size=(3, 2))},
                )
                session.exchange(rows)
        except LostError:
            continue
        except (DoneError, RefusedError):
            return


class PageLauncher:
    """Runs it in a thread for each life."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._thread = threading.Thread()

    def start(self) -> None:
        self._thread = threading.Thread(target=simulate, args=(self._address,), daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()


def test_the_pseudo_code_passes_the_check() -> None:
    with GrpcPort(read_place("localhost:0", option="--listen"), Access()) as port:
        script = Script(port, pace=QUICK, timeout_s=60, launcher=PageLauncher(port.address))
        findings = script.run().findings()
    assert [each for each in findings if each.verdict is Verdict.FAILED] == []
    shown = {each.rule.name for each in findings if each.verdict is Verdict.PASSED}
    assert shown >= {
        *(
            "resume",
            "sends-again",
            "begins-anew",
            "stopped",
            "completed",
            "refused",
            "inquires",
            "gives-up",
        ),
        *("waits-to-dial", "closed-at-once", "stays-away", "message-length", "late-act"),
    }


@pytest.mark.skipif(shutil.which("protoc") is None, reason="install protobuf-compiler")
@pytest.mark.parametrize("option", ["cpp_out", "java_out", "csharp_out"])
def test_protoc_generates_what_the_page_says(option: str, tmp_path: Path) -> None:
    if option != "csharp_out":
        assert f"protoc -I proto --{option}=gen" in PAGE
    command = ["protoc", "-I", "proto", f"--{option}={tmp_path}", "entrain/v1/trainer.proto"]
    subprocess.run(command, check=True, cwd=ROOT)
    written = {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    expected = {
        "cpp_out": ("trainer.pb.h", "namespace entrain"),
        "java_out": ("TrainerOuterClass.java", "package entrain.v1;"),
        "csharp_out": ("Trainer.cs", "namespace Entrain.V1"),
    }
    name, words = expected[option]
    assert words in written[name]


def test_every_language_has_a_line() -> None:
    rows = re.findall(r"^\| ([A-Z][^|]*) \|", PAGE, re.MULTILINE)
    assert rows == ["C++", "C#", "Go", "Java, Kotlin", "Rust", "JavaScript in Node"]
