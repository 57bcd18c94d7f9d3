// Lets the balls of arena.js learn: node learn.js ws://localhost:50052

import { FIRST, MID, TERMINATED, TRUNCATED, TrainerClient, run, runProgram, seededRandom } from "entrain-envs";

import { Arena } from "./arena.js";

const SENSES = { shape: [8] };
const BALL = { name: "ball", observations: { senses: SENSES }, action: { low: [-1, -1], high: [1, 1] } };
const STEP_TYPES = { new: FIRST, rolling: MID, won: TERMINATED, fell: TERMINATED, late: TRUNCATED };
const arena = new Arena(16);

const row = ({ id, state, reward, senses }) =>
  ({ agentId: id, stepType: STEP_TYPES[state], reward, observation: { senses } });

const world = {
  reset({ seed, parameters }) {
    arena.reset(seededRandom(seed), parameters.gravity);
    return { ball: arena.balls.map(row) };
  },
  step({ ball: actions }) {
    for (const { agentId, continuous } of actions) arena.balls[agentId].push(...continuous);
    arena.step();
    const rows = arena.balls.map(row); // how each episode goes on, or ended
    return { ball: [...rows, ...arena.beginAnew().map(row)] }; // and how the next ones begin
  },
};

const { ENTRAIN_WEBSOCKET, ENTRAIN_SIMULATOR = "rapier" } = process.env; // if a trainer launched it
const address = process.argv[2] ?? ENTRAIN_WEBSOCKET;
const makeClient = () => new TrainerClient(address, [BALL], { simulator: ENTRAIN_SIMULATOR });
await runProgram(() => run(world, makeClient()));
