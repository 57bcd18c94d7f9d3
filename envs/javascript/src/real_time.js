// A world that does not wait for the trainer: what comes too late, a fallback does.
//
//     sends a Step --actions in time--> steps with them
//         |
//         '--deadline--> steps with the fallback's, once each deadline, until the actions are here;
//                        they are not taken any more, and the next Step says what happened meanwhile
//
// Nothing here waits, or knows who does.

import { ActionBatch } from "./actions.js";
import { OptionError } from "./errors.js";
import { LastActions, neutral } from "./fallback.js";
import { LateRows } from "./late_rows.js";
import { requireByBehaviour, rowsOf } from "./rows.js";
import { MID } from "./timesteps.js";

/** @typedef {import("./spec.js").Behaviour} Behaviour */
/** @typedef {import("../types/index.js").World} World */
/** @typedef {import("../types/index.js").Timesteps} Timesteps */
/** @typedef {import("../types/index.js").TimestepRow} Row */
/** @typedef {Record<string, Timesteps>} Step by behaviour */
/** @typedef {Record<string, ActionBatch>} Actions by behaviour */

/** The shortest of their deadlines, for one Act answers them together; 0 if there is none.
 * @param {Iterable<Behaviour>} behaviours */
export function deadlineS(behaviours) {
  const deadlines = [...behaviours].map(({ deadlineMs }) => deadlineMs).filter(Boolean);
  return deadlines.length ? Math.min(...deadlines) / 1000 : 0;
}

/** Steps one world, in time or not, and says what is to be sent. */
export class RealTime {
  #world;
  #behaviours;
  /** @type {Record<string, Row[]>} that the world gave last */
  #rows = {};
  /** Those on which the trainer was asked to act: the newest when the last Step was sent. */
  #asked = this.#rows;
  /** @type {Map<string, LastActions>} */
  #last = new Map();
  /** @type {Map<string, LateRows>} */
  #waiting = new Map();

  /**
   * @param {World} world
   * @param {ReadonlyMap<string, Behaviour>} behaviours of the client, those that come later too
   * @param {Step} timesteps that the world gave last, and that are sent
   */
  constructor(world, behaviours, timesteps) {
    this.#world = world;
    this.#behaviours = behaviours;
    this.#see(timesteps);
    this.#asked = this.#rows;
    for (const { name, fallback } of behaviours.values()) {
      if (fallback === "controller" && !world.control) {
        throw new OptionError(
          `behaviour '${name}' falls back to a controller, and its world has no method 'control'; ` +
            "give it one, or choose the fallback last or neutral",
        );
      }
    }
  }

  /** Step with the trainer's actions; resolves to what is to be sent. @param {Actions} actions */
  async step(actions) {
    const timesteps = await this.#stepped(actions);
    this.#asked = this.#rows;
    if ([...this.#waiting.values()].every(({ isEmpty }) => isEmpty)) return timesteps;
    // What waits is of agents whose outcome may be here only now.
    this.#add({});
    return this.take();
  }

  /** The time is over: step with what acts instead. */
  async fallBack() {
    await this.#stepped(await this.#fallback());
    this.#add(this.#asked);
  }

  /** What happened since the Step before, to be sent once the actions for that are here.
   * @returns {Step} */
  take() {
    this.#asked = this.#rows;
    return Object.fromEntries(
      [...this.#waiting]
        .filter(([, late]) => !late.isEmpty)
        .map(([name, late]) => [name, late.take()]),
    );
  }

  /** Merge the newest rows with those that wait.
   * @param {Record<string, Row[]>} tooLate rows whose actions were */
  #add(tooLate) {
    for (const [name, rows] of Object.entries(this.#rows)) {
      const late = this.#waiting.get(name) ?? new LateRows();
      this.#waiting.set(name, late);
      const asked = (tooLate[name] ?? []).filter(({ stepType }) => stepType <= MID);
      late.add(rows, new Set(asked.map(({ agentId }) => String(agentId))));
    }
  }

  /** @param {Actions} actions */
  async #stepped(actions) {
    for (const [name, rows] of Object.entries(this.#rows)) {
      if (this.#behaviour(name).fallback !== "last") continue;
      const last = this.#last.get(name) ?? new LastActions(this.#behaviour(name));
      this.#last.set(name, last);
      last.note(rows, actions[name] ?? []);
    }
    const timesteps = await this.#world.step(actions);
    this.#see(timesteps);
    return timesteps;
  }

  /** @param {Step} timesteps */
  #see(timesteps) {
    requireByBehaviour(timesteps);
    this.#rows = Object.fromEntries(
      Object.entries(timesteps).map(([name, each]) => [name, rowsOf(this.#behaviour(name), each)]),
    );
  }

  async #fallback() {
    /** @type {Record<string, Row[]>} */
    const controlled = {};
    /** @type {Actions} */
    const actions = {};
    for (const [name, rows] of Object.entries(this.#rows)) {
      const behaviour = this.#behaviour(name);
      if (behaviour.fallback === "controller") controlled[name] = rows;
      const last = this.#last.get(name);
      const acting = rows.filter(({ stepType }) => stepType <= MID);
      const chosen = acting.map((row) => (last ? last.again(row) : neutral(behaviour, row)));
      actions[name] = ActionBatch.of(behaviour, acting, chosen);
    }
    if (!Object.keys(controlled).length) return actions;
    const answers = (await this.#world.control?.(controlled)) ?? {};
    for (const [name, rows] of Object.entries(controlled)) {
      const acting = rows.filter(({ stepType }) => stepType <= MID);
      actions[name] = ActionBatch.of(this.#behaviour(name), acting, answers[name] ?? []);
    }
    return actions;
  }

  /** @param {string} name @returns {Behaviour} */
  #behaviour(name) {
    const found = this.#behaviours.get(name);
    // The client says what is wrong with the name when the rows are sent.
    return found ?? /** @type {Behaviour} */ ({ name, fallback: "", numChoices: 0 });
  }
}
