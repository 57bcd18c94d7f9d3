// Writes and reads protobuf's wire format: the few kinds of field that the trainer's messages have.
//
// Fields with their default value are left out, and numbers of a repeated field are packed, so that
// what is written is byte for byte what protobuf's own libraries write.

import { WireError } from "./errors.js";

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

const TWO_TO_32 = 2 ** 32;
const LONGEST_VARINT = 10;

const TEXT = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bytes that `value` has as a varint. @param {number} value */
function varintSize(value) {
  let size = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size += 1;
  return size;
}

export class Writer {
  #buffer = new Uint8Array(1024);
  #view = new DataView(this.#buffer.buffer);
  #length = 0;

  /** What was written. A copy. */
  finish() {
    return this.#buffer.slice(0, this.#length);
  }

  /** @param {number} field @param {number | bigint} value not negative */
  uint(field, value) {
    if (!value) return;
    this.#varint(field * 8 + VARINT);
    if (typeof value === "bigint") this.#bigVarint(value);
    else this.#varint(value);
  }

  /** @param {number} field @param {string} text */
  string(field, text) {
    if (text) this.bytes(field, new TextEncoder().encode(text));
  }

  /** @param {number} field @param {Uint8Array} bytes */
  bytes(field, bytes) {
    if (bytes.length) this.element(field, bytes);
  }

  /** Also if it is empty, as an entry of a repeated field. @param {number} field @param {Uint8Array} bytes */
  element(field, bytes) {
    this.#varint(field * 8 + BYTES);
    this.#varint(bytes.length);
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** @param {number} field @param {readonly number[]} values */
  packedUints(field, values) {
    if (values.length) this.message(field, () => values.forEach((value) => this.#varint(value)));
  }

  /** @param {number} field @param {readonly number[]} values */
  packedFloats(field, values) {
    if (!values.length) return;
    this.message(field, () => {
      this.#reserve(4 * values.length);
      for (const value of values) {
        this.#view.setFloat32(this.#length, value, true);
        this.#length += 4;
      }
    });
  }

  /** @param {number} field @param {readonly number[]} values */
  packedDoubles(field, values) {
    if (!values.length) return;
    this.message(field, () => {
      this.#reserve(8 * values.length);
      for (const value of values) {
        this.#view.setFloat64(this.#length, value, true);
        this.#length += 8;
      }
    });
  }

  /** A message in a message, also if it is empty. @param {number} field @param {() => void} write */
  message(field, write) {
    this.#varint(field * 8 + BYTES);
    this.#varint(0);
    const start = this.#length;
    write();
    const length = this.#length - start;
    // One byte was kept for the length; what follows moves if it needs more.
    const more = varintSize(length) - 1;
    this.#reserve(more);
    if (more) this.#buffer.copyWithin(start + more, start, this.#length);
    this.#length = start - 1;
    this.#varint(length);
    this.#length += length;
  }

  /** @param {number} value */
  #varint(value) {
    this.#reserve(LONGEST_VARINT);
    let rest = value;
    while (rest >= 128) {
      this.#buffer[this.#length++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.#buffer[this.#length++] = rest;
  }

  /** @param {bigint} value */
  #bigVarint(value) {
    this.#reserve(LONGEST_VARINT);
    let rest = value;
    while (rest >= 128n) {
      this.#buffer[this.#length++] = Number(rest & 127n) | 128;
      rest >>= 7n;
    }
    this.#buffer[this.#length++] = Number(rest);
  }

  /** @param {number} more */
  #reserve(more) {
    const needed = this.#length + more;
    if (needed <= this.#buffer.length) return;
    const larger = new Uint8Array(Math.max(needed, 2 * this.#buffer.length));
    larger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = larger;
    this.#view = new DataView(larger.buffer);
  }
}

/** Goes through the fields of one message: `while (reader.next()) switch (reader.field) ...`. */
export class Reader {
  /** Number of the current field. */
  field = 0;
  #kind = VARINT;
  #isRead = true;
  #position = 0;
  #bytes;
  #view;
  #name;

  /** @param {Uint8Array} bytes @param {string} name of the message, for errors */
  constructor(bytes, name) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#name = name;
  }

  /** Go to the next field; false at the end. A field that nobody read is skipped. */
  next() {
    if (!this.#isRead) this.#skip();
    if (this.#position >= this.#bytes.length) return false;
    const tag = this.#varint();
    this.field = Math.floor(tag / 8);
    this.#kind = tag % 8;
    this.#isRead = false;
    if (this.field === 0) throw this.#fault("has a field of number 0");
    return true;
  }

  /** A number; what is beyond 2**53 is rounded. */
  uint() {
    this.#expect(VARINT);
    return this.#varint();
  }

  /** A whole number of 64 bits. */
  bigUint() {
    this.#expect(VARINT);
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.#byte(Number(shift / 7n));
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asUintN(64, value);
    }
  }

  float() {
    this.#expect(FIXED32);
    this.#position += 4;
    if (this.#position > this.#bytes.length) throw this.#fault("ends within a number");
    return this.#view.getFloat32(this.#position - 4, true);
  }

  /** A part of the message itself, not a copy. */
  bytes() {
    this.#expect(BYTES);
    const length = this.#varint();
    const start = this.#position;
    if (length > this.#bytes.length - start) {
      throw this.#fault(
        `says that field ${this.field} has ${length} bytes, and ${this.#bytes.length - start} follow`,
      );
    }
    this.#position = start + length;
    return this.#bytes.subarray(start, this.#position);
  }

  string() {
    const bytes = this.bytes();
    try {
      return TEXT.decode(bytes);
    } catch {
      throw this.#fault(`has text in field ${this.field} that is no UTF-8`);
    }
  }

  /** @param {number} kind */
  #expect(kind) {
    if (this.#kind !== kind) {
      throw this.#fault(`has field ${this.field} as wire type ${this.#kind}; expected ${kind}`);
    }
    this.#isRead = true;
  }

  #skip() {
    if (this.#kind === VARINT) this.uint();
    else if (this.#kind === BYTES) this.bytes();
    else if (this.#kind === FIXED32 || this.#kind === FIXED64) {
      this.#position += this.#kind === FIXED32 ? 4 : 8;
      if (this.#position > this.#bytes.length) throw this.#fault("ends within a number");
    } else
      throw this.#fault(`has field ${this.field} as wire type ${this.#kind}, which is unknown`);
    this.#isRead = true;
  }

  #varint() {
    let value = 0;
    let factor = 1;
    for (let index = 0; ; index += 1) {
      const byte = this.#byte(index);
      value += (byte & 127) * factor;
      if (byte < 128) return value;
      factor *= 128;
    }
  }

  /** The next byte of a varint. @param {number} index of the byte in the varint */
  #byte(index) {
    if (index >= LONGEST_VARINT) throw this.#fault("has a number of more than 10 bytes");
    if (this.#position >= this.#bytes.length) throw this.#fault("ends within a number");
    return this.#bytes[this.#position++] ?? 0;
  }

  /** @param {string} words */
  #fault(words) {
    return new WireError(
      `a message ${this.#name} of ${this.#bytes.length} bytes ${words}; it was damaged on its way, ` +
        "or what answers there is no entrain trainer",
    );
  }
}

/** Write int64 numbers, little-endian. @param {ArrayLike<number | bigint>} values */
export function int64Bytes(values) {
  const bytes = new Uint8Array(8 * values.length);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index] ?? 0;
    if (typeof value === "bigint") view.setBigInt64(8 * index, value, true);
    else {
      view.setUint32(8 * index, value >>> 0, true);
      view.setInt32(8 * index + 4, Math.floor(value / TWO_TO_32), true);
    }
  }
  return bytes;
}

const IS_LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** The bytes of float32 or int32 numbers, little-endian. @param {Float32Array | Int32Array} values */
export function bytesOf4(values) {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return IS_LITTLE_ENDIAN ? bytes : swapped(bytes);
}

/** A copy of the numbers in `bytes`. @param {Uint8Array} bytes */
export function floatsIn(bytes) {
  return new Float32Array(aligned(bytes));
}

/** A copy of the numbers in `bytes`. @param {Uint8Array} bytes */
export function intsIn(bytes) {
  return new Int32Array(aligned(bytes));
}

/** @param {Uint8Array} bytes */
function aligned(bytes) {
  const copy = IS_LITTLE_ENDIAN ? bytes : swapped(bytes);
  return copy.buffer.slice(copy.byteOffset, copy.byteOffset + copy.byteLength);
}

/** The same with the order of each four bytes turned around. @param {Uint8Array} bytes */
function swapped(bytes) {
  const copy = Uint8Array.from(bytes);
  for (let start = 0; start < copy.length; start += 4) copy.subarray(start, start + 4).reverse();
  return copy;
}
