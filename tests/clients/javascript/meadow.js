// A simulator with all that rows can say: two kinds of agents, one of which comes later, in two
// halves, with masks, groups, statistics, a deadline, agents that sleep, die, come back at once or later.
//
//     node meadow.js ADDRESS [TOKEN_FILE]

import {
  FIRST, MID, SessionLostError, TERMINATED, TRUNCATED, TrainerClient, seededRandom, withTrainer,
} from "../../../envs/javascript/src/node.js";

const [address, tokenFile] = process.argv.slice(2);
const CELLS = 20;
const ROUND = 40;
const NAP_EVERY = 7;
const AWAY = 4;
const FOX_COMES_AT = 15;
const DEADLINE_MS = 1000;
const [LEFT, RIGHT, EAT] = [1, 2, 3];

const RABBIT = {
  name: "rabbit",
  observations: {
    place: { shape: [], low: 0, high: CELLS },
    grass: { shape: [3], dtype: "uint8", low: 0, high: 1, kind: "vector" },
    body: { shape: [2], low: [0, 30], high: [1, 40] }, // how old it is, and how warm
  },
  action: { branches: [4, 2] },
  deadlineMs: DEADLINE_MS,
  fallback: "neutral",
};
const FOX = {
  name: "fox",
  observations: { place: { shape: [1] }, rabbits: { shape: [4, 2], kind: "entities" } },
  action: { low: [-1], high: [1], branches: [2] },
};

/** Some rabbits, and later a fox, who step together. */
class Half {
  #steps = 0;

  constructor(firstId, count, random) {
    this.random = random;
    this.grass = Array(CELLS).fill(1);
    this.fox = { id: firstId, place: 3, isNew: true };
    this.rabbits = Array.from({ length: count }, (_, index) => this.#born(firstId + index));
  }

  /** The rows with which all begin. */
  reset() {
    return { rabbit: this.rabbits.map((rabbit) => this.#row(rabbit, FIRST, 0)) };
  }

  step(actions, client, isLate) {
    this.#steps += 1;
    for (const { agentId, discrete } of actions.rabbit) {
      // What came too late is not applied: the neutral choice is to stay.
      if (isLate) this.#find(agentId).isLate = true;
      else this.#move(agentId, discrete);
    }
    for (const { continuous } of actions.fox ?? []) this.#run(continuous[0]);
    const rows = { rabbit: this.rabbits.flatMap((rabbit) => this.#outcome(rabbit, client)) };
    if (this.#steps >= FOX_COMES_AT) rows.fox = [this.#foxRow()];
    return rows;
  }

  #born(id) {
    return { id, place: Math.floor(CELLS * this.random()), age: 0, away: 0, earned: 0, isLate: false };
  }

  #find(id) {
    return this.rabbits.find((each) => each.id === id);
  }

  #move(id, [choice, digs]) {
    const rabbit = this.#find(id);
    if (choice === LEFT) rabbit.place -= 1;
    if (choice === RIGHT) rabbit.place += 1;
    if (choice === EAT) {
      rabbit.earned += 1 + digs;
      this.grass[rabbit.place] = 0;
    }
  }

  #run(speed) {
    this.fox.place = Math.min(CELLS - 1, Math.max(0, this.fox.place + speed));
  }

  #outcome(rabbit, client) {
    if (rabbit.away > 0) {
      rabbit.away -= 1;
      if (rabbit.away) return [];
      Object.assign(rabbit, this.#born(rabbit.id));
      return [this.#row(rabbit, FIRST, 0)];
    }
    rabbit.age += 1;
    // Asleep: it decides nothing now, and its rewards wait for its next row.
    if (rabbit.age % NAP_EVERY === 0 && rabbit.age < ROUND) return [];
    const isCaught = this.random() < 0.02;
    const earned = rabbit.earned;
    rabbit.earned = 0;
    if (!isCaught && rabbit.age < ROUND) return [this.#row(rabbit, MID, earned)];
    const last = this.#row(rabbit, isCaught ? TERMINATED : TRUNCATED, earned);
    client.note("age", rabbit.age, "histogram");
    if (isCaught) {
      rabbit.away = AWAY;
      return [last];
    }
    Object.assign(rabbit, this.#born(rabbit.id));
    return [last, this.#row(rabbit, FIRST, 0)];
  }

  #row(rabbit, stepType, reward) {
    const { id, place, isLate } = rabbit;
    rabbit.isLate = false;
    return {
      agentId: id,
      stepType,
      reward,
      observation: {
        place,
        body: [rabbit.age / ROUND, 30 + place / 2],
        grass: [place - 1, place, place + 1].map((cell) => this.grass[cell] ?? 0),
      },
      actionMask: [true, place > 0, place < CELLS - 1, this.grass[place] > 0, true, id % 2 > 0],
      groupId: 1 + (id % 2),
      groupReward: stepType === FIRST ? 0 : 0.25,
      late: isLate && stepType !== FIRST,
    };
  }

  #foxRow() {
    const isNew = this.fox.isNew;
    this.fox.isNew = false;
    const rabbits = this.rabbits.slice(0, 4).map(({ away, place }) => (away ? [0, 0] : [1, place]));
    const observation = { place: [this.fox.place], rabbits };
    return { agentId: this.fox.id, stepType: isNew ? FIRST : MID, observation };
  }
}

/** Play in one session, until an error ends it. */
async function play(client) {
  const random = seededRandom(client.welcome.seed);
  const all = client.maxUnansweredSteps < 2;
  const halves = all ? [new Half(0, 8, random)] : [new Half(0, 4, random), new Half(100, 4, random)];
  const send = async (half, rows) => {
    await client.send(rows);
    half.sentAtMs = performance.now();
  };
  for (const half of halves) await send(half, half.reset());
  for (let steps = 0; ; steps += 1) {
    if (steps === FOX_COMES_AT - 2) client.addBehaviours([FOX]);
    for (const half of halves) {
      const actions = await client.receive();
      const isLate = performance.now() - half.sentAtMs > DEADLINE_MS;
      await send(half, half.step(actions, client, isLate));
    }
  }
}

const options = { simulator: "meadow", maxUnansweredSteps: 2, maxAgents: 10 };
if (tokenFile) options.tokenFile = tokenFile;
await withTrainer(new TrainerClient(address, [RABBIT], options), async (client) => {
  await client.connect();
  for (;;) {
    try {
      await play(client);
    } catch (error) {
      if (!(error instanceof SessionLostError)) throw error;
    }
  }
});
