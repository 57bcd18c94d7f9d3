// Compiled by the tests, never run: the declared types fit what is there, and catch mistakes.

import * as declared from "entrain-envs";

import * as browser from "../src/browser.js";
import * as node from "../src/node.js";

// What is declared is exported by both entries, as declared. Only classes with private fields
// cannot be compared whole.
type Plain = Omit<typeof declared, "TrainerClient" | "ActionBatch">;
export const inNode: Plain = node;
// A page has no exit code.
export const inBrowser: Omit<Plain, "runProgram"> = browser;

type Make = new (
  ...given: ConstructorParameters<typeof declared.TrainerClient>
) => declared.TrainerClient;
export const clients: Make[] = [node.TrainerClient, browser.TrainerClient];

// Nothing is exported that is not declared.
export const undeclared: Exclude<
  keyof typeof node | keyof typeof browser,
  keyof typeof declared
>[] = [];
const nothing: never[] = undeclared;

const { FIRST, MID, TrainerClient, run, seededRandom, withTrainer } = declared;
const WALKER = {
  name: "walker",
  observations: { joints: { shape: [3] }, camera: { shape: [8, 8, 3], dtype: "uint8" } },
  action: { low: [-1], high: [1], branches: [2, 3] },
} as const satisfies declared.BehaviourSpec;

export async function play(): Promise<void> {
  const client = new TrainerClient("ws://localhost:1", [WALKER], {
    simulator: "walker",
    token: "t",
  });
  await withTrainer(client, async (joined) => {
    const random: () => number = seededRandom((await joined.connect()).seed);
    const camera = new Uint8ClampedArray(192);
    const actions = await joined.exchange({
      walker: [
        { agentId: 1, stepType: FIRST, observation: { joints: [random(), 0, 0], camera } },
        {
          agentId: 2n,
          stepType: MID,
          reward: 1,
          observation: { joints: new Float32Array(3), camera },
        },
      ],
      bird: { agentId: [1, 2], stepType: MID, reward: [0, 1], observation: { eyes: [[1], [2]] } },
    });
    for (const { agentId, continuous, discrete } of actions.walker ?? []) {
      joined.note(`walker/${agentId}`, (continuous[0] ?? 0) + (discrete[0] ?? 0), "last");
    }
  });
}

export const world: declared.World = {
  reset: ({ seed, parameters }) => ({
    bird: [{ agentId: Number(seed), stepType: FIRST, observation: { x: parameters.x ?? 0 } }],
  }),
  step: async () => ({}),
};

export async function mistakes(client: declared.TrainerClient): Promise<void> {
  // @ts-expect-error the simulator has no name
  new TrainerClient("ws://localhost:1", [WALKER], {});
  // @ts-expect-error there is no such dtype
  new TrainerClient("", [{ ...WALKER, observations: { x: { dtype: "float64" } } }], {
    simulator: "x",
  });
  // @ts-expect-error an observation is missing
  await client.exchange({ walker: [{ agentId: 1, stepType: FIRST }] });
  // @ts-expect-error no such aggregation
  client.note("coins", 1, "median");
  // @ts-expect-error a world has to step
  await run({ reset: () => ({}) }, client);
  return void nothing;
}
