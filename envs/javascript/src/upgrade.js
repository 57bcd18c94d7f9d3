// The HTTP part of a WebSocket (RFC 6455, section 4): the request, and what the answer says.

import { createHash } from "node:crypto";

import { SUBPROTOCOL } from "./address.js";
import { answered } from "./endings.js";
import { BrokenStreamError, RefusedError } from "./errors.js";

const PROTOCOL = "HTTP/1.";
const LONGEST_HEAD = 16_384;
const LONGEST_BODY = 1_000;
const SWITCHING = 101;
/** No content and not modified: such answers have no body. */
const WITHOUT_BODY = [204, 304];
const MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** @param {URL} url @param {string} key @param {string} token */
export function upgradeRequest(url, key, token) {
  const lines = [
    `GET ${url.pathname} HTTP/1.1`,
    `Host: ${url.host}`,
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Key: ${key}`,
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Protocol: ${SUBPROTOCOL}`,
  ];
  if (token) lines.push(`Authorization: Bearer ${token}`);
  return `${lines.join("\r\n")}\r\n\r\n`;
}

/** Collects the answer's bytes until it is known what it says. */
export class UpgradeAnswer {
  #text = "";
  #key;

  /** @param {string} key that was sent */
  constructor(key) {
    this.#key = key;
  }

  /**
   * Take the next bytes. Throws if the answer is no upgrade.
   * @param {Buffer} bytes
   * @returns {Uint8Array | null} null: more is needed; otherwise what came after the answer
   */
  push(bytes) {
    this.#text += bytes.toString("latin1");
    if (!this.#text.startsWith(PROTOCOL.slice(0, this.#text.length))) {
      throw new RefusedError(
        "what answers there does not speak HTTP/1.1; give the address that the trainer's option " +
          "server.websocket names (not that of gRPC), as ws:// without TLS and wss:// with it",
      );
    }
    const end = this.#text.indexOf("\r\n\r\n");
    if (end < 0) {
      if (this.#text.length > LONGEST_HEAD)
        throw new RefusedError("an HTTP answer has an endless head");
      return null;
    }
    const { status, headers } = parsed(this.#text.slice(0, end));
    const rest = this.#text.slice(end + 4);
    if (status === SWITCHING) {
      this.#checkUpgrade(headers);
      return Buffer.from(rest, "latin1");
    }
    const { body, isWhole } = bodyOf(status, headers, rest);
    if (!isWhole && rest.length < LONGEST_BODY) return null;
    throw answered(status, body);
  }

  /** The error for a connection that ended before the answer was whole. */
  ended() {
    const end = this.#text.indexOf("\r\n\r\n");
    const head = end < 0 ? this.#text : this.#text.slice(0, end);
    const status = statusOf(head);
    if (!status || status === SWITCHING) {
      return new BrokenStreamError("the connection ended before an answer");
    }
    const rest = end < 0 ? "" : this.#text.slice(end + 4);
    return answered(status, bodyOf(status, headersOf(head), rest).body);
  }

  /** @param {Map<string, string>} headers */
  #checkUpgrade(headers) {
    const accept = createHash("sha1")
      .update(this.#key + MAGIC)
      .digest("base64");
    if (headers.get("sec-websocket-accept") !== accept) {
      throw new RefusedError(
        "the answer to the WebSocket request does not belong to it; is a cache between?",
      );
    }
    const protocol = headers.get("sec-websocket-protocol");
    if (protocol !== SUBPROTOCOL || headers.has("sec-websocket-extensions")) {
      throw new RefusedError(
        `the server agreed to subprotocol '${protocol ?? ""}' and extensions ` +
          `'${headers.get("sec-websocket-extensions") ?? ""}'; expected '${SUBPROTOCOL}' and none: ` +
          "it is no entrain trainer",
      );
    }
  }
}

/** @param {string} head */
function parsed(head) {
  const status = statusOf(head);
  if (!status) throw new RefusedError("what answers there does not speak HTTP; check the port");
  return { status, headers: headersOf(head) };
}

/** 0 if there is none. @param {string} head */
function statusOf(head) {
  return Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? 0);
}

/** @param {string} head */
function headersOf(head) {
  /** @type {Map<string, string>} */
  const headers = new Map();
  for (const line of head.split("\r\n").slice(1)) {
    const colon = line.indexOf(":");
    headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  return headers;
}

/** What came of a body, at most so much of it as is shown, and whether all of it has come. Where its length
 * is not said, that is when the connection ends.
 * @param {number} status @param {Map<string, string>} headers @param {string} text behind the head */
function bodyOf(status, headers, text) {
  if (WITHOUT_BODY.includes(status)) return { body: "", isWhole: true };
  const isChunked = headers.get("transfer-encoding")?.toLowerCase().endsWith("chunked");
  const length = Number(headers.get("content-length") ?? Infinity);
  const { body, isWhole } = isChunked
    ? joined(text)
    : { body: text, isWhole: text.length >= length };
  return { body: body.slice(0, LONGEST_BODY), isWhole };
}

/** The content of chunks (RFC 9112, section 7.1), and whether the last one has come. @param {string} text */
function joined(text) {
  let body = "";
  for (let start = 0; ;) {
    const end = text.indexOf("\r\n", start);
    const length = end < 0 ? NaN : parseInt(text.slice(start, end), 16);
    if (!(length > 0)) return { body, isWhole: length === 0 };
    body += text.slice(end + 2, end + 2 + length);
    start = end + 2 + length + 2;
  }
}
