// The loop that runs a world with a trainer: reset, step, and begin again if the trainer forgot it.

import { withTrainer } from "./client.js";
import { SessionLostError } from "./errors.js";

/** @typedef {import("../types/index.js").TrainerClient} Client */
/** @typedef {import("../types/index.js").World} World */

/** See types/index.d.ts. @param {World} world @param {Client} client */
export async function run(world, client) {
  await withTrainer(client, async () => {
    await client.connect();
    for (;;) {
      try {
        await serve(world, client);
      } catch (error) {
        if (!(error instanceof SessionLostError)) throw error;
      }
    }
  });
}

/** One session. @param {World} world @param {Client} client */
async function serve(world, client) {
  let parameters = client.environmentParameters;
  let timesteps = await world.reset({ seed: client.welcome.seed, parameters });
  for (;;) {
    const actions = await client.exchange(timesteps);
    if (client.environmentParameters !== parameters) {
      parameters = client.environmentParameters;
      world.setParameters?.(parameters);
    }
    timesteps = await world.step(actions);
  }
}
