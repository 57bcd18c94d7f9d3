// A whole simulator: sixteen points on a line, which learn to stand still at zero.

import { FIRST, MID, TRUNCATED, TrainerClient, runProgram, seededRandom, withTrainer } from "entrain-envs";

const POINT = {
  name: "point",
  observations: { place: { shape: [1] } },
  action: { low: [-1], high: [1] },
};
const POINTS = [...Array(16).keys()];
const EPISODE = [FIRST, ...Array(49).fill(MID), TRUNCATED];

const { ENTRAIN_WEBSOCKET, ENTRAIN_SIMULATOR = "points" } = process.env; // if a trainer launched it
const address = process.argv[2] ?? ENTRAIN_WEBSOCKET;
const makeClient = () => new TrainerClient(address, [POINT], { simulator: ENTRAIN_SIMULATOR });

await runProgram(() => withTrainer(makeClient(), async (client) => {
  const random = seededRandom((await client.connect()).seed);
  for (;;) { // until the trainer is done, which ends `withTrainer`
    const place = POINTS.map(() => 6 * random() - 3);
    for (const stepType of EPISODE) {
      const reward = stepType === FIRST ? 0 : place.map((x) => -Math.abs(x));
      const timesteps = { agentId: POINTS, stepType, reward, observation: { place } };
      const { point } = await client.exchange({ point: timesteps });
      if (stepType !== TRUNCATED) POINTS.forEach((i) => (place[i] += 0.2 * point.continuous[i]));
    }
  }
}));
