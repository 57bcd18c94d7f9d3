"""What a simulator is that breaks one rule, and of which the report must say so."""

from collections.abc import Callable
from dataclasses import dataclass

from entrain_envs.wire import trainer_pb2 as pb
from support.sample_simulator import (
    SampleSimulator,
)


@dataclass(frozen=True)
class Faulty:
    """A simulator that breaks one rule."""

    rule: str
    words: str
    """Part of what the report says arrived."""

    make: Callable[[], SampleSimulator]
    case: str = ""
    """Which of several faults of the rule."""


FAULTY: list[Faulty] = []


def breaks(rule: str, words: str, case: str = "") -> Callable[[type], type]:
    """Add a class to `FAULTY`."""

    def add(kind: type) -> type:
        FAULTY.append(Faulty(rule, words, kind, case))
        return kind

    return add


class Good(SampleSimulator):
    """Shows the token, too."""

    token = "secret"


class OtherHello(Good):
    """Changes its Hello."""

    def hello(self) -> pb.Hello:
        hello = super().hello()
        self.change_hello(hello)
        return hello

    def change_hello(self, hello: pb.Hello) -> None:
        raise NotImplementedError
