// Merges rows of late steps as lines on the standard input say; see test_late_rows.py for their form.

import { createInterface } from "node:readline";

import { LateRows } from "../../../envs/javascript/src/late_rows.js";

let late = new LateRows();

function rowOf(word) {
  const [agentId, stepType, reward, groupReward, seen, allowed] = word.split(":").map(Number);
  const observation = { seen };
  return { agentId, stepType, reward, groupReward, observation, actionMask: [1, allowed] };
}

for await (const line of createInterface({ input: process.stdin })) {
  const [, what, ...words] = line.split(" ");
  if (what === "begin") late = new LateRows();
  if (what === "add") late.add(words.slice(1).map(rowOf), new Set(words[0].split(",")));
  if (what === "take") {
    const due = late.take().map((row) =>
      [row.agentId, row.stepType, row.reward, row.groupReward, row.observation.seen,
        row.actionMask[1], Number(row.late)].join(":"),
    );
    console.log(["due", ...due].join(" "));
  }
}
