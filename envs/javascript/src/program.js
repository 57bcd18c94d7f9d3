// How a program in Node ends: one line for people, and an exit code for the trainer that launched it.

import { EntrainError, MISFIT, MisfitError, OptionError, TrainerClosed } from "./errors.js";

const FAILURE = 1;

/** See types/index.d.ts. @param {() => Promise<void>} play */
export async function runProgram(play) {
  try {
    await play();
  } catch (error) {
    if (error instanceof TrainerClosed) return;
    // A fault of the program itself: Node shows where it is.
    if (!(error instanceof EntrainError)) throw error;
    await new Promise((resolve) => process.stderr.write(`entrain: ${error.message}\n`, resolve));
    // Not only its exit code: a game's timers would keep a program alive that has no trainer any more.
    process.exit(exitCodeOf(error));
  }
}

/** By proto/README.md, "Exit codes". @param {EntrainError} error */
export function exitCodeOf(error) {
  return error instanceof MisfitError || error instanceof OptionError ? MISFIT : FAILURE;
}
