"""Everything the client SDK raises on purpose.

EntrainEnvsError
├── SpecError              a spec is wrong, or an array does not fit it; change the simulator
├── FaultyEnvironmentError an environment raised, or returned what its interface does not allow
│   └── CertainFaultError  it would do so again each time it is started
├── WireError              a message cannot be read; names the field, what arrived and what fits
├── OutOfTurnError         a Step was sent, or actions awaited, where it was not their turn
├── OptionError            an address, file or option is wrong; nothing was dialled
├── RefusedError           the trainer ended the session with a reason; dialling again will not help
│   ├── MisfitError        the trainer will refuse this simulator every time it is started like this
│   └── NoRoomError        a limit of the trainer is reached; there may be room later
├── ConnectionLostError    no trainer answered in time; there may be one later
│   └── BrokenStreamError  one stream broke; TrainerClient dials again before a user sees this
│       ├── SilentStreamError no Act came on it for long; the client gave it up
│       └── StoppedError   the trainer ended the stream because it stops; it may come back
├── SessionLostError       the trainer forgot this session: begin all episodes again
├── TrainerClosed          the trainer is done with this simulator: the normal end
└── MissingExtraError      an optional dependency is missing; names the command that installs it
"""


class EntrainEnvsError(Exception):
    """The root: `except EntrainEnvsError` catches all that this package raises on purpose."""


class SpecError(EntrainEnvsError, ValueError):
    """A spec contradicts itself, or an array does not fit it. Change the simulator."""


class FaultyEnvironmentError(EntrainEnvsError):
    """An environment raised an exception, or returned what its interface does not allow."""


class CertainFaultError(FaultyEnvironmentError):
    """An environment that would fail in the same way each time it is started. Change it."""


class WireError(EntrainEnvsError, ValueError):
    """A message does not fit the handshake. Change its sender."""


class OutOfTurnError(EntrainEnvsError):
    """More Steps were sent than may be unanswered, or actions awaited of none. Change the
    simulator.
    """


class OptionError(EntrainEnvsError, ValueError):
    """An address, file or option for the client is wrong. Change it."""


class RefusedError(EntrainEnvsError):
    """The trainer ended this session for a reason that dialling again does not remove."""


class MisfitError(RefusedError):
    """This simulator and this trainer do not fit together. Start one of them differently.

    The Hello was refused (token, version, behaviours, name), or a message is too long.
    """


class NoRoomError(RefusedError):
    """One of the trainer's limits is reached: sessions, agents, or bytes waiting."""


class ConnectionLostError(EntrainEnvsError):
    """No trainer answered within the allowed time. There may be one later."""


class BrokenStreamError(ConnectionLostError):
    """One stream ended; dialling again may help."""


class SilentStreamError(BrokenStreamError):
    """No Act came on a stream for long, and the client gave it up."""


class StoppedError(BrokenStreamError):
    """The trainer ended the stream because it stops; it may come back."""


class SessionLostError(EntrainEnvsError):
    """The trainer answers again but has forgotten this session and its agents.

    The client already has a new session. Reset the environment, and send only FIRST rows in the
    next exchange.
    """


class TrainerClosed(EntrainEnvsError):  # noqa: N818 - an end, not an error
    """The trainer is done with this simulator. A `with TrainerClient` block ends quietly here."""


class MissingExtraError(EntrainEnvsError):
    """An optional dependency is missing; the message names the command that installs it."""
