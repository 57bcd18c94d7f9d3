// A WebSocket of its own over node:net and node:tls, because Node 20 has none. As a Socket.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import * as net from "node:net";
import * as tls from "node:tls";

import { checkToken, readAddress } from "./address.js";
import { closed } from "./endings.js";
import { BrokenStreamError, OptionError } from "./errors.js";
import { BINARY, CLOSE, FrameReader, PONG, encodeFrame } from "./frames.js";
import { UpgradeAnswer, upgradeRequest } from "./upgrade.js";

const NORMAL = 1000;
const LAST_WORDS_MS = 1000;
const KEEPALIVE_MS = 10_000;

/**
 * @typedef {object} NodeOptions
 * @property {string | undefined} [token]
 * @property {string | undefined} [tokenFile] read for each dial, so that it may be renewed
 * @property {string | undefined} [tlsCa]
 * @property {string | undefined} [tlsCertificate]
 * @property {string | undefined} [tlsKey]
 * @property {number | undefined} [maxMessageMib]
 */

/** @param {string} address @param {NodeOptions} options @returns {import("./stream.js").OpenSocket} */
export function nodeSockets(address, options) {
  const { base, url } = readAddress(address, Boolean(options.tlsCa));
  if (url.protocol === "ws:" && options.tlsCa) {
    throw new OptionError(`${address} is without TLS and tlsCa is given; write wss:// instead`);
  }
  if (Boolean(options.tlsCertificate) !== Boolean(options.tlsKey)) {
    throw new OptionError("a client certificate needs both tlsCertificate and tlsKey");
  }
  return (path, events) => new NodeSocket(new URL(base + path), options, events);
}

/** One connection: the HTTP upgrade, then frames. */
class NodeSocket {
  #events;
  #connection;
  #answer;
  #isOpen = false;
  #isClosing = false;
  #frames;

  /** @param {URL} url @param {NodeOptions} options @param {import("./stream.js").SocketEvents} events */
  constructor(url, options, events) {
    this.#events = events;
    this.#frames = new FrameReader((options.maxMessageMib ?? 256) * 2 ** 20, {
      message: (message) => events.arrived(message),
      ping: (payload) => this.#write(PONG, payload),
      close: (code, reason) => {
        events.ended(closed(code, reason));
        this.close();
      },
    });
    const key = randomBytes(16).toString("base64");
    const token = checkToken(
      options.tokenFile ? firstLine(options.tokenFile) : (options.token ?? ""),
    );
    this.#answer = new UpgradeAnswer(key);
    this.#connection = connect(url, options, () =>
      this.#connection.write(upgradeRequest(url, key, token)),
    );
    this.#connection.setNoDelay(true).setKeepAlive(true, KEEPALIVE_MS);
    this.#connection.on("data", (bytes) => this.#take(bytes));
    this.#connection.on("error", (error) => events.ended(new BrokenStreamError(words(error))));
    this.#connection.on("close", () => {
      events.ended(this.#isOpen ? closed(1006, "no close frame came") : this.#answer.ended());
    });
  }

  /** @param {Uint8Array} message */
  send(message) {
    this.#write(BINARY, message);
  }

  close() {
    if (this.#isClosing) return;
    this.#isClosing = true;
    if (!this.#isOpen) {
      this.#connection.destroy();
      return;
    }
    this.#write(CLOSE, Uint8Array.of(NORMAL >> 8, NORMAL & 255));
    this.#connection.end();
    const timer = setTimeout(() => this.#connection.destroy(), LAST_WORDS_MS);
    timer.unref();
    this.#connection.once("close", () => clearTimeout(timer));
  }

  /** @param {Buffer} bytes */
  #take(bytes) {
    try {
      if (this.#isOpen) this.#frames.push(bytes);
      else {
        const rest = this.#answer.push(bytes);
        if (!rest) return;
        this.#isOpen = true;
        this.#events.opened();
        this.#frames.push(rest);
      }
    } catch (error) {
      this.#events.ended(/** @type {Error} */ (error));
      this.close();
    }
  }

  /** @param {number} opcode @param {Uint8Array} payload */
  #write(opcode, payload) {
    if (this.#connection.writable)
      this.#connection.write(encodeFrame(opcode, payload, randomBytes(4)));
  }
}

/** @param {URL} url @param {NodeOptions} options @param {() => void} connected */
function connect(url, options, connected) {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const isSecure = url.protocol === "wss:";
  const port = Number(url.port) || (isSecure ? 443 : 80);
  if (!isSecure) return net.connect({ host, port }, connected);
  return tls.connect(
    {
      host,
      port,
      ALPNProtocols: ["http/1.1"],
      // A server's name is never an address.
      ...(net.isIP(host) ? {} : { servername: host }),
      secureContext: certificates(options),
    },
    connected,
  );
}

/** OptionError if they are none. @param {NodeOptions} options */
function certificates({ tlsCa, tlsCertificate, tlsKey }) {
  const files = {
    ...(tlsCa ? { ca: content(tlsCa) } : {}),
    ...(tlsCertificate && tlsKey ? { cert: content(tlsCertificate), key: content(tlsKey) } : {}),
  };
  try {
    return tls.createSecureContext(files);
  } catch (error) {
    const names = [tlsCa, tlsCertificate, tlsKey].filter(Boolean).join(", ");
    throw new OptionError(
      `TLS cannot use ${names} (${/** @type {Error} */ (error).message}); give PEM files: the ` +
        "authority's certificate, and a certificate with the key it was made for",
    );
  }
}

/** @param {Error & {errors?: Error[]}} error several of "localhost": one for each of its addresses */
function words(error) {
  return (
    error.message || (error.errors ?? []).map((each) => each.message).join(", ") || String(error)
  );
}

/** @param {string} path */
function content(path) {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new OptionError(`cannot read ${path}: ${/** @type {Error} */ (error).message}`);
  }
}

/** @param {string} path of a file with a token */
function firstLine(path) {
  const line = content(path).toString("utf8").split("\n")[0]?.trim();
  if (!line) throw new OptionError(`token file ${path} is empty; its first line must be the token`);
  return line;
}
