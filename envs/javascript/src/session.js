// A simulator's membership with one trainer, over as many streams as that takes.
//
//     GREETING --Welcome--> RUNNING --broken stream--> dials again --resumed--> RUNNING
//                              |  or silent for long
//                              |                            |---- forgotten --> SessionLostError
//                              |---- Close COMPLETED ---------------------------> TrainerClosed
//
// Steps without an Act are kept as they were sent, and sent again in their order where a stream broke.

import {
  BrokenStreamError,
  MisfitError,
  OutOfTurnError,
  RefusedError,
  SessionLostError,
  SilentStreamError,
  TrainerClosed,
  WireError,
} from "./errors.js";
import { NOT_JOINED } from "./messages.js";
import { Patience } from "./patience.js";

/** @typedef {import("./messages.js").Act} Act */
/** @typedef {import("./stream.js").Stream} Stream */
/** @typedef {Record<string, (number | bigint)[]>} Acting agents that need an action, by behaviour */
/** @typedef {{bytes: Uint8Array, acting: Acting}} Sent */

export class Session {
  welcome = NOT_JOINED;
  /** Replaced, never changed, so that `===` tells whether one changed. */
  parameters = NOT_JOINED.environmentParameters;
  /** @type {Stream | null} */
  #stream = null;
  #dialler;
  #silence;
  #clock;
  #connectS;
  #reconnectS;
  #log;
  /** Of the last Step that has its Act. */
  #sequence = 0;
  /** @type {Sent[]} those without an Act, in their order */
  #unanswered = [];
  /** Of those, how many were sent on this stream. */
  #numSent = 0;
  #isReceiving = false;
  #leaving = new AbortController();

  /**
   * @param {import("./dialling.js").Dialler} dialler
   * @param {import("./silence.js").Silence} silence
   * @param {import("./clock.js").Clock} clock
   * @param {{connectS: number, reconnectS: number, log: (line: string) => void}} options
   */
  constructor(dialler, silence, clock, { connectS, reconnectS, log }) {
    this.#dialler = dialler;
    this.#silence = silence;
    this.#clock = clock;
    this.#connectS = connectS;
    this.#reconnectS = reconnectS;
    this.#log = log;
  }

  /** Also while a stream that broke is dialled again. */
  get isJoined() {
    return this.#stream !== null || this.#unanswered.length > 0;
  }

  get numUnanswered() {
    return this.#unanswered.length;
  }

  /** Begin a new session. */
  async join() {
    const ending = this.end("joining anew");
    // Before the first wait, so that an `end` or another `join` meanwhile ends this one.
    this.#leaving = new AbortController();
    const { signal } = this.#leaving;
    await ending;
    signal.throwIfAborted();
    const patience = new Patience(this.#connectS, this.#clock);
    const welcome = await this.#dial(patience, new BrokenStreamError("not dialled"), signal);
    this.#log(`${this.#dialler.address}: joined run '${welcome.runId}'`);
    return welcome;
  }

  /** Send a Step; `receive` returns its Act. Nothing is sent if it throws.
   * @param {(sequence: number) => Sent} write */
  send(write) {
    const { maxUnansweredSteps } = this.welcome;
    const waiting = this.#unanswered.length;
    if (waiting >= maxUnansweredSteps) {
      throw new OutOfTurnError(
        `a step was sent while ${waiting} had no actions, and ${this.#dialler.address} allows ` +
          `${maxUnansweredSteps} at a time; await those of the first one before`,
      );
    }
    const step = write(this.#sequence + waiting + 1);
    this.#requireLength(step);
    this.#unanswered.push(step);
    // Those that wait for a stream go first.
    if (this.#numSent === waiting) this.#sendUnsent();
  }

  /** The Act of the first Step that has none, and the agents it is for. It may take several streams. */
  async receive() {
    const sent = this.#unanswered[0];
    if (!sent) throw new OutOfTurnError("actions were to be received, and no step was sent before");
    if (this.#isReceiving) {
      throw new OutOfTurnError("actions were awaited twice at a time; await the first ones before");
    }
    this.#isReceiving = true;
    const { signal } = this.#leaving;
    try {
      const act = await this.#nextAct(signal);
      signal.throwIfAborted();
      this.#unanswered.shift();
      this.#numSent -= 1;
      this.#sequence += 1;
      this.#change(act.changedEnvironmentParameters);
      if (this.#numSent < this.#unanswered.length) this.#sendUnsent();
      return { act, acting: sent.acting };
    } catch (error) {
      // After `end` these belong to the next session.
      if (!signal.aborted) this.#forgetUnanswered();
      throw error;
    } finally {
      if (!signal.aborted) this.#isReceiving = false;
    }
  }

  /** Say Goodbye and forget the session, if there is one. Whoever waits for actions gets TrainerClosed.
   * @param {string} reason */
  async end(reason) {
    const stream = this.#stream;
    this.#stream = null;
    this.welcome = NOT_JOINED;
    this.#sequence = 0;
    this.#isReceiving = false;
    this.#forgetUnanswered();
    this.#leaving.abort(new TrainerClosed(`this simulator left: ${reason || "it was closed"}`));
    if (stream) await this.#dialler.leave(stream, reason);
  }

  /** @param {AbortSignal} signal of the session that the Step was sent in @returns {Promise<Act>} */
  async #nextAct(signal) {
    let response;
    try {
      response = await this.#hear(signal);
    } catch (error) {
      if (!(error instanceof BrokenStreamError)) throw error;
      response = await this.#hearElsewhere(error, signal);
    }
    const { act } = response;
    if (!act) throw new WireError(`${this.#dialler.address} sent another message; expected an Act`);
    if (act.sequence !== this.#sequence + 1) {
      throw new WireError(
        `${this.#dialler.address} answered step ${act.sequence} when step ${this.#sequence + 1} was ` +
          "asked; an Act carries the sequence of its Step",
      );
    }
    return act;
  }

  /** The next message on the current stream. A Close is thrown as an error. @param {AbortSignal} signal */
  async #hear(signal) {
    signal.throwIfAborted();
    const stream = this.#stream;
    if (!stream) throw new BrokenStreamError("there is no stream");
    const stopWatching = this.#silence.watch(stream, {
      sessionId: this.welcome.sessionId,
      instanceId: this.#dialler.instanceId,
      sequence: this.#sequence + 1,
    });
    try {
      const message = await stream.receive();
      signal.throwIfAborted();
      return this.#dialler.read(message);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof TrainerClosed) {
        this.#log(error.message);
        await this.end("the trainer closed the session");
      }
      if (!(error instanceof RefusedError)) throw error;
      // The next Step may be taken: this one held something that does not fit, say.
      this.#drop();
      throw this.#dialler.inWords(error);
    } finally {
      stopWatching();
    }
  }

  /** Dial again after `error`; the next message that comes on the new stream.
   * @param {BrokenStreamError} error @param {AbortSignal} signal */
  async #hearElsewhere(error, signal) {
    let latest = error;
    const patience = new Patience(this.#reconnectS, this.#clock);
    for (;;) {
      signal.throwIfAborted();
      this.#log(`${this.#dialler.address}: lost the trainer (${latest.message}); dialling again`);
      if (latest instanceof SilentStreamError) patience.renew();
      await this.#resume(patience, latest, signal);
      patience.noteStream();
      this.#sendUnsent();
      try {
        return await this.#hear(signal);
      } catch (another) {
        if (!(another instanceof BrokenStreamError)) throw another;
        latest = another;
      }
    }
  }

  /** @param {Patience} patience @param {BrokenStreamError} error @param {AbortSignal} signal */
  async #resume(patience, error, signal) {
    const lost = this.welcome.sessionId;
    this.#drop();
    const { resumed } = await this.#dial(patience, error, signal);
    if (!resumed) {
      throw new SessionLostError(
        `${this.#dialler.address} no longer knows session ${lost}: it was away for too long, or the ` +
          "trainer is a new one; reset the world and continue with FIRST rows",
      );
    }
    this.#log(`${this.#dialler.address}: session ${lost} resumed`);
  }

  /** Have a stream, on which the session goes on or a new one begins.
   * @param {Patience} patience @param {BrokenStreamError} error @param {AbortSignal} signal */
  async #dial(patience, error, signal) {
    const resume = this.welcome.sessionId;
    const { stream, welcome } = await this.#dialler.dial(patience, error, resume, signal);
    if (signal.aborted) {
      await this.#dialler.leave(stream, "it was closed while it joined");
      throw signal.reason;
    }
    this.#stream = stream;
    this.welcome = Object.freeze(welcome);
    this.parameters = Object.freeze(welcome.environmentParameters);
    if (!welcome.resumed) this.#sequence = 0;
    return welcome;
  }

  #sendUnsent() {
    if (!this.#stream) return;
    const allowed = Math.min(this.#unanswered.length, this.welcome.maxUnansweredSteps);
    for (const step of this.#unanswered.slice(this.#numSent, allowed)) {
      // A trainer that came back may take less than before.
      this.#requireLength(step);
      this.#stream.send(step.bytes);
      this.#numSent += 1;
    }
  }

  /** MisfitError if it is longer than the trainer takes. @param {Sent} step */
  #requireLength({ bytes }) {
    const { maxMessageBytes } = this.welcome;
    if (!maxMessageBytes || bytes.length <= maxMessageBytes) return;
    throw new MisfitError(
      `a Step of '${this.#dialler.simulator}' has ${bytes.length} bytes, and the trainer takes ` +
        `messages of up to ${maxMessageBytes}; send fewer agents in a message or smaller images, or ` +
        "raise server.max_message_mib of the trainer",
    );
  }

  /** @param {Record<string, number>} changed */
  #change(changed) {
    if (!Object.keys(changed).length) return;
    const merged = Object.assign(Object.create(null), this.parameters, changed);
    this.parameters = Object.freeze(merged);
  }

  /** Close the stream without a Goodbye, so that the session may be resumed. */
  #drop() {
    this.#stream?.drop();
    this.#stream = null;
    this.#numSent = 0;
  }

  #forgetUnanswered() {
    this.#unanswered = [];
    this.#numSent = 0;
  }
}
