// Programs as processes: how they end when the client throws, in words and exit codes.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

import * as errors from "../src/errors.js";
import { exitCodeOf } from "../src/program.js";

const ENTRY = new URL("../src/node.js", import.meta.url);

/** What becomes of a program whose `play` has these lines. */
function ended(lines) {
  const program = `import * as entrain from "${ENTRY}";
    setInterval(() => {}, 1000);
    await entrain.runProgram(async () => { ${lines} });
    process.exit(0);`;
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    encoding: "utf8",
    timeout: 60_000,
  });
  return { status, stderr };
}

test("a program that is refused says so in one line, though a timer of its own runs", () => {
  assert.deepEqual(ended('throw new entrain.MisfitError("ws://t:1 refused the token")'), {
    status: 78,
    stderr: "entrain: ws://t:1 refused the token\n",
  });
});

test("the normal end is exit code 0, without a word", () => {
  const quietly = { status: 0, stderr: "" };
  assert.deepEqual(ended('throw new entrain.TrainerClosed("done")'), quietly);
  assert.deepEqual(ended(""), quietly);
});

test("a fault of the program itself is shown with its place", () => {
  const { status, stderr } = ended('throw new RangeError("off the board")');
  assert.equal(status, 1);
  assert.match(stderr, /RangeError: off the board\n +at /);
});

for (const [name, code] of [
  ["MisfitError", 78],
  ["OptionError", 78],
  ["RefusedError", 1],
  ["NoRoomError", 1],
  ["ConnectionLostError", 1],
  ["WireError", 1],
  ["SpecError", 1],
]) {
  test(`a program ends with ${code} by ${name}`, () => {
    assert.equal(exitCodeOf(new errors[name]("words")), code);
  });
}
