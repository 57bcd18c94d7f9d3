// The browser's entry, with a WebSocket that is made up: what it is asked for, and what its events mean.

import assert from "node:assert/strict";
import { test } from "node:test";

import { browserSockets } from "../src/browser_socket.js";

/** Opens a made-up socket; returns it and what the client is told. */
function opened(address, options, path = "/simulate", page = undefined) {
  const told = [];
  let made;
  globalThis.location = page;
  globalThis.WebSocket = class {
    sent = [];
    isClosed = false;
    constructor(url, protocols) {
      Object.assign(this, { url, protocols });
      made = this;
    }
    send(message) {
      this.sent.push(message);
    }
    close() {
      this.isClosed = true;
    }
  };
  const socket = browserSockets(address, options)(path, {
    opened: () => told.push("opened"),
    arrived: (message) => told.push([...message]),
    ended: (error) => told.push(error),
  });
  return { socket, made, told };
}

test("the token is a subprotocol, as base64url without padding", () => {
  const { made } = opened("localhost:1", { token: "s3cret/+?>~" }, "/inquire");
  const [first, second, ...more] = made.protocols;
  assert.deepEqual([made.url, first, more], ["ws://localhost:1/inquire", "entrain.v1", []]);
  const text = second.slice("entrain.token.".length);
  assert.match(second, /^entrain\.token\.[A-Za-z0-9_-]+$/);
  assert.equal(Buffer.from(text, "base64url").toString(), "s3cret/+?>~");
  assert.deepEqual(opened("localhost:1", {}).made.protocols, ["entrain.v1"]);
});

test("a page of https dials wss where the address does not say", () => {
  const secure = opened("host:1", {}, "/simulate", { protocol: "https:" }).made.url;
  assert.equal(secure, "wss://host:1/simulate");
  assert.equal(
    opened("ws://host:1", {}, "/simulate", { protocol: "https:" }).made.url,
    "ws://host:1/simulate",
  );
});

test("messages are bytes, and text is none", () => {
  const { socket, made, told } = opened("host:1", {});
  assert.equal(made.binaryType, "arraybuffer");
  made.onopen();
  made.onmessage({ data: Uint8Array.of(1, 2).buffer });
  socket.send(Uint8Array.of(3));
  made.onmessage({ data: "hello" });
  socket.close();
  assert.deepEqual(told.slice(0, 2), ["opened", [1, 2]]);
  assert.equal(told[2].name, "BrokenStreamError");
  assert.deepEqual([made.sent.length, made.isClosed], [1, true]);
});

test("what was never open is dialled again, and the usual causes are named", () => {
  const { made, told } = opened("host:1", {});
  made.onclose({ code: 1006, reason: "" });
  assert.equal(told[0].name, "BrokenStreamError");
  assert.match(told[0].message, /server\.origins/);
  const later = opened("host:1", {});
  later.made.onopen();
  later.made.onclose({ code: 4003, reason: "no" });
  assert.deepEqual(
    [later.told[1].name, later.told[1].message],
    ["RefusedError", "no (INVALID_ARGUMENT)"],
  );
});
