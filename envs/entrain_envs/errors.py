"""Everything the client SDK raises on purpose.

EntrainEnvsError
├── SpecError              a spec, or an array held against it, is wrong; the simulator must change
├── WireError              a message cannot be read; names field, arrived, expected
├── OptionError            an address, file or option is wrong; nothing was dialled
├── RefusedError           the trainer ended the session and said why; dialling again would not help
│   ├── MisfitError        it would do so again however often the simulator is started as it is
│   └── NoRoomError        a limit of the trainer is reached; there may be room another time
├── ConnectionLostError    the trainer was not there, or did not come back in time; it may later
│   └── BrokenStreamError  one stream broke; TrainerClient dials again before anyone sees this
│       └── StoppedError   the trainer ended it because it stops; it may come back
├── SessionLostError       the trainer is there but forgot this session: begin all episodes anew
├── TrainerClosed          the trainer is done with this simulator: the ordinary end
└── MissingExtraError      an optional dependency is not installed; says which command installs it
"""


class EntrainEnvsError(Exception):
    """The root: `except EntrainEnvsError` catches what this package raises on purpose."""


class SpecError(EntrainEnvsError, ValueError):
    """A spec contradicts itself, or an array does not fit it; the simulator must be changed."""


class WireError(EntrainEnvsError, ValueError):
    """A message does not fit what the handshake said; the sender must be changed."""


class OptionError(EntrainEnvsError, ValueError):
    """An address, file or option given to the client is wrong; the caller must change it."""


class RefusedError(EntrainEnvsError):
    """The trainer ended this session for a reason that dialling again would not mend."""


class MisfitError(RefusedError):
    """This simulator and this trainer do not fit: one of them must be started differently.

    The Hello was refused (token, version, behaviours, name), or a message is too long.
    """


class NoRoomError(RefusedError):
    """One of the trainer's limits is reached: sessions, agents, or bytes that wait."""


class ConnectionLostError(EntrainEnvsError):
    """No trainer answered within the time allowed; it may be there later."""


class BrokenStreamError(ConnectionLostError):
    """One stream ended; dialling again may help."""


class StoppedError(BrokenStreamError):
    """The trainer ended the stream because it stops; it may come back."""


class SessionLostError(EntrainEnvsError):
    """The trainer answers again but knows nothing of this session's agents.

    The client already has a new session. Reset the environment, and let the next exchange
    hold FIRST rows only.
    """


class TrainerClosed(EntrainEnvsError):  # noqa: N818 - an end, not an error
    """The trainer needs nothing more of this simulator. A `with TrainerClient` block ends here."""


class MissingExtraError(EntrainEnvsError):
    """An optional dependency is missing; the message says which command installs it."""
