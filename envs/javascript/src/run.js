// The loop that runs a world with a trainer: reset, step, and begin again if the trainer forgot it.

import { withTrainer } from "./client.js";
import { REAL_CLOCK } from "./clock.js";
import { SessionLostError } from "./errors.js";
import { InParts } from "./in_parts.js";
import { RealTime, deadlineS } from "./real_time.js";

/** @typedef {import("../types/index.js").World} World */
/** @typedef {import("./client.js").Client} Client */
/** @typedef {import("./clock.js").Clock} Clock */

/** From this revision on trainers read which rows are late. */
const REAL_TIME_REVISION = 2;

/** Reported to the trainer: how often the world went on without it. One late step may be many. */
const FALLBACK_STEPS = "fallback_steps";

/** See types/index.d.ts. @param {World} world
 * @param {import("../types/index.js").TrainerClient} trainerClient @param {Clock} clock */
export async function run(world, trainerClient, clock = REAL_CLOCK) {
  // With what users need not see of it.
  const client = /** @type {Client} */ (/** @type {unknown} */ (trainerClient));
  await withTrainer(client, async () => {
    await client.connect();
    for (;;) {
      try {
        await serve(world, client, clock);
      } catch (error) {
        if (!(error instanceof SessionLostError)) throw error;
      }
    }
  });
}

/** One session. @param {World} world @param {Client} client @param {Clock} clock */
async function serve(world, client, clock) {
  let parameters = client.environmentParameters;
  const timesteps = await world.reset({ seed: client.welcome.seed, parameters });
  const passParameters = () => {
    if (client.environmentParameters === parameters) return;
    parameters = client.environmentParameters;
    world.setParameters?.(parameters);
  };
  const waitS = usableDeadlineS(client);
  if (waitS) await serveInRealTime(world, client, timesteps, { waitS, clock, passParameters });
  else await serveWaiting(world, client, timesteps, passParameters);
}

/** How long actions are waited for; 0 if as long as it takes. @param {Client} client */
function usableDeadlineS(client) {
  const wantedS = deadlineS(client.behaviours.values());
  if (!wantedS || client.welcome.revision >= REAL_TIME_REVISION) return wantedS;
  client.say(
    "this trainer is too old to be told which actions came too late, and would learn from them as if " +
      "they had been taken: every action is waited for; upgrade it",
  );
  return 0;
}

/** @typedef {Awaited<ReturnType<World["reset"]>>} Timesteps */

/** @param {World} world @param {Client} client @param {Timesteps} timesteps
 * @param {() => void} passParameters */
async function serveWaiting(world, client, timesteps, passParameters) {
  for (;;) {
    const actions = await client.exchange(timesteps);
    passParameters();
    timesteps = await world.step(actions);
  }
}

/** The world goes on every `waitS`, by its fallbacks where actions are not here yet.
 * @param {World} world @param {Client} client @param {Timesteps} timesteps
 * @param {{waitS: number, clock: Clock, passParameters: () => void}} options */
async function serveInRealTime(world, client, timesteps, { waitS, clock, passParameters }) {
  const realTime = new RealTime(world, client.behaviours, timesteps);
  for (;;) {
    await client.send(timesteps);
    const answer = new InParts(client.receive());
    let lateSteps = 0;
    let actions = await answer.within(waitS, clock);
    while (!actions) {
      lateSteps += 1;
      await realTime.fallBack();
      actions = await answer.within(waitS, clock);
    }
    if (lateSteps) client.note(FALLBACK_STEPS, lateSteps, "sum");
    passParameters();
    timesteps = lateSteps ? realTime.take() : await realTime.step(actions);
  }
}
