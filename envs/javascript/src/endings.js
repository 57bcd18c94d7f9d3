// What the end of a connection means: whether dialling again may help, and in which words.

import { BrokenStreamError, NoRoomError, RefusedError } from "./errors.js";

/** gRPC's names, by number. */
const NAMES = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
];
const DIAL_AGAIN = [
  "CANCELLED",
  "UNKNOWN",
  "DEADLINE_EXCEEDED",
  "ABORTED",
  "INTERNAL",
  "UNAVAILABLE",
];

/** Codes of WebSocket's own that stand for gRPC's numbers: a message that was text, too many messages,
 * and one that was too long.
 * @type {Readonly<Record<number, number>>} */
const OF_WEBSOCKET = { 1003: 3, 1008: 8, 1009: 8 };
const TOO_LONG = 1009;
const FIRST_OF_GRPC = 4000;
const LAST_OF_GRPC = 4099;

/** The error for a Refusal. @param {number} code gRPC's number @param {string} message */
export function refused(code, message) {
  const name = NAMES[code] ?? `code ${code}`;
  if (DIAL_AGAIN.includes(name)) return new BrokenStreamError(`${name}: ${message}`);
  if (name === "RESOURCE_EXHAUSTED") return new NoRoomError(`${message} (${name})`);
  if (name === "UNIMPLEMENTED") {
    return new RefusedError(
      `what answers there is no entrain trainer (${message}); check the address`,
    );
  }
  return new RefusedError(`${message} (${name})`);
}

/** The error for a close frame, or for the end of a connection without one (1006).
 * @param {number} code @param {string} reason */
export function closed(code, reason) {
  if (code >= FIRST_OF_GRPC && code <= LAST_OF_GRPC) {
    return refused(code - FIRST_OF_GRPC, reason || "the trainer gave no reason");
  }
  const number = OF_WEBSOCKET[code];
  if (number !== undefined) {
    const remedy =
      code === TOO_LONG
        ? "; send fewer agents in a message or smaller images, or raise server.max_message_mib of the trainer"
        : "";
    return refused(number, `${reason || "no reason"} (close code ${code})${remedy}`);
  }
  const words = reason ? `: ${reason}` : "";
  return new BrokenStreamError(`the connection ended with code ${code}${words}`);
}

const TIMED_OUT = 408;
const CHECK_ADDRESS = "check address and port, and the trainer's option server.websocket";
/** What to do about an answer of a trainer's. Any other comes from what is none, or has no WebSocket.
 * @type {Readonly<Record<number, string>>} */
const REMEDIES = {
  400: "",
  401: "UNAUTHENTICATED; give the trainer's token as token or tokenFile",
  403: "add this origin to server.origins",
  429: "",
};

/** The error for an HTTP answer that is no upgrade. @param {number} status @param {string} body */
export function answered(status, body) {
  const words = `HTTP ${status}${body ? `: ${body.trim()}` : ""}`;
  if (status === TIMED_OUT || status >= 500) return new BrokenStreamError(words);
  const remedy = REMEDIES[status] ?? CHECK_ADDRESS;
  return new RefusedError(remedy ? `${words} (${remedy})` : words);
}
