// Reads where a trainer is: `ws://HOST:PORT`, `wss://HOST:PORT`, or HOST:PORT.

import { OptionError } from "./errors.js";

export const SUBPROTOCOL = "entrain.v1";

/** The trainer's address, to which `/simulate` or `/inquire` is added.
 * @param {string} address @param {boolean} usesTls if the address does not say */
export function readAddress(address, usesTls) {
  if (!address) throw notAnAddress(String(address ?? ""));
  const text = address.includes("://") ? address : `${usesTls ? "wss" : "ws"}://${address}`;
  let url;
  try {
    url = new URL(text);
  } catch {
    throw notAnAddress(address);
  }
  if (!["ws:", "wss:"].includes(url.protocol) || !url.hostname || url.search || url.hash) {
    throw notAnAddress(address);
  }
  return { base: `${url.protocol}//${url.host}${url.pathname.replace(/\/(simulate)?$/, "")}`, url };
}

/** @param {string} address */
function notAnAddress(address) {
  return new OptionError(
    `'${address}' is no address; expected ws://HOST:PORT, wss://HOST:PORT or HOST:PORT, where the ` +
      "trainer's option server.websocket says, such as ws://localhost:50052",
  );
}

/** Throws unless a token can be sent. @param {string} token */
export function checkToken(token) {
  if (!/^[\x21-\x7e]*$/.test(token)) {
    throw new OptionError("the token holds other than printable ASCII characters; copy it again");
  }
  return token;
}
