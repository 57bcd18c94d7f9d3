// One WebSocket to a trainer as a stream: whole messages in their order, then why it ended.

import { BrokenStreamError, WireError } from "./errors.js";

/** Messages that a trainer may have sent and nobody has read. It answers at most two Steps. */
const MOST_UNREAD = 16;

/**
 * @typedef {object} Socket
 * @property {(message: Uint8Array) => void} send
 * @property {() => void} close tidily, if it is still open
 *
 * @typedef {object} SocketEvents
 * @property {() => void} opened
 * @property {(message: Uint8Array) => void} arrived
 * @property {(error: Error) => void} ended called once or more; the first counts
 *
 * @typedef {(path: string, events: SocketEvents) => Socket} OpenSocket
 */

export class Stream {
  /** @type {Uint8Array[]} */
  #messages = [];
  #isOpen = false;
  /** @type {Error | null} */
  #error = null;
  /** @type {(() => void)[]} those who wait for something to happen */
  #waiting = [];
  #socket;
  #openSocket;

  /** @param {OpenSocket} openSocket @param {string} path */
  constructor(openSocket, path) {
    this.#openSocket = openSocket;
    this.#socket = openSocket(path, {
      opened: () => {
        this.#isOpen = true;
        this.#wake();
      },
      arrived: (message) => this.#take(message),
      ended: (error) => this.#finish(error),
    });
  }

  /** Throws what ended it before it was open. */
  async whenOpen() {
    await this.#until(() => this.#isOpen);
  }

  /** Failures are thrown by `receive`. @param {Uint8Array} message */
  send(message) {
    if (this.#isOpen && !this.#error) this.#socket.send(message);
  }

  /** The next message; throws what ended the stream when there are no more. */
  async receive() {
    await this.#until(() => this.#messages.length > 0);
    return /** @type {Uint8Array} */ (this.#messages.shift());
  }

  /** End it now; whoever waits is told `error`. @param {Error} error */
  giveUp(error) {
    this.#finish(error);
    this.#socket.close();
  }

  /** Close it without a word. */
  drop() {
    this.giveUp(new BrokenStreamError("this end closed the connection"));
  }

  /** Wait a little for the trainer to end it, then close it.
   * @param {number} timeoutS @param {import("./clock.js").Clock} clock */
  async finish(timeoutS, clock) {
    const cancel = clock.after(timeoutS, () => this.drop());
    await this.#until(() => this.#error !== null);
    cancel();
    this.#socket.close();
  }

  /** Ask the same trainer on a second connection: one message there, one back.
   * @param {string} path @param {Uint8Array} request @param {number} timeoutS
   * @param {import("./clock.js").Clock} clock */
  async ask(path, request, timeoutS, clock) {
    const second = new Stream(this.#openSocket, path);
    const cancel = clock.after(timeoutS, () =>
      second.giveUp(new BrokenStreamError(`no answer within ${timeoutS} s`)),
    );
    try {
      await second.whenOpen();
      second.send(request);
      return await second.receive();
    } finally {
      cancel();
      second.drop();
    }
  }

  /** @param {Uint8Array} message */
  #take(message) {
    if (this.#error) return;
    if (this.#messages.length >= MOST_UNREAD) {
      const words = `more than ${MOST_UNREAD} messages came that nobody asked for`;
      this.giveUp(new WireError(`${words}; expected one Act for each Step`));
      return;
    }
    this.#messages.push(message);
    this.#wake();
  }

  /** @param {Error} error */
  #finish(error) {
    this.#error ??= error;
    this.#wake();
  }

  /** @param {() => boolean} isReady */
  async #until(isReady) {
    while (!isReady()) {
      if (this.#error) throw this.#error;
      await /** @type {Promise<void>} */ (new Promise((resolve) => this.#waiting.push(resolve)));
    }
  }

  #wake() {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
