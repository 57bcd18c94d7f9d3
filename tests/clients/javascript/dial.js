// Joins a trainer as its arguments say, exchanges some rows, leaves, and prints what came of it.
//
//     node dial.js ADDRESS '{"token": "...", ...}' [STEP_TYPE ...]

import { TrainerClient, withTrainer } from "../../../envs/javascript/src/node.js";

const [address, options, ...stepTypes] = process.argv.slice(2);
const WALKER = {
  name: "walker",
  observations: { eyes: { shape: [2] } },
  action: { low: [-1], high: [1] },
};

try {
  const complete = { simulator: "node", connectS: 5, reconnectS: 5, ...JSON.parse(options) };
  await withTrainer(new TrainerClient(address, [WALKER], complete), async (client) => {
    const { runId, environmentParameters } = await client.connect();
    console.log(`joined ${runId} with gravity ${environmentParameters.gravity}`);
    for (const stepType of stepTypes.map(Number)) {
      const rows = [{ agentId: 7, stepType, observation: { eyes: [1, 2] } }];
      const { walker } = await client.exchange({ walker: rows });
      console.log(`acts ${walker.continuous}`);
    }
  });
  console.log("left");
} catch (error) {
  console.log(`${error.name}: ${error.message}`);
}
