// WebSocket's frames (RFC 6455, section 5) as a client writes and reads them. No sockets here.

import { BrokenStreamError, MisfitError } from "./errors.js";

export const CONTINUATION = 0;
export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

const LONGEST_CONTROL = 125;
const LONGEST_HEADER = 10;

/** A whole frame, masked as a client's frames must be.
 * @param {number} opcode @param {Uint8Array} payload @param {Uint8Array} mask 4 random bytes */
export function encodeFrame(opcode, payload, mask) {
  const length = payload.length;
  const header = length < 126 ? 2 : length < 65536 ? 4 : 10;
  const frame = new Uint8Array(header + 4 + length);
  const view = new DataView(frame.buffer);
  frame[0] = 0x80 | opcode;
  frame[1] = 0x80 | (header === 2 ? length : header === 4 ? 126 : 127);
  if (header === 4) view.setUint16(2, length);
  if (header === 10) view.setBigUint64(2, BigInt(length));
  frame.set(mask, header);
  frame.set(payload, header + 4);
  applyMask(frame, view, header + 4, mask);
  return frame;
}

/** @param {Uint8Array} frame @param {DataView} view of it @param {number} start @param {Uint8Array} mask */
function applyMask(frame, view, start, mask) {
  const word = new DataView(mask.buffer, mask.byteOffset, 4).getUint32(0);
  let index = start;
  for (; index + 4 <= frame.length; index += 4) {
    view.setUint32(index, view.getUint32(index) ^ word);
  }
  for (; index < frame.length; index += 1) {
    frame[index] = (frame[index] ?? 0) ^ (mask[(index - start) % 4] ?? 0);
  }
}

/**
 * @typedef {object} FrameEvents
 * @property {(message: Uint8Array) => void} message a whole binary message
 * @property {(payload: Uint8Array) => void} ping
 * @property {(code: number, reason: string) => void} close
 */

/** Puts messages together from whatever pieces a connection delivers. */
export class FrameReader {
  #header = new Uint8Array(LONGEST_HEADER);
  #headerLength = 0;
  #headerNeeds = 2;
  /** @type {Uint8Array | null} */
  #payload = null;
  #filled = 0;
  /** @type {Uint8Array[]} */
  #fragments = [];
  #fragmentBytes = 0;
  #isFragmented = false;
  #maxBytes;
  #events;

  /** @param {number} maxBytes of a message @param {FrameEvents} events */
  constructor(maxBytes, events) {
    this.#maxBytes = maxBytes;
    this.#events = events;
  }

  /** Take the next bytes. BrokenStreamError if they break the rules of frames, for they were damaged on
   * the way; MisfitError if a message is too long. @param {Uint8Array} bytes */
  push(bytes) {
    let rest = bytes;
    while (rest.length)
      rest = this.#payload ? this.#fill(this.#payload, rest) : this.#fillHeader(rest);
  }

  /** @param {Uint8Array} rest */
  #fillHeader(rest) {
    const taken = Math.min(rest.length, this.#headerNeeds - this.#headerLength);
    this.#header.set(rest.subarray(0, taken), this.#headerLength);
    this.#headerLength += taken;
    if (this.#headerLength === 2 && this.#headerNeeds === 2) {
      const short = (this.#header[1] ?? 0) & 127;
      this.#headerNeeds = short === 127 ? 10 : short === 126 ? 4 : 2;
    }
    if (this.#headerLength === this.#headerNeeds) this.#begin();
    return rest.subarray(taken);
  }

  #begin() {
    const view = new DataView(this.#header.buffer);
    const [first, second] = [view.getUint8(0), view.getUint8(1)];
    let length = second & 127;
    if (this.#headerNeeds === 4) length = view.getUint16(2);
    if (this.#headerNeeds === 10) length = Number(view.getBigUint64(2));
    this.#check(first, second, length);
    this.#headerLength = 0;
    this.#headerNeeds = 2;
    this.#payload = new Uint8Array(length);
    this.#filled = 0;
    if (!length) this.#fill(this.#payload, this.#payload);
  }

  /** @param {number} first @param {number} second @param {number} length */
  #check(first, second, length) {
    const opcode = first & 15;
    const isFinal = first >= 128;
    if (first & 0x70)
      throw new BrokenStreamError("a frame has reserved bits set; no extension was agreed on");
    if (second >= 128)
      throw new BrokenStreamError("a frame from the trainer is masked; only a client's are");
    if (opcode >= CLOSE) {
      if (length > LONGEST_CONTROL || !isFinal) {
        throw new BrokenStreamError(
          `a control frame has ${length} bytes; expected at most 125, in one piece`,
        );
      }
    } else if (opcode > BINARY || opcode === TEXT) {
      throw new BrokenStreamError(`a frame of type ${opcode} came; expected binary ones`);
    } else if ((opcode === CONTINUATION) !== this.#isFragmented) {
      throw new BrokenStreamError("pieces of a message came out of order");
    } else if (this.#fragmentBytes + length > this.#maxBytes) {
      throw new MisfitError(
        `a message is too long (${this.#fragmentBytes + length} bytes came, and this client takes up ` +
          `to ${this.#maxBytes}); send fewer agents in a message, or raise maxMessageMib of this ` +
          "simulator's TrainerClient",
      );
    }
  }

  /** @param {Uint8Array} payload @param {Uint8Array} rest */
  #fill(payload, rest) {
    const taken = Math.min(rest.length, payload.length - this.#filled);
    payload.set(rest.subarray(0, taken), this.#filled);
    this.#filled += taken;
    if (this.#filled === payload.length) {
      this.#payload = null;
      this.#finish(this.#header[0] ?? 0, payload);
    }
    return rest.subarray(taken);
  }

  /** @param {number} first byte of the frame @param {Uint8Array} payload */
  #finish(first, payload) {
    const opcode = first & 15;
    if (opcode === PING) this.#events.ping(payload);
    else if (opcode === CLOSE) this.#close(payload);
    else if (opcode < CLOSE) this.#takePiece(first >= 128, payload);
  }

  /** @param {boolean} isFinal @param {Uint8Array} payload */
  #takePiece(isFinal, payload) {
    this.#isFragmented = !isFinal;
    if (isFinal && !this.#fragments.length) {
      this.#events.message(payload);
      return;
    }
    this.#fragments.push(payload);
    this.#fragmentBytes += payload.length;
    if (!isFinal) return;
    const message = new Uint8Array(this.#fragmentBytes);
    let start = 0;
    for (const piece of this.#fragments) {
      message.set(piece, start);
      start += piece.length;
    }
    this.#fragments = [];
    this.#fragmentBytes = 0;
    this.#events.message(message);
  }

  /** @param {Uint8Array} payload */
  #close(payload) {
    const code = payload.length < 2 ? 1005 : (payload[0] ?? 0) * 256 + (payload[1] ?? 0);
    this.#events.close(code, new TextDecoder().decode(payload.subarray(2)));
  }
}
