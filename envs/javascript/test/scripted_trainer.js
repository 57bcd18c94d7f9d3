// A trainer for tests, without sockets: answers stream after stream as a script says. And a clock.

import { closed } from "../src/endings.js";
import { Reader, Writer, bytesOf4, floatsIn } from "../src/protobuf.js";

/** Time that passes when a test says so. */
export class FakeClock {
  #nowS = 0;
  #timers = new Set();

  nowS = () => this.#nowS;

  after = (delayS, call) => {
    const timer = { dueS: this.#nowS + delayS, call };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  };

  get numTimers() {
    return [...this.#timers].filter(({ dueS }) => dueS < Infinity).length;
  }

  /** Let time pass, timer by timer, and let what waits for them go on. */
  async pass(seconds) {
    const endS = this.#nowS + seconds;
    for (;;) {
      await settled();
      const due = [...this.#timers]
        .filter(({ dueS }) => dueS <= endS)
        .sort((a, b) => a.dueS - b.dueS)[0];
      if (!due) break;
      this.#timers.delete(due);
      this.#nowS = Math.max(this.#nowS, due.dueS);
      due.call();
    }
    this.#nowS = endS;
  }
}

/** What is on its way between the client and the script has arrived: a few turns of the loop. */
export async function settled() {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** One connection, as the trainer sees it. */
export class Link {
  /** What the simulator sent: {hello}, {step} or {goodbye}, and the bytes. */
  received = [];
  isClosed = false;
  #events;
  #answer = () => {};

  constructor(path, events) {
    this.path = path;
    this.#events = events;
  }

  /** Take messages by `answer(link, message)`. */
  open(answer) {
    this.#answer = answer;
    setImmediate(() => this.#events.opened());
  }

  say(bytes) {
    this.#events.arrived(bytes);
  }

  end(code = 1006, reason = "") {
    this.#events.ended(closed(code, reason));
  }

  fail(error) {
    setImmediate(() => this.#events.ended(error));
  }

  socket() {
    return {
      send: (bytes) => {
        const message =
          this.path === "/inquire" ? { inquiry: bytes } : { ...readRequest(bytes), bytes };
        this.received.push(message);
        setImmediate(() => this.#answer(this, message));
      },
      close: () => (this.isClosed = true),
    };
  }
}

/** Serves /simulate by one talk after another, the last for ever, and /inquire by `inquire`. */
export class ScriptedTrainer {
  links = [];
  inquiries = [];
  #talks;
  #inquire;

  constructor(talks, inquire = (link) => link.fail(closed(1006, "nobody there"))) {
    this.#talks = [...talks];
    this.#inquire = inquire;
  }

  openSocket = (path, events) => {
    const link = new Link(path, events);
    if (path === "/inquire") {
      this.inquiries.push(link);
      this.#inquire(link);
    } else {
      this.links.push(link);
      (this.#talks.length > 1 ? this.#talks.shift() : this.#talks[0])(link);
    }
    return link.socket();
  };
}

/** A talk that welcomes and then answers each Step by `onStep`, or as asked. */
export function welcoming(fields = {}, onStep = answering) {
  return (link) =>
    link.open((_, message) => {
      if (message.hello) link.say(welcome(fields));
      else if (message.step) onStep(link, message.step);
      else link.end(1000);
    });
}

/** Answers a Step: row i of the actions says i in every number. */
export function answering(link, step) {
  link.say(act(step.sequence, step.parts));
}

export function welcome({
  sessionId = "s1",
  resumed = false,
  seed = 5n,
  maxUnanswered = 1,
  ...fields
} = {}) {
  return message(1, (writer) => {
    writer.uint(1, fields.version ?? 1);
    writer.string(2, sessionId);
    writer.string(3, "run");
    writer.uint(4, seed);
    writeParameters(writer, 5, fields.parameters ?? {});
    writer.uint(6, maxUnanswered);
    writer.uint(7, resumed ? 1 : 0);
    writer.uint(9, fields.maxMessageBytes ?? 0);
    writer.uint(10, fields.revision ?? 1);
  });
}

/** Row i of continuous actions says i + `from`; each row takes a part's choice `discrete`, if it has one. */
export function act(sequence, parts = [], parameters = {}, from = 0) {
  return message(2, (writer) => {
    writer.uint(1, sequence);
    for (const { behaviour, stepType, discrete } of parts) {
      const rows = stepType.filter((type) => type <= 2).length;
      writer.message(2, () => {
        writer.string(1, behaviour);
        writer.bytes(2, bytesOf4(Float32Array.from({ length: rows }, (_, row) => row + from)));
        if (discrete !== undefined) writer.bytes(3, bytesOf4(new Int32Array(rows).fill(discrete)));
        writer.uint(4, 7);
      });
    }
    writeParameters(writer, 3, parameters);
  });
}

export function close(reason, words) {
  return message(3, (writer) => {
    writer.uint(1, reason);
    writer.string(2, words);
  });
}

export function refusal(code, words) {
  return message(4, (writer) => {
    writer.uint(1, code);
    writer.string(2, words);
  });
}

export function standing(number) {
  const writer = new Writer();
  writer.uint(1, number);
  return writer.finish();
}

function message(field, write) {
  const writer = new Writer();
  writer.message(field, () => write(writer));
  return writer.finish();
}

function writeParameters(writer, field, parameters) {
  for (const [name, value] of Object.entries(parameters)) {
    writer.element(field, parameterEntry(name, value));
  }
}

/** {1: name, 2: value}, the value as a float by itself: tag 0x15 and four bytes. */
function parameterEntry(name, value) {
  const writer = new Writer();
  writer.string(1, name);
  return Uint8Array.of(...writer.finish(), 0x15, ...bytesOf4(Float32Array.of(value)));
}

/** What of a ConnectRequest the tests look at. */
function readRequest(bytes) {
  const reader = new Reader(bytes, "ConnectRequest");
  reader.next();
  const inner = new Reader(reader.bytes(), "request");
  if (reader.field === 1) return { hello: readHello(inner) };
  if (reader.field === 3) return { goodbye: inner.next() ? inner.string() : "" };
  const step = { sequence: 0, parts: [], newBehaviours: 0, statistics: 0 };
  while (inner.next()) {
    if (inner.field === 1) step.sequence = inner.uint();
    else if (inner.field === 2)
      step.parts.push(readPart(new Reader(inner.bytes(), "BehaviourStep")));
    else if (inner.field === 3) step.newBehaviours += 1;
    else if (inner.field === 4) step.statistics += 1;
  }
  return { step };
}

function readHello(reader) {
  const hello = { simulator: "", instanceId: "", behaviours: 0, resume: "", role: 0 };
  while (reader.next()) {
    if (reader.field === 3) hello.simulator = reader.string();
    else if (reader.field === 4) hello.instanceId = reader.string();
    else if (reader.field === 5) hello.behaviours += 1;
    else if (reader.field === 7) hello.resume = reader.string();
    else if (reader.field === 9) hello.role = reader.uint();
  }
  return hello;
}

function readPart(reader) {
  const part = { behaviour: "", stepType: [], reward: [], late: [] };
  while (reader.next()) {
    if (reader.field === 1) part.behaviour = reader.string();
    else if (reader.field === 3) part.stepType = [...reader.bytes()];
    else if (reader.field === 4) part.reward = [...floatsIn(reader.bytes())];
    else if (reader.field === 9) part.late = [...reader.bytes()];
  }
  return part;
}
