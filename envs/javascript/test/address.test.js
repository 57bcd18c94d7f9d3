// Addresses and options as a user gives them; nothing is dialled.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { checkToken, readAddress } from "../src/address.js";
import { TrainerClient } from "../src/node.js";

const SPEC = { name: "x", observations: { y: {} }, action: { branches: [2] } };
const clientAt = (address, options = {}) =>
  new TrainerClient(address, [SPEC], { simulator: "s", ...options });

for (const [address, usesTls, base] of [
  ["localhost:50052", false, "ws://localhost:50052"],
  ["localhost:50052", true, "wss://localhost:50052"],
  ["ws://[::1]:7/", false, "ws://[::1]:7"],
  ["ws://host:7/simulate", false, "ws://host:7"],
  ["wss://host/games/entrain/", false, "wss://host/games/entrain"],
  ["wss://host/games/simulate", true, "wss://host/games"],
]) {
  test(`${address} ${usesTls ? "with" : "without"} TLS is ${base}`, () => {
    assert.equal(readAddress(address, usesTls).base, base);
  });
}

for (const address of [
  "",
  "http://localhost:1",
  "ws://",
  "localhost:99999",
  "ws://host:1/?a=b",
  undefined,
]) {
  test(`'${address}' is no address`, () => {
    assert.throws(() => clientAt(address), {
      name: "OptionError",
      message: /expected ws:\/\/HOST:PORT/,
    });
  });
}

test("a token is printable, so that it cannot add a header", () => {
  assert.equal(checkToken("s3cret/+"), "s3cret/+");
  assert.throws(() => checkToken("a\r\nHost: b"), { name: "OptionError" });
});

test("options that contradict each other are refused", () => {
  assert.throws(() => clientAt("ws://h:1", { tlsCa: "ca.pem" }), {
    name: "OptionError",
    message: /wss/,
  });
  assert.throws(() => clientAt("wss://h:1", { tlsKey: "key.pem" }), { name: "OptionError" });
});

test("files that hold no certificate are told so, as a wrong option is", async () => {
  const file = fileURLToPath(import.meta.url);
  await assert.rejects(clientAt("wss://h:1", { tlsCertificate: file, tlsKey: file }).connect(), {
    name: "OptionError",
    message: /^TLS cannot use .*address.test.js, .* \(.*\); give PEM files/,
  });
});

test("the variables of a launching trainer count where options say nothing", async () => {
  process.env.ENTRAIN_TOKEN_FILE = "/there/is/no/token";
  process.env.ENTRAIN_TLS_CA = "/there/is/no/authority";
  process.env.ENTRAIN_RECONNECT_S = "soon";
  assert.throws(() => clientAt("h:1"), { name: "OptionError", message: /RECONNECT_S is 'soon'/ });
  process.env.ENTRAIN_RECONNECT_S = "0";
  await assert.rejects(clientAt("ws://h:1").connect(), {
    name: "OptionError",
    message: /no\/token/,
  });
  await assert.rejects(clientAt("h:1", { token: "t" }).connect(), {
    name: "OptionError",
    message: /no\/authority/,
  });
});
