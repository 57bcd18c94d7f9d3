"""Everything the trainer raises on purpose.

EntrainError                exit code 1
├── ConfigError             2  the run's configuration is wrong; nothing was started
├── CheckpointError         3  a checkpoint is missing, damaged or made for another spec
├── ServeError              4  the trainer cannot listen as it was told: port, certificate, token
├── NoSimulatorError        5  no simulator came, or all left for good, before the work was done
├── ControlError            8  a run that is to be controlled does not answer, or not to this token
├── DiskError               7  the disk refuses: full, read-only, failing, the run folder gone
├── RankLostError           9  another rank of the run was lost; the checkpoint before stands
├── RankFailedError         -  another rank of the run failed; its exit code is that one's
├── InUseError              75 another trainer has the run folder; the same command works later
├── MissingExtraError       2  an optional dependency is missing; says which command installs it
├── TrainingDivergedError   6  a loss or gradient is no finite number; weights are kept as before
│   └── UnlearnableRolloutError  not even before a weight was changed: the rollout's numbers
├── PolicyInputError        1  what a program gives a policy to act on does not fit that policy
├── ExportError             1  a policy cannot be exported, or the file would compute otherwise
└── SimulatorError          -  a simulator broke the protocol; only its session ends
    ├── BadStepError           a Step's content: shape, dtype, number, order
    ├── UnexpectedMessageError a message that the stream does not allow now
    ├── BadHelloError          a Hello's content: names, specs, behaviours that get no policy
    ├── RefusedHelloError      a Hello that does not fit this run: version, spec, name taken
    ├── UnauthenticatedError   the token is missing or wrong
    └── LimitError             more sessions, agents or waiting bytes than the trainer allows
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from entrain.quoting import shortened

MOST_WORDS = 2000
"""Characters of what is said about something that a simulator sent: gRPC hides a longer reason than
some 8,000 bytes, and the log must not be as long as what strangers send."""


class EntrainError(Exception):
    """The root; the command line turns it into one line and `exit_code`."""

    exit_code: ClassVar[int] = 1


class ConfigError(EntrainError):
    """The run's configuration is wrong; nothing was started."""

    exit_code = 2


class CheckpointError(EntrainError):
    """A checkpoint is missing, damaged or made for another spec; nothing was overwritten."""

    exit_code = 3


class ServeError(EntrainError):
    """The trainer cannot listen where or how it was told to."""

    exit_code = 4


class NoSimulatorError(EntrainError):
    """No simulator came, or all left for good, before the work was done."""

    exit_code = 5


class MissingExtraError(EntrainError):
    """An optional dependency is missing; the message says which command installs it."""

    exit_code = 2


class TrainingDivergedError(EntrainError):
    """A loss or gradient became NaN or infinite; the weights are those before that update."""

    exit_code = 6


class UnlearnableRolloutError(TrainingDivergedError):
    """A loss or gradient was not finite before any weight was changed: no setting helps."""


class DiskError(EntrainError):
    """The disk refuses what a run must write; what was written before is as it was."""

    exit_code = 7


class RankLostError(EntrainError):
    """Another rank of the run ended without a word, or no longer answers."""

    exit_code = 9


class RankFailedError(EntrainError):
    """Another rank of the run failed, and all end with it."""

    def __init__(self, words: str, *, exit_code: int) -> None:
        """Why, and the exit code of that rank."""
        super().__init__(words)
        self.exit_code = exit_code  # type: ignore[misc]


class InUseError(EntrainError):
    """Another trainer has the run folder; once that one has ended, the same command works."""

    exit_code = 75


class ControlError(EntrainError):
    """A run that somebody wants to control does not answer, or not to this token."""

    exit_code = 8


class PolicyInputError(EntrainError):
    """The observations that a program gives a policy do not fit it: names, shapes or numbers."""


class ExportError(EntrainError):
    """A policy cannot be exported, or the file would compute otherwise; nothing was published."""


class SimulatorError(EntrainError):
    """A simulator broke the protocol; its session ends, every other goes on."""

    def __init__(self, words: str) -> None:
        """Words that may quote what the simulator sent; they are shortened in the middle."""
        super().__init__(shortened(words, MOST_WORDS))


class BadStepError(SimulatorError):
    """A Step's content is wrong: shape, dtype, NaN, unknown behaviour, order of timesteps."""


class UnexpectedMessageError(SimulatorError):
    """A message arrived that its stream does not allow at this point."""


class BadHelloError(SimulatorError):
    """A Hello's content is wrong: an empty name, a broken spec, a behaviour that gets no policy."""


class RefusedHelloError(SimulatorError):
    """A Hello does not fit this run: protocol version, another spec, a name that is taken."""


class UnauthenticatedError(SimulatorError):
    """The simulator showed no token, or not the right one."""


class LimitError(SimulatorError):
    """The simulator asks for more sessions, agents or waiting bytes than the trainer allows."""


def describe(error: Exception) -> str:
    """Its message, which only that of an error of ours makes sense without its class."""
    return str(error) if isinstance(error, EntrainError) else f"{type(error).__name__}: {error}"


@contextmanager
def ungrouped() -> Iterator[None]:
    """The first error that a group of tasks ended with, instead of the group."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
