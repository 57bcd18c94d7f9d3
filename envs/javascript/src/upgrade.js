// The HTTP part of a WebSocket (RFC 6455, section 4): the request, and what the answer says.

import { createHash } from "node:crypto";

import { SUBPROTOCOL } from "./address.js";
import { answered } from "./endings.js";
import { BrokenStreamError, RefusedError } from "./errors.js";

const PROTOCOL = "HTTP/1.";
const LONGEST_HEAD = 16_384;
const LONGEST_BODY = 1_000;
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
    if (status === 101) {
      this.#checkUpgrade(headers);
      return Buffer.from(rest, "latin1");
    }
    const length = Number(headers.get("content-length") ?? Infinity);
    if (rest.length < Math.min(length, LONGEST_BODY)) return null;
    throw answered(status, rest.slice(0, LONGEST_BODY));
  }

  /** The error for a connection that ended before the answer was whole. */
  ended() {
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(this.#text)?.[1];
    if (status)
      return answered(
        Number(status),
        this.#text.split("\r\n\r\n")[1]?.slice(0, LONGEST_BODY) ?? "",
      );
    return new BrokenStreamError("the connection ended before an answer");
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
  const [first = "", ...lines] = head.split("\r\n");
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(first)?.[1];
  if (!status) throw new RefusedError("what answers there does not speak HTTP; check the port");
  /** @type {Map<string, string>} */
  const headers = new Map();
  for (const line of lines) {
    const colon = line.indexOf(":");
    headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  return { status: Number(status), headers };
}
