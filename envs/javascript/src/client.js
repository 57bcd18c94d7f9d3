// The client of a simulator: join a trainer, exchange timesteps for actions, leave.
//
// The entries `node.js` and `browser.js` say how a connection is opened. See types/index.d.ts.

import { ActionBatch } from "./actions.js";
import { REAL_CLOCK } from "./clock.js";
import { Dialler } from "./dialling.js";
import { MisfitError, OptionError, OutOfTurnError, SpecError, TrainerClosed } from "./errors.js";
import { checkNames } from "./known_names.js";
import { PROTOCOL_VERSION, ROLES, encodeStep } from "./messages.js";
import { requireByBehaviour } from "./rows.js";
import { Session } from "./session.js";
import { Silence } from "./silence.js";
import { Behaviour, byName } from "./spec.js";
import { NotedStatistics } from "./statistics.js";
import { encodeTimesteps } from "./timesteps.js";

/** @typedef {import("../types/index.js").BehaviourSpec} BehaviourSpec */
/** @typedef {import("../types/index.js").Timesteps} Timesteps */
/** @typedef {import("../types/index.js").ClientOptions} ClientOptions */
/** @typedef {import("./clock.js").Clock} Clock */
/** @typedef {import("./messages.js").Statistic} Statistic */

const OPTIONS = [
  ...["simulator", "token", "connectS", "reconnectS", "silenceS", "answerS", "maxAgents"],
  ...["maxUnansweredSteps", "role", "log", "tokenFile", "tlsCa", "tlsCertificate", "tlsKey"],
  "maxMessageMib",
];

export class Client {
  #behaviours;
  #log;
  #dialler;
  #session;
  #noted;
  /** @type {Behaviour[]} */
  #undeclared = [];
  /** The join that is under way. @type {ReturnType<Session["join"]> | null} */
  #joining = null;

  /**
   * @param {string} address
   * @param {readonly BehaviourSpec[]} behaviours
   * @param {ClientOptions} options
   * @param {import("./stream.js").OpenSocket} openSocket
   * @param {Clock} clock
   */
  constructor(address, behaviours, options, openSocket, clock = REAL_CLOCK) {
    const { simulator, maxAgents = 0, maxUnansweredSteps = 1, role = "training" } = options;
    const {
      connectS = 300,
      reconnectS = 60,
      silenceS = 30,
      answerS = 5,
      log = console.info,
    } = options;
    checkNames(options, OPTIONS, "TrainerClient", OptionError);
    if (!simulator)
      throw new OptionError("the simulator has no name; give it one: {simulator: 'walker'}");
    if (!Number.isInteger(maxUnansweredSteps) || maxUnansweredSteps < 1) {
      throw new OptionError(`maxUnansweredSteps is ${maxUnansweredSteps}; it must be 1 or 2`);
    }
    if (!Object.hasOwn(ROLES, role)) {
      throw new OptionError(`role is '${role}'; it must be ${Object.keys(ROLES).join(" or ")}`);
    }
    this.#behaviours = byName(behaviours);
    this.#log = log;
    this.#noted = new NotedStatistics(log);
    const hello = {
      minVersion: PROTOCOL_VERSION,
      maxVersion: PROTOCOL_VERSION,
      simulator,
      instanceId: randomId(),
      behaviours: [...this.#behaviours.values()],
      maxAgents,
      resumeSessionId: "",
      maxUnansweredSteps,
      role,
    };
    this.#dialler = new Dialler(address, openSocket, hello, clock, reconnectS > 0, log);
    const silence = new Silence(clock, silenceS, answerS);
    this.#session = new Session(this.#dialler, silence, clock, { connectS, reconnectS, log });
  }

  get welcome() {
    return this.#session.welcome;
  }

  /** {name: behaviour}, those that came later too. For `run`.
   * @returns {ReadonlyMap<string, Behaviour>} */
  get behaviours() {
    return this.#behaviours;
  }

  /** A line for people. For `run`. @param {string} line */
  say(line) {
    this.#log(line);
  }

  get environmentParameters() {
    return this.#session.parameters;
  }

  get maxUnansweredSteps() {
    return this.#session.welcome.maxUnansweredSteps;
  }

  connect() {
    this.#undeclared = [];
    const joining = this.#session.join();
    this.#joining = joining;
    const over = () => {
      if (this.#joining === joining) this.#joining = null;
    };
    joining.then(over, over);
    return joining;
  }

  /** @param {Record<string, Timesteps>} timesteps */
  async exchange(timesteps) {
    const waiting = this.#session.numUnanswered;
    if (waiting) {
      throw new OutOfTurnError(
        `exchange was called while ${waiting} steps have no actions yet; await those first`,
      );
    }
    await this.send(timesteps);
    return this.receive();
  }

  /** @param {Record<string, Timesteps>} timesteps */
  async send(timesteps) {
    if (!this.#session.isJoined) await (this.#joining ?? this.connect());
    const encoded = this.#encoded(timesteps);
    this.#session.send((sequence) => ({
      acting: Object.fromEntries(encoded.map(({ part, acting }) => [part.behaviour, acting])),
      bytes: encodeStep({
        sequence,
        behaviours: encoded.map(({ part }) => part).filter((part) => part.stepType.length),
        newBehaviours: this.#undeclared,
        statistics: this.#session.welcome.revision ? this.#noted.messages() : [],
      }),
    }));
    this.#undeclared = [];
    this.#noted.clear();
  }

  async receive() {
    const { act, acting } = await this.#session.receive();
    const parts = new Map(act.behaviours.map((part) => [part.behaviour, part]));
    /** @type {Record<string, ActionBatch>} */
    const actions = {};
    for (const [name, agents] of Object.entries(acting)) {
      actions[name] = new ActionBatch(this.#behaviour(name), agents, parts.get(name));
    }
    return actions;
  }

  /** @param {readonly BehaviourSpec[]} specs */
  addBehaviours(specs) {
    const added = specs.map((spec) => new Behaviour(spec)).filter((each) => this.#isNew(each));
    const first = added[0];
    if (first && this.#session.isJoined && !this.#session.welcome.revision) {
      throw new MisfitError(
        `behaviour '${first.name}' comes after this simulator has joined, which this trainer is too ` +
          "old for; declare every behaviour when the client is made, or upgrade the trainer",
      );
    }
    for (const each of added) this.#behaviours.set(each.name, each);
    this.#dialler.declare(this.#behaviours.values());
    // Always, for a Hello may be on its way: what is declared twice is the same once more.
    this.#undeclared.push(...added);
  }

  /** @param {string} name @param {number} value @param {Statistic["aggregation"]} aggregation */
  note(name, value, aggregation = "mean") {
    this.#noted.add(name, value, aggregation);
  }

  /** @param {string} reason */
  async close(reason = "") {
    await this.#session.end(reason);
  }

  /** @param {Record<string, Timesteps>} timesteps */
  #encoded(timesteps) {
    requireByBehaviour(timesteps);
    const knowsGroups = this.#session.welcome.revision > 0;
    return Object.entries(timesteps).map(([name, rows]) =>
      encodeTimesteps(this.#behaviour(name), rows, knowsGroups),
    );
  }

  /** @param {string} name */
  #behaviour(name) {
    const found = this.#behaviours.get(name);
    if (found) return found;
    const known = [...this.#behaviours.keys()].join(", ");
    throw new SpecError(`there is no behaviour '${name}'; this client was made with ${known}`);
  }

  /** @param {Behaviour} behaviour */
  #isNew(behaviour) {
    const known = this.#behaviours.get(behaviour.name);
    if (known && !known.equals(behaviour)) {
      throw new SpecError(
        `behaviour '${behaviour.name}' was declared otherwise before; give this one another name`,
      );
    }
    return !known;
  }
}

/** Run `play` with a client, and leave however it ends; quietly if the trainer is done.
 * @template {{close(reason?: string): Promise<void>}} T
 * @param {T} client @param {(client: T) => Promise<void>} play */
export async function withTrainer(client, play) {
  let reason = "";
  try {
    await play(client);
  } catch (error) {
    if (error instanceof TrainerClosed) return;
    reason = String(error);
    throw error;
  } finally {
    await client.close(reason);
  }
}

function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
