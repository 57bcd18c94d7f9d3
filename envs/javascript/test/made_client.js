// A client of a scripted trainer, and the rows that tests send by it.

import { Client } from "../src/client.js";
import { FakeClock, answering, welcoming } from "./scripted_trainer.js";

export const POINT = {
  name: "point",
  observations: { place: {} },
  action: { low: [-1], high: [1] },
};
export const FOX = { ...POINT, name: "fox" };
export const rows = (stepType, place = [1, 2]) => ({
  point: { agentId: [0, 1], stepType, reward: 0, observation: { place } },
});

export function clientOf(trainer, options = {}, clock = new FakeClock(), behaviours = [POINT]) {
  const lines = [];
  const log = (line) => lines.push(line);
  const client = new Client(
    "ws://t:1",
    behaviours,
    { simulator: "sim", log, ...options },
    trainer.openSocket,
    clock,
  );
  return { client, clock, lines };
}

/** A talk whose Steps after the first `count` are not answered: the connection ends instead. */
export function breakingAfter(count, fields = {}) {
  return welcoming(fields, (link, step) =>
    step.sequence > count ? link.end() : answering(link, step),
  );
}

export const steps = (link) => link.received.filter((each) => each.step);
