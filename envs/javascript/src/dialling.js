// Opens a stream to a trainer and greets it, again and again until it answers or patience is over.

import { refused } from "./endings.js";
import {
  BrokenStreamError,
  ConnectionLostError,
  MisfitError,
  NoRoomError,
  OptionError,
  RefusedError,
  StoppedError,
  TrainerClosed,
  WireError,
} from "./errors.js";
import {
  PROTOCOL_VERSION,
  ROLES_REVISION,
  STOPPED,
  decodeResponse,
  encodeGoodbye,
  encodeHello,
} from "./messages.js";
import { Stream } from "./stream.js";

const SIMULATE = "/simulate";
const GREETING_S = 30;
const GOODBYE_S = 2;

/** @typedef {import("./messages.js").Welcome} Welcome */

export class Dialler {
  #openSocket;
  #hello;
  #clock;
  #canWait;
  #log;
  /** Whether its files, such as that of the token, were right once. */
  #hasOpened = false;

  /**
   * @param {string} address for messages
   * @param {import("./stream.js").OpenSocket} openSocket
   * @param {import("./messages.js").Hello} hello
   * @param {import("./clock.js").Clock} clock
   * @param {boolean} canWait whether a trainer that stops may come back
   * @param {(line: string) => void} log
   */
  constructor(address, openSocket, hello, clock, canWait, log) {
    this.address = address;
    this.simulator = hello.simulator;
    this.instanceId = hello.instanceId;
    this.#openSocket = openSocket;
    this.#hello = hello;
    this.#clock = clock;
    this.#canWait = canWait;
    this.#log = log;
  }

  /** The Hellos from now on name these behaviours. @param {Iterable<import("./spec.js").Behaviour>} all */
  declare(all) {
    this.#hello = { ...this.#hello, behaviours: [...all] };
  }

  /**
   * @param {import("./patience.js").Patience} patience
   * @param {BrokenStreamError} error why it is dialled
   * @param {string} resume id of the session to go on with; empty: a new one
   * @param {AbortSignal} signal
   * @returns {Promise<{stream: Stream, welcome: Welcome}>}
   */
  async dial(patience, error, resume, signal) {
    let latest = error;
    while (await patience.wait(signal)) {
      try {
        const greeted = await this.#greet(patience.limit(GREETING_S), resume, signal);
        await this.#requireRole(greeted.stream, greeted.welcome);
        return greeted;
      } catch (another) {
        if (!(another instanceof BrokenStreamError)) throw another;
        if (another.message !== latest.message) {
          this.#log(`${this.address}: no answer (${another.message}); dialling again`);
        }
        latest = another;
      }
    }
    if (error instanceof StoppedError) {
      throw new TrainerClosed(`${this.address} stopped and did not come back: ${error.message}`);
    }
    throw new ConnectionLostError(
      `no trainer answered at ${this.address} within ${patience.totalS} s (${latest.message}). Usual ` +
        "causes: the trainer is not running, or its option server.websocket is off; it listens on " +
        "another address or port, or only on its own machine; one side uses TLS and the other does not",
    );
  }

  /** What a message says, or the error that it means. @param {Uint8Array} message */
  read(message) {
    const response = decodeResponse(message);
    if (response.refusal) throw refused(response.refusal.code, response.refusal.message);
    if (response.close) throw this.#closed(response.close);
    return response;
  }

  /** The same error with the address that was dialled. @param {RefusedError} error */
  inWords(error) {
    const Kind = /** @type {new (words: string) => RefusedError} */ (error.constructor);
    // A misfit was found by this end.
    const what =
      error instanceof MisfitError
        ? `and '${this.simulator}' do not fit`
        : `refused '${this.simulator}'`;
    return new Kind(`${this.address} ${what}: ${error.message}`);
  }

  /** Say Goodbye, and wait a little for the trainer to end the stream.
   * @param {Stream} stream @param {string} reason */
  async leave(stream, reason) {
    stream.send(encodeGoodbye(reason));
    await stream.finish(GOODBYE_S, this.#clock);
  }

  /** @param {number} timeoutS @param {string} resume @param {AbortSignal} signal */
  async #greet(timeoutS, resume, signal) {
    signal.throwIfAborted();
    const stream = this.#opened();
    const aborted = () => stream.giveUp(signal.reason);
    signal.addEventListener("abort", aborted);
    const cancel = this.#clock.after(timeoutS, () =>
      stream.giveUp(new BrokenStreamError(`no Welcome within ${Math.round(timeoutS)} s`)),
    );
    try {
      await stream.whenOpen();
      stream.send(encodeHello({ ...this.#hello, resumeSessionId: resume }));
      const welcome = this.#readWelcome(this.read(await stream.receive()));
      return { stream, welcome };
    } catch (error) {
      stream.drop();
      // The next Hello would be the same.
      if (error instanceof NoRoomError) throw this.inWords(error);
      if (error instanceof RefusedError) throw new MisfitError(this.inWords(error).message);
      throw error;
    } finally {
      cancel();
      signal.removeEventListener("abort", aborted);
    }
  }

  /** A stream. OptionError if a file is wrong at the first dial. */
  #opened() {
    try {
      const stream = new Stream(this.#openSocket, SIMULATE);
      this.#hasOpened = true;
      return stream;
    } catch (error) {
      // It was right before: somebody is renewing the file.
      if (this.#hasOpened && error instanceof OptionError)
        throw new BrokenStreamError(error.message);
      throw error;
    }
  }

  /** Leave a trainer that does not know what this simulator is for.
   * @param {Stream} stream @param {Welcome} welcome */
  async #requireRole(stream, { revision }) {
    if (this.#hello.role === "training" || revision >= ROLES_REVISION) return;
    await this.leave(stream, "the trainer knows of no roles");
    throw new MisfitError(
      `${this.address} is a trainer of revision ${revision}, which would learn from this simulator ` +
        `instead of evaluating in it; upgrade entrain there, to revision ${ROLES_REVISION} or later`,
    );
  }

  /** @param {import("./messages.js").Response} response */
  #readWelcome({ welcome }) {
    if (!welcome)
      throw new WireError(
        `${this.address} answered Hello with another message; expected a Welcome`,
      );
    if (welcome.version !== PROTOCOL_VERSION) {
      throw new MisfitError(
        `the trainer chose protocol ${welcome.version}, this simulator speaks ` +
          `${PROTOCOL_VERSION}; use the entrain-envs that belongs to the trainer`,
      );
    }
    return welcome;
  }

  /** @param {import("./messages.js").Close} close */
  #closed({ reason, message }) {
    if (reason === STOPPED && this.#canWait) return new StoppedError(message || "it stops");
    return new TrainerClosed(`${this.address} is done: ${message || `Close of reason ${reason}`}`);
  }
}
