// Everything this package throws on purpose.
//
// EntrainError
// ├── SpecError             a spec is wrong, or numbers do not fit it; change the simulator
// ├── WireError             a message cannot be read, or does not belong here
// ├── OutOfTurnError        a step was sent, or actions awaited, where it was not their turn
// ├── OptionError           an address or option is wrong; nothing was dialled
// ├── RefusedError          the trainer ended the session with a reason; do not dial again
// │   ├── MisfitError       it will refuse this simulator every time it is started like this
// │   └── NoRoomError       a limit of the trainer is reached; there may be room later
// ├── ConnectionLostError   no trainer answered in time; there may be one later
// │   └── BrokenStreamError one stream broke; the client dials again before a user sees this
// │       ├── SilentStreamError  no Act came on it for long; the client gave it up
// │       └── StoppedError       the trainer stops, and may come back
// ├── SessionLostError      the trainer forgot this session: begin all episodes again
// └── TrainerClosed         the normal end: training is complete, or this simulator has left

export class EntrainError extends Error {
  name = "EntrainError";
}

export class SpecError extends EntrainError {
  name = "SpecError";
}

export class WireError extends EntrainError {
  name = "WireError";
}

export class OutOfTurnError extends EntrainError {
  name = "OutOfTurnError";
}

export class OptionError extends EntrainError {
  name = "OptionError";
}

export class RefusedError extends EntrainError {
  name = "RefusedError";
}

export class MisfitError extends RefusedError {
  name = "MisfitError";
}

export class NoRoomError extends RefusedError {
  name = "NoRoomError";
}

export class ConnectionLostError extends EntrainError {
  name = "ConnectionLostError";
}

export class BrokenStreamError extends ConnectionLostError {
  name = "BrokenStreamError";
}

export class SilentStreamError extends BrokenStreamError {
  name = "SilentStreamError";
}

export class StoppedError extends BrokenStreamError {
  name = "StoppedError";
}

export class SessionLostError extends EntrainError {
  name = "SessionLostError";
}

export class TrainerClosed extends EntrainError {
  name = "TrainerClosed";
}

/** Exit code that tells a trainer not to start this simulator again: see MisfitError. */
export const MISFIT = 78;
