// The game, which knows nothing of learning: balls on platforms in the air, each with a goal to reach.

import RAPIER from "@dimforge/rapier3d-compat";

const HALF_SIDE = 4;
const RADIUS = 0.4;
const PUSH = 0.35;
const FRAMES_A_DECISION = 4;
const LONGEST = 150;
const DISTANCE_APART = 40;

await RAPIER.init();

export class Arena {
  #world = new RAPIER.World({ x: 0, y: -9.81, z: 0 });
  #random = Math.random;

  /** @param {number} count of balls */
  constructor(count) {
    this.balls = Array.from({ length: count }, (_, id) => new Ball(id, this.#world));
  }

  /** Everything anew. @param {() => number} random @param {number} gravity */
  reset(random, gravity = 9.81) {
    this.#random = random;
    this.#world.gravity = { x: 0, y: -gravity, z: 0 };
    for (const ball of this.balls) ball.place(random);
  }

  /** Simulate until the next decision. */
  step() {
    for (let frame = 0; frame < FRAMES_A_DECISION; frame += 1) this.#world.step();
    for (const ball of this.balls) ball.judge();
  }

  /** Put the balls whose game is over back on their platforms; returns them. */
  beginAnew() {
    const over = this.balls.filter((ball) => ball.isOver);
    for (const ball of over) ball.place(this.#random);
    return over;
  }
}

class Ball {
  /** "new", "rolling", "won" (at its goal), "fell" or "late". */
  state = "new";
  /** How much nearer to its goal it came, and a point for winning. */
  reward = 0;
  #body;
  #goal = { x: 0, z: 0 };
  #distance = 0;
  #decisions = 0;

  constructor(id, world) {
    this.id = id;
    this.left = id * DISTANCE_APART;
    const ground = RAPIER.ColliderDesc.cuboid(HALF_SIDE, 0.1, HALF_SIDE).setFriction(1);
    world.createCollider(ground.setTranslation(this.left, -0.1, 0));
    this.#body = world.createRigidBody(RAPIER.RigidBodyDesc.dynamic().setAngularDamping(0.5));
    world.createCollider(RAPIER.ColliderDesc.ball(RADIUS).setFriction(1), this.#body);
  }

  /** Push it sideways. @param {number} x from -1 to 1 @param {number} z likewise */
  push(x, z) {
    this.#body.applyImpulse({ x: PUSH * x, y: 0, z: PUSH * z }, true);
  }

  get isOver() {
    return ["won", "fell", "late"].includes(this.state);
  }

  /** Where it is, how it moves and turns, and where its goal lies from it. */
  get senses() {
    const { x, z } = this.#position();
    const moves = this.#body.linvel();
    const turns = this.#body.angvel();
    return [x, z, moves.x, moves.z, turns.x, turns.z, this.#goal.x - x, this.#goal.z - z];
  }

  place(random) {
    const somewhere = () => (2 * random() - 1) * (HALF_SIDE - 1);
    this.#body.setTranslation({ x: this.left + somewhere(), y: RADIUS, z: somewhere() }, true);
    this.#body.setLinvel({ x: 0, y: 0, z: 0 }, true);
    this.#body.setAngvel({ x: 0, y: 0, z: 0 }, true);
    this.#goal = { x: somewhere(), z: somewhere() };
    this.#distance = this.#distanceNow();
    this.#decisions = 0;
    this.state = "new";
    this.reward = 0;
  }

  judge() {
    const distance = this.#distanceNow();
    this.#decisions += 1;
    this.state = "rolling";
    if (this.#position().y < -1) this.state = "fell";
    else if (distance < RADIUS) this.state = "won";
    else if (this.#decisions === LONGEST) this.state = "late";
    this.reward = 0.1 * (this.#distance - distance) + (this.state === "won" ? 1 : 0);
    if (this.state === "fell") this.reward = -1;
    this.#distance = distance;
  }

  #position() {
    const { x, y, z } = this.#body.translation();
    return { x: x - this.left, y, z };
  }

  #distanceNow() {
    const { x, z } = this.#position();
    return Math.hypot(this.#goal.x - x, this.#goal.z - z);
  }
}
