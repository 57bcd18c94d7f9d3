// The package's types and what each thing does. The same for Node and the browser.

/** Numbers of rows: flat, as a typed array is, or lists in lists. */
export interface Numbers extends ArrayLike<number | boolean | Numbers> {}

/** One kind of agent. All simulators of a run give the same spec for the same name. */
export interface BehaviourSpec {
  readonly name: string;
  /** What an agent sees, by name. */
  readonly observations: Readonly<Record<string, ObservationSpec>>;
  readonly action: ActionSpec;
  /** For games in real time: how many milliseconds after its rows the simulator waits for actions;
   * then `fallback` acts. Give both or neither. */
  readonly deadlineMs?: number;
  readonly fallback?: "last" | "neutral" | "controller";
}

export interface ObservationSpec {
  /** Of one agent; [] or nothing is a single number. */
  readonly shape?: readonly number[];
  /** float32 unless it says otherwise. Cameras are uint8. */
  readonly dtype?: "float32" | "uint8";
  /** What the numbers are; decided by shape, dtype and bounds if it is left out. */
  readonly kind?: "vector" | "image" | "entities" | "goal";
  /** Smallest value: one for all numbers, or one for each. Left out: not known. */
  readonly low?: number | readonly number[];
  /** Largest value, as `low`. */
  readonly high?: number | readonly number[];
}

/** Continuous dimensions with bounds, discrete branches, or both. */
export interface ActionSpec {
  /** Lower bound of each continuous dimension; -Infinity where there is none. */
  readonly low?: readonly number[];
  /** Upper bound of each continuous dimension. */
  readonly high?: readonly number[];
  /** Number of choices of each discrete branch. */
  readonly branches?: readonly number[];
}

/** The first observation of an episode; needs an action. */
export const FIRST: 1;
/** The outcome of the last action, and the episode goes on; needs an action. */
export const MID: 2;
/** The outcome of the last action, after which nothing can follow. */
export const TERMINATED: 3;
/** The outcome of the last action, after which a limit cut the episode off. */
export const TRUNCATED: 4;

/** One agent at one moment. An agent has at most two in a message: the end of an episode, then FIRST. */
export interface TimestepRow {
  /** The simulator's own number; an agent keeps it while it lives. */
  readonly agentId: number | bigint;
  readonly stepType: number;
  /** For the agent's last action; 0 if left out. */
  readonly reward?: number;
  readonly observation: Readonly<Record<string, Numbers | number>>;
  /** 1 or true for each choice that is allowed, all branches in a row. Left out: everything is. */
  readonly actionMask?: Numbers;
  /** The group that the agent belongs to; 0: none. */
  readonly groupId?: number | bigint;
  /** What its group earned, beside `reward`. */
  readonly groupReward?: number;
  /** The action that led here was the fallback's: the trainer's came too late. */
  readonly late?: boolean;
}

/** K rows as columns: quicker than a list of rows for many agents. */
export interface TimestepColumns {
  agentId: ArrayLike<number | bigint>;
  /** One number may stand for all rows. */
  stepType: number | ArrayLike<number>;
  reward: number | ArrayLike<number>;
  /** [K, ...shape] of each. */
  observation: Readonly<Record<string, Numbers>>;
  /** [K, choices of all branches]. */
  actionMask?: Numbers;
  groupId?: number | bigint | ArrayLike<number | bigint>;
  groupReward?: number | ArrayLike<number>;
  /** True or 1 where the action that led to the row was the fallback's. */
  late?: boolean | number | ArrayLike<boolean | number>;
}

export type Timesteps = TimestepColumns | readonly TimestepRow[];

export interface Action {
  readonly agentId: number | bigint;
  /** Within the spec's bounds. */
  readonly continuous: Float32Array;
  /** Of each branch, from 0 to its number of choices - 1. */
  readonly discrete: Int32Array;
}

/** The action of a controller of the simulator's own. */
export interface ChosenAction {
  readonly continuous?: ArrayLike<number>;
  readonly discrete?: ArrayLike<number>;
}

/** The actions for those rows of one behaviour that need one, in their order. */
export class ActionBatch implements Iterable<Action> {
  private constructor();
  /** Of each row. */
  readonly agentId: readonly (number | bigint)[];
  /** [rows x continuous dimensions], row after row. */
  readonly continuous: Float32Array;
  /** [rows x branches], row after row. */
  readonly discrete: Int32Array;
  /** How many updates the policy had seen when it chose these. */
  readonly policyVersion: number;
  readonly length: number;
  at(row: number): Action;
  [Symbol.iterator](): Iterator<Action>;
}

/** What the trainer said when this simulator joined. */
export interface Welcome {
  readonly version: number;
  /** Empty if not connected. */
  readonly sessionId: string;
  readonly runId: string;
  /** For the simulator's own randomness: see `seededRandom`. */
  readonly seed: bigint;
  readonly environmentParameters: Readonly<Record<string, number>>;
  /** How many steps may be sent before the first is answered. */
  readonly maxUnansweredSteps: number;
  readonly resumed: boolean;
  /** How long the trainer keeps the session of a connection that broke. */
  readonly graceS: number;
  readonly maxMessageBytes: number;
  readonly revision: number;
}

export interface ClientOptions {
  /** Its name in the trainer's logs and errors; of its own for each simulator of a run. */
  simulator: string;
  /** The trainer's token, if it wants one. */
  token?: string;
  /** How long to wait for a trainer that is not up yet; 300. */
  connectS?: number;
  /** How long to wait for one that went away; 60, or $ENTRAIN_RECONNECT_S. 0: a trainer that stops is
   * the end. */
  reconnectS?: number;
  /** How long a step may be unanswered before the trainer is asked whether it has it; 30. */
  silenceS?: number;
  /** Longest wait for that answer; 5. */
  answerS?: number;
  /** Most agents alive at once; 0 if not known. */
  maxAgents?: number;
  /** 2 to simulate one half of the agents while the other half's actions are chosen. */
  maxUnansweredSteps?: number;
  /** "evaluation": to take part in the run's evaluations alone, of which nothing is learned. Otherwise
   * "training"; in Node what $ENTRAIN_ROLE says. */
  role?: "training" | "evaluation";
  /** Takes the client's lines for people; console.info. */
  log?: (line: string) => void;
  /** Node only: a file whose first line is the token, read for each dial; $ENTRAIN_TOKEN_FILE. */
  tokenFile?: string;
  /** Node only: PEM file of the authority behind the trainer's certificate; $ENTRAIN_TLS_CA, or else
   * those that Node trusts. */
  tlsCa?: string;
  /** Node only: PEM file of this simulator's certificate, if the trainer wants one. */
  tlsCertificate?: string;
  /** Node only: PEM file of its private key. */
  tlsKey?: string;
  /** Node only: largest message that is taken; 256. */
  maxMessageMib?: number;
}

/** One simulator's connection to a trainer. Nothing is dialled before `connect`. */
export class TrainerClient {
  /** `address`: ws://HOST:PORT, wss://HOST:PORT or HOST:PORT of the trainer's `server.websocket`. */
  constructor(address: string, behaviours: readonly BehaviourSpec[], options: ClientOptions);
  readonly welcome: Readonly<Welcome>;
  /** The latest ones. A new object whenever one changes, so that `===` tells whether any did. */
  readonly environmentParameters: Readonly<Record<string, number>>;
  readonly maxUnansweredSteps: number;
  /** Join the trainer, waiting up to `connectS` for one that is not up yet. */
  connect(): Promise<Welcome>;
  /**
   * Send the rows of each behaviour and wait for the actions. If the connection breaks meanwhile, the
   * client dials again for up to `reconnectS` and sends the rows again; the trainer counts them once.
   *
   * Rejected with SpecError (the rows do not fit; nothing was sent), SessionLostError (reset, then
   * send FIRST rows), TrainerClosed (the end), RefusedError, ConnectionLostError or WireError.
   */
  exchange(timesteps: Readonly<Record<string, Timesteps>>): Promise<Record<string, ActionBatch>>;
  /** Send without waiting; `receive` has the actions. No agent may be in two that are unanswered. */
  send(timesteps: Readonly<Record<string, Timesteps>>): Promise<void>;
  /** The actions for what was sent first and has none yet. */
  receive(): Promise<Record<string, ActionBatch>>;
  /** Declare more kinds of agents; the next rows may be of them. */
  addBehaviours(behaviours: readonly BehaviourSpec[]): void;
  /** Report a number for people, which the trainer shows beside its metrics. */
  note(name: string, value: number, aggregation?: "mean" | "last" | "sum" | "histogram"): void;
  /** Leave for good. Whoever waits for actions gets TrainerClosed. Safe to call twice. */
  close(reason?: string): Promise<void>;
}

/** Run `play` with a client, and leave however it ends; quietly if the trainer is done. */
export function withTrainer(
  client: TrainerClient,
  play: (client: TrainerClient) => Promise<void>,
): Promise<void>;

/** A world of any number of agents that step together. */
export interface World {
  /** Begin anew, with FIRST rows only: at the start, and if the trainer forgot this simulator. */
  reset(start: {
    seed: bigint;
    parameters: Readonly<Record<string, number>>;
  }): Record<string, Timesteps> | Promise<Record<string, Timesteps>>;
  /** Let every agent act; outcomes, and FIRST rows of episodes that begin. */
  step(
    actions: Record<string, ActionBatch>,
  ): Record<string, Timesteps> | Promise<Record<string, Timesteps>>;
  /** For behaviours whose fallback is "controller": the actions for those rows that need one, in their
   * order, where the trainer's come too late. */
  control?(
    timesteps: Record<string, TimestepRow[]>,
  ): Record<string, ChosenAction[]> | Promise<Record<string, ChosenAction[]>>;
  /** Environment parameters have changed. */
  setParameters?(parameters: Readonly<Record<string, number>>): void;
}

/** Run a world until the trainer is done. Where a behaviour has a deadline the world does not wait longer
 * for actions: `step` is given those of the fallback, once each deadline, until the trainer's have come;
 * these are not applied, and the rows that are sent next say so. */
export function run(world: World, client: TrainerClient): Promise<void>;

/** Node only: run a program that a trainer may launch. An error of this package becomes one line on the
 * standard error, and the exit code says whether to start the program again; anything else is thrown on. */
export function runProgram(play: () => Promise<void>): Promise<void>;

/** Numbers from 0 up to 1, always the same ones for one seed. */
export function seededRandom(seed: number | bigint): () => number;

/** The root of all errors that this package throws on purpose. */
export class EntrainError extends Error {}
/** A spec is wrong, or numbers do not fit it. Change the simulator. */
export class SpecError extends EntrainError {}
/** A message cannot be read, or does not belong here. */
export class WireError extends EntrainError {}
/** A step was sent, or actions awaited, where it was not their turn. */
export class OutOfTurnError extends EntrainError {}
/** An address or option is wrong. Nothing was dialled. */
export class OptionError extends EntrainError {}
/** The trainer ended the session with a reason; dialling again does not help. */
export class RefusedError extends EntrainError {}
/** It will refuse this simulator every time it is started like this (token, version, spec, name), or a
 * message is longer than one side takes. */
export class MisfitError extends RefusedError {}
/** A limit of the trainer is reached; there may be room later. */
export class NoRoomError extends RefusedError {}
/** No trainer answered in time; there may be one later. */
export class ConnectionLostError extends EntrainError {}
/** One connection broke. The client dials again before a user sees this. */
export class BrokenStreamError extends ConnectionLostError {}
/** No actions came on it for long, and the client gave it up. */
export class SilentStreamError extends BrokenStreamError {}
/** The trainer stops, and may come back. */
export class StoppedError extends BrokenStreamError {}
/** The trainer forgot this session: begin all episodes again, with FIRST rows. */
export class SessionLostError extends EntrainError {}
/** The normal end: training is complete, or `close` was called. */
export class TrainerClosed extends EntrainError {}

/** Exit code 78: tells a trainer not to start this simulator again. See MisfitError. */
export const MISFIT: 78;
