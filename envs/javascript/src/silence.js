// Notices that a trainer is silent for long, asks it why on a second connection, gives up a stream.
//
//     waits --silenceS--> asks --held--> waits on, however long an update takes
//                          |--answered--> waits answerS more ------.
//                          '--not held, or nobody answers in time --+--> the stream is given up
//
// Bytes that were lost on the way can leave both ends of a stream waiting for each other for ever.
// The client dials again after a stream that was given up and sends its Step again.

import { BrokenStreamError, EntrainError, OptionError, SilentStreamError } from "./errors.js";
import { ANSWERED, NOT_HELD, decodeInquireResponse, encodeInquireRequest } from "./messages.js";

const INQUIRE = "/inquire";

/** @typedef {{sessionId: string, instanceId: string, sequence: number}} Wait */
/** @typedef {import("./stream.js").Stream} Stream */

export class Silence {
  #clock;
  #silenceS;
  #answerS;
  /** The Step that a stream was given up for, and how long it may be silent next. */
  #givenUp = { step: "", allowedS: 0 };

  /** @param {import("./clock.js").Clock} clock @param {number} silenceS @param {number} answerS */
  constructor(clock, silenceS, answerS) {
    for (const [name, value] of Object.entries({ silenceS, answerS })) {
      if (!(value > 0)) throw new OptionError(`${name} is ${value}; expected seconds, more than 0`);
    }
    this.#clock = clock;
    this.#silenceS = silenceS;
    this.#answerS = answerS;
  }

  /** Watch a stream that waits for the Act of a Step, until the function that is returned is called.
   * @param {Stream} stream @param {Wait} wait @returns {() => void} */
  watch(stream, wait) {
    const step = `${wait.sessionId} ${wait.sequence}`;
    // Twice as long each time: a Step that takes longer on its way than a silence arrives at last.
    const allowedS = this.#givenUp.step === step ? this.#givenUp.allowedS : this.#silenceS;
    const silent = `no Act came for Step ${wait.sequence} within ${allowedS} s`;
    let isOver = false;
    let cancel = this.#clock.after(allowedS, () => void look());

    const giveUp = (/** @type {string} */ why) => {
      this.#givenUp = { step, allowedS: 2 * allowedS };
      stream.giveUp(new SilentStreamError(`${silent}, ${why}`));
    };
    const look = async () => {
      const { why, isAnswered } = await this.#ask(stream, wait);
      if (isOver) return;
      if (why) giveUp(why);
      else if (isAnswered) {
        cancel = this.#clock.after(this.#answerS, () => giveUp("although the trainer has sent it"));
      } else cancel = this.#clock.after(allowedS, () => void look());
    };
    return () => {
      isOver = true;
      cancel();
    };
  }

  /** `why` it is to be given up; "" if it is right to wait on. @param {Stream} stream @param {Wait} wait */
  async #ask(stream, { sessionId, instanceId, sequence }) {
    const request = encodeInquireRequest(sessionId, instanceId, sequence);
    try {
      const answer = await stream.ask(INQUIRE, request, this.#answerS, this.#clock);
      const standing = decodeInquireResponse(answer);
      if (standing === NOT_HELD) return { why: "and the trainer has not received the Step" };
      return { why: "", isAnswered: standing === ANSWERED };
    } catch (error) {
      if (error instanceof BrokenStreamError) {
        return { why: `and the trainer does not say whether it has the Step (${error.message})` };
      }
      // It lives, but does not tell: an older one, or not from here.
      if (error instanceof EntrainError) return { why: "" };
      throw error;
    }
  }
}
