"""Everything the client SDK raises on purpose.

EntrainEnvsError
├── SpecError              a spec, or an array held against it, is wrong; the simulator must change
├── WireError              a message cannot be read; names field, arrived, expected
├── RefusedError           the trainer ended the session and said why; dialling again would not help
├── ConnectionLostError    the trainer was not there, or did not come back in time; it may later
└── MissingExtraError      an optional dependency is not installed; says which command installs it
"""


class EntrainEnvsError(Exception):
    """The root: `except EntrainEnvsError` catches what this package raises on purpose."""


class SpecError(EntrainEnvsError, ValueError):
    """A spec contradicts itself, or an array does not fit it; the simulator must be changed."""


class WireError(EntrainEnvsError, ValueError):
    """A message does not fit what the handshake said; the sender must be changed."""


class RefusedError(EntrainEnvsError):
    """The trainer ended this session for a reason that dialling again would not mend."""


class ConnectionLostError(EntrainEnvsError):
    """No trainer answered within the time allowed; it may be there later."""


class MissingExtraError(EntrainEnvsError):
    """An optional dependency is missing; the message says which command installs it."""
