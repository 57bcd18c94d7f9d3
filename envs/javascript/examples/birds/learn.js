// Lets the birds of game.js learn from a trainer, while show.js shows them. Opened by index.html.

import { FIRST, MID, TERMINATED, TRUNCATED, TrainerClient, run, seededRandom } from "entrain-envs";

import { Game } from "./game.js";
import { show } from "./show.js";

const BIRD = { name: "bird", observations: { eyes: { shape: [5] } }, action: { branches: [2] } };
const STEP_TYPES = { new: FIRST, flying: MID, crashed: TERMINATED, old: TRUNCATED };
const game = new Game(24);
const shown = show(game);

const row = ({ id, state, reward, eyes }) =>
  ({ agentId: id, stepType: STEP_TYPES[state], reward, observation: { eyes } });

const world = {
  reset({ seed }) {
    game.reset(seededRandom(seed));
    return { bird: game.birds.map(row) };
  },
  step({ bird: actions }) {
    for (const { agentId, discrete } of actions) if (discrete[0]) game.birds[agentId].flap();
    game.step();
    const rows = game.birds.map(row); // how each life goes on, or ended
    return shown.paced({ bird: [...rows, ...game.beginAnew().map(row)] }); // and the next begin
  },
};

const trainer = new URLSearchParams(location.search).get("trainer") ?? "ws://localhost:50052";
const client = new TrainerClient(trainer, [BIRD], { simulator: "birds", log: shown.say });
run(world, client).catch((error) => shown.say(error.message));
