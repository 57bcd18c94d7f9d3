// What both entries of the package have in common.

export {
  BrokenStreamError,
  ConnectionLostError,
  EntrainError,
  MISFIT,
  MisfitError,
  NoRoomError,
  OptionError,
  OutOfTurnError,
  RefusedError,
  SessionLostError,
  SilentStreamError,
  SpecError,
  StoppedError,
  TrainerClosed,
  WireError,
} from "./errors.js";
export { ActionBatch } from "./actions.js";
export { withTrainer } from "./client.js";
export { seededRandom } from "./random.js";
export { run } from "./run.js";
export { FIRST, MID, TERMINATED, TRUNCATED } from "./timesteps.js";
