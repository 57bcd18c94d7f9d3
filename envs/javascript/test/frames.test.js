// Frames and the upgrade, against the examples of RFC 6455 and in whatever pieces they come.

import assert from "node:assert/strict";
import { test } from "node:test";

import { BrokenStreamError, MisfitError, RefusedError } from "../src/errors.js";
import { BINARY, CLOSE, FrameReader, PING, TEXT, encodeFrame } from "../src/frames.js";
import { UpgradeAnswer, upgradeRequest } from "../src/upgrade.js";

const hex = (text) => new Uint8Array(Buffer.from(text.replaceAll(" ", ""), "hex"));

/** What a trainer writes: a frame without a mask. */
function served(opcode, payload, { isFinal = true } = {}) {
  const length = payload.length;
  const head = length < 126 ? [length] : length < 65536 ? [126, length >> 8, length & 255] : null;
  const long = new Uint8Array(9);
  new DataView(long.buffer).setBigUint64(1, BigInt(length));
  long[0] = 127;
  return Buffer.concat([
    Uint8Array.of((isFinal ? 128 : 0) | opcode),
    Uint8Array.from(head ?? long),
    payload,
  ]);
}

function readerOf(maxBytes = 1e6) {
  const seen = [];
  const reader = new FrameReader(maxBytes, {
    message: (message) => seen.push(Buffer.from(message).toString("hex")),
    ping: (payload) => seen.push(`ping ${Buffer.from(payload)}`),
    close: (code, reason) => seen.push(`close ${code} ${reason}`),
  });
  return { reader, seen };
}

test("a masked frame is the RFC's example", () => {
  const frame = encodeFrame(TEXT, new TextEncoder().encode("Hello"), hex("37fa213d"));
  assert.deepEqual(frame, hex("8185 37fa213d 7f9f4d5158"));
});

for (const length of [0, 1, 3, 4, 125, 126, 65535, 65536, 70001]) {
  test(`a frame of ${length} bytes says its length, and its mask is taken off again`, () => {
    const payload = Uint8Array.from({ length }, (_, index) => index * 7);
    const mask = hex("a1b2c3d4");
    const frame = encodeFrame(BINARY, payload, mask);
    const header = frame.length - length - 4;
    assert.equal(header, length < 126 ? 2 : length < 65536 ? 4 : 10);
    const unmasked = frame.subarray(header + 4).map((byte, index) => byte ^ mask[index % 4]);
    assert.deepEqual(unmasked, payload);
    const { reader, seen } = readerOf();
    reader.push(served(BINARY, payload));
    assert.deepEqual(seen, [Buffer.from(payload).toString("hex")]);
  });
}

for (const size of [1, 2, 3, 7, 1000]) {
  test(`messages, pieces, a ping between them and a close come in parts of ${size} bytes`, () => {
    const whole = Buffer.concat([
      served(BINARY, hex("0102")),
      served(BINARY, hex("aa"), { isFinal: false }),
      served(PING, Buffer.from("are you there")),
      served(0, hex("bb"), { isFinal: false }),
      served(0, hex("cc")),
      served(BINARY, hex("")),
      served(CLOSE, Buffer.concat([hex("0fa3"), Buffer.from("no")])),
    ]);
    const { reader, seen } = readerOf();
    for (let start = 0; start < whole.length; start += size)
      reader.push(whole.subarray(start, start + size));
    assert.deepEqual(seen, ["0102", "ping are you there", "aabbcc", "", "close 4003 no"]);
  });
}

for (const [words, frame, Kind] of [
  ["text", "8101 41"],
  ["masked", "8281 00000000 41"],
  ["with reserved bits", "c201 41"],
  ["of an unknown type", "8301 41"],
  ["a continuation of nothing", "8001 41"],
  ["a long ping", "897e 0080"],
  ["half a ping", "0900"],
  ["longer than is taken", "827f 0000000100000000", MisfitError],
]) {
  test(`a frame that is ${words} is refused before its payload is stored`, () => {
    // One that breaks the rules was damaged on the way: on another stream it may be whole.
    assert.throws(() => readerOf(1000).reader.push(hex(frame)), {
      name: (Kind ?? BrokenStreamError).name,
    });
  });
}

test("pieces of a message that are too long together are refused", () => {
  const { reader } = readerOf(100);
  reader.push(served(BINARY, new Uint8Array(60), { isFinal: false }));
  assert.throws(() => reader.push(served(0, new Uint8Array(60), { isFinal: false })), /120 bytes/);
});

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const UPGRADED =
  "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nConnection: Upgrade\r\n" +
  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: entrain.v1\r\n\r\n";

test("the upgrade is asked for with a token, and the RFC's answer is taken, in any parts", () => {
  const request = upgradeRequest(new URL("ws://host:7/simulate"), KEY, "secret");
  assert.match(request, /^GET \/simulate HTTP\/1.1\r\nHost: host:7\r\n/);
  assert.match(request, /Authorization: Bearer secret\r\n\r\n$/);
  const answer = new UpgradeAnswer(KEY);
  for (const letter of UPGRADED.slice(0, -1)) assert.equal(answer.push(Buffer.from(letter)), null);
  assert.deepEqual([...answer.push(Buffer.from("\n\xff", "latin1"))], [255]);
});

for (const [words, text, Kind] of [
  ["another key", UPGRADED.replace("s3pP", "aaaa"), RefusedError],
  ["another subprotocol", UPGRADED.replace("entrain.v1", "chat"), RefusedError],
  [
    "an extension",
    UPGRADED.replace("upgrade:", "Sec-WebSocket-Extensions: permessage-deflate\r\nupgrade:"),
    RefusedError,
  ],
  ["no HTTP", "SSH-2.0-OpenSSH_9\r\n\r\n\r\n", RefusedError],
  ["no token", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno", RefusedError],
  ["no such page", "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", RefusedError],
  ["no room", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno", BrokenStreamError],
]) {
  test(`an answer of ${words} is ${Kind.name}`, () => {
    assert.throws(() => new UpgradeAnswer(KEY).push(Buffer.from(text)), Kind);
  });
}

for (const [words, answer] of [
  [
    "in chunks",
    "404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nno s\r\n9\r\nuch page \r\n0\r\n\r\n",
  ],
  ["of a length", "404 Not Found\r\nContent-Length: 12\r\n\r\nno such page"],
]) {
  test(`a body ${words} is told when it is whole, though the connection stays`, () => {
    const waiting = new UpgradeAnswer(KEY);
    const text = `HTTP/1.1 ${answer}`;
    // The last chunk's own end need not be waited for.
    const whole = text.length - (words === "in chunks" ? 2 : 0);
    for (const letter of text.slice(0, whole - 1)) {
      assert.equal(waiting.push(Buffer.from(letter)), null);
    }
    assert.throws(() => waiting.push(Buffer.from(text[whole - 1])), {
      name: "RefusedError",
      message: /^HTTP 404: no such page \(/,
    });
  });
}

for (const answer of ["204 No Content", "304 Not Modified"]) {
  test(`an answer of ${answer} has no body to wait for`, () => {
    const whole = Buffer.from(`HTTP/1.1 ${answer}\r\n\r\n`);
    assert.throws(() => new UpgradeAnswer(KEY).push(whole), RefusedError);
  });
}

for (const [words, text, Kind, message] of [
  ["nothing", "", BrokenStreamError, "the connection ended before an answer"],
  [
    "half a head",
    UPGRADED.slice(0, 60),
    BrokenStreamError,
    "the connection ended before an answer",
  ],
  ["a status", "HTTP/1.1 400 Bad", RefusedError, "HTTP 400"],
  ["half a body", "HTTP/1.1 400 No\r\nContent-Length: 9\r\n\r\nno", RefusedError, "HTTP 400: no"],
  [
    "a body of no length",
    "HTTP/1.1 400 No\r\n\r\nno\r\n\r\nway",
    RefusedError,
    "HTTP 400: no\r\n\r\nway",
  ],
]) {
  test(`a connection that ends after ${words} is ${Kind.name}`, () => {
    const answer = new UpgradeAnswer(KEY);
    assert.equal(answer.push(Buffer.from(text)), null);
    assert.deepEqual(answer.ended(), new Kind(message));
  });
}

test("what speaks something else, such as gRPC, is told apart from an answer", () => {
  const settings = Buffer.of(0, 0, 18, 4, 0, 0, 0, 0, 0);
  assert.throws(() => new UpgradeAnswer(KEY).push(settings), /not that of gRPC/);
  const answer = new UpgradeAnswer(KEY);
  assert.equal(answer.push(Buffer.from("HTT")), null, "it may still become one");
  assert.throws(() => answer.push(Buffer.from("X/9")), RefusedError);
});

test("an answer with an endless head is given up", () => {
  assert.throws(
    () => new UpgradeAnswer(KEY).push(Buffer.from("HTTP/1.1 200 OK\r\nX: ".padEnd(20_000, "x"))),
    /endless/,
  );
});
