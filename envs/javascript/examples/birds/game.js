// The game, which knows nothing of learning: birds that fly, or fall, between pipes with gaps.

const GRAVITY = -3;
const FLAP = 0.85;
const DECISION_S = 0.05;
const SPEED = 0.5;
const PIPES = 4;
const PIPE_EVERY = 0.8;
const LONGEST = 1000;

export const BIRD_X = 0.4;
export const BIRD_RADIUS = 0.03;
export const PIPE_WIDTH = 0.12;
export const GAP = 0.32;

export class Game {
  /** {x, y}: the left side of each pipe, and the middle of its gap. The nearest first. */
  pipes = [];
  /** Told of each bird whose life is over. @type {(bird: Bird) => void} */
  onOver = () => {};
  #random = Math.random;

  /** @param {number} count of birds */
  constructor(count) {
    this.birds = Array.from({ length: count }, (_, id) => new Bird(id, this));
  }

  /** @param {() => number} random */
  reset(random) {
    this.#random = random;
    this.pipes = Array.from({ length: PIPES }, (_, index) => this.#pipe(1 + index * PIPE_EVERY));
    for (const bird of this.birds) bird.begin();
  }

  /** Let time pass until the next decision. */
  step() {
    for (const pipe of this.pipes) pipe.x -= SPEED * DECISION_S;
    const [left, step] = [BIRD_X - PIPE_WIDTH, SPEED * DECISION_S];
    const isPassed = this.pipes.some(({ x }) => x <= left && x + step > left);
    for (const bird of this.birds) bird.move(this.pipes, isPassed);
    if ((this.pipes[0]?.x ?? 0) < -PIPE_WIDTH) {
      this.pipes.shift();
      this.pipes.push(this.#pipe((this.pipes.at(-1)?.x ?? 0) + PIPE_EVERY));
    }
  }

  /** Let the birds whose life is over begin another; returns them. */
  beginAnew() {
    const over = this.birds.filter((bird) => bird.isOver);
    for (const bird of over) {
      this.onOver(bird);
      bird.begin();
    }
    return over;
  }

  /** The next two pipes that birds come to. */
  get ahead() {
    const next = this.pipes.findIndex(({ x }) => x > BIRD_X - PIPE_WIDTH);
    return [this.pipes[next], this.pipes[next + 1]];
  }

  #pipe(x) {
    return { x, y: 0.25 + 0.5 * this.#random() };
  }
}

class Bird {
  y = 0.5;
  speed = 0;
  /** "new", "flying", "crashed" or "old". */
  state = "new";
  /** Gaps that it has passed in this life. */
  gaps = 0;
  reward = 0;
  #decisions = 0;
  #game;

  constructor(id, game) {
    this.id = id;
    this.#game = game;
  }

  /** Height, speed, how far the next pipe is, and its gap and that of the one after it from here. */
  get eyes() {
    const [next, after] = this.#game.ahead;
    return [this.y, this.speed, next.x - BIRD_X, next.y - this.y, after.y - this.y];
  }

  get isOver() {
    return this.state === "crashed" || this.state === "old";
  }

  begin() {
    Object.assign(this, { y: this.#game.ahead[0].y, speed: 0, state: "new", gaps: 0, reward: 0 });
    this.#decisions = 0;
  }

  flap() {
    this.speed = FLAP;
  }

  move(pipes, isPassed) {
    this.speed += GRAVITY * DECISION_S;
    this.y += this.speed * DECISION_S;
    this.#decisions += 1;
    this.state = "flying";
    if (this.#hits(pipes)) this.state = "crashed";
    else if (this.#decisions === LONGEST) this.state = "old";
    const earned = this.state !== "crashed" && isPassed ? 1 : 0;
    this.gaps += earned;
    this.reward = this.state === "crashed" ? -1 : earned + 0.02;
  }

  #hits(pipes) {
    if (this.y < BIRD_RADIUS || this.y > 1 - BIRD_RADIUS) return true;
    return pipes.some(
      ({ x, y }) =>
        x < BIRD_X + BIRD_RADIUS && x + PIPE_WIDTH > BIRD_X - BIRD_RADIUS &&
        Math.abs(this.y - y) > GAP / 2 - BIRD_RADIUS,
    );
  }
}
