// The browser's own WebSocket as a Socket. It cannot send headers: the token is a subprotocol.

import { SUBPROTOCOL, checkToken, readAddress } from "./address.js";
import { closed } from "./endings.js";
import { BrokenStreamError } from "./errors.js";

const NEVER_OPENED =
  "no connection, and a browser does not say why: the trainer is not there or its option " +
  "server.websocket is off; this page's origin is not in server.origins; the token is wrong; or a " +
  "page of https needs wss";

/** @param {string} address @param {{token?: string | undefined}} options
 * @returns {import("./stream.js").OpenSocket} */
export function browserSockets(address, { token = "" }) {
  const page = /** @type {{location?: {protocol: string}}} */ (globalThis).location;
  const { base } = readAddress(address, page?.protocol === "https:");
  const protocols = [SUBPROTOCOL];
  if (token) protocols.push(`entrain.token.${base64url(checkToken(token))}`);
  return (path, events) => {
    const socket = new WebSocket(base + path, protocols);
    let wasOpen = false;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      wasOpen = true;
      events.opened();
    };
    socket.onmessage = ({ data }) => {
      if (typeof data === "string")
        events.ended(new BrokenStreamError("a text frame came; expected binary"));
      else events.arrived(new Uint8Array(data));
    };
    socket.onclose = ({ code, reason }) => {
      events.ended(wasOpen ? closed(code, reason) : new BrokenStreamError(NEVER_OPENED));
    };
    return { send: (message) => socket.send(message), close: () => socket.close() };
  };
}

/** Without padding. @param {string} text of ASCII */
function base64url(text) {
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
