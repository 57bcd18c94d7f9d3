// Agents in a world that does not wait: four that the last action moves, and one that waits.
//
//     node real_time.js ADDRESS [DEADLINE_MS]

import { FIRST, MID, TERMINATED, TrainerClient, run } from "../../../envs/javascript/src/node.js";

const RUNNER = {
  name: "runner",
  observations: { place: { shape: [] } },
  action: { low: [-1], high: [1], branches: [2] },
  deadlineMs: Number(process.argv[3] ?? 300),
  fallback: "last",
};
const STONE = { name: "stone", observations: { place: {} }, action: { branches: [2] } };

class World {
  reset() {
    this.runners = [0, 1, 2, 3].map((agentId) => ({ agentId, place: agentId / 8, age: 0 }));
    this.steps = 0;
    return {
      runner: this.runners.map((runner) => this.#row(runner, FIRST, 0)),
      stone: [{ agentId: 9, stepType: FIRST, observation: { place: 0 } }],
    };
  }

  step({ runner }) {
    this.steps += 1;
    for (const { agentId, continuous } of runner) this.runners[agentId].place += continuous[0] / 4;
    const stone = { agentId: 9, stepType: MID, observation: { place: this.steps % 7 } };
    return { runner: this.runners.flatMap((each) => this.#outcome(each)), stone: [stone] };
  }

  #outcome(runner) {
    runner.age += 1;
    // Asleep now and then: it asks for no action in this step.
    if (runner.age % 5 === 4) return [];
    if (runner.age < 10 + runner.agentId) return [this.#row(runner, MID, -Math.abs(runner.place))];
    const end = this.#row(runner, TERMINATED, -1);
    Object.assign(runner, { age: 0, place: runner.agentId / 8 });
    return [end, this.#row(runner, FIRST, 0)];
  }

  #row({ agentId, place }, stepType, reward) {
    return { agentId, stepType, reward, observation: { place } };
  }
}

const client = new TrainerClient(process.argv[2], [RUNNER, STONE], { simulator: "real time" });
await run(new World(), client);
