// Shows the game while it is played: a picture in each frame, the score, and how it changed.

import { BIRD_RADIUS, BIRD_X, GAP, PIPE_WIDTH } from "./game.js";

const RECENT = 100;
const MOST_POINTS = 480;

const element = (id) => document.getElementById(id);

/** Draw `game` in each frame from now on. @param {import("./game.js").Game} game */
export function show(game) {
  const lives = new Lives();
  game.onOver = (bird) => lives.add(bird.gaps);
  const draw = () => {
    drawPicture(element("picture"), game);
    drawCurve(element("curve"), lives.curve);
    element("score").textContent = lives.words;
    requestAnimationFrame(draw);
  };
  requestAnimationFrame(draw);
  return {
    say: (line) => (element("news").textContent = line),
    /** The same rows, at once, or some frames later for who wants to watch. */
    paced: (rows) => (element("slowly").checked ? frames(3).then(() => rows) : rows),
  };
}

/** What birds came to: the last lives, and the mean of those over time. */
class Lives {
  /** Means, oldest first. */
  curve = [];
  #recent = [];
  #count = 0;
  #every = 10;
  #best = 0;

  get words() {
    if (!this.#count) return "No bird has crashed yet.";
    return (
      `${this.#mean().toFixed(1)} gaps a life (last ${this.#recent.length} lives), ` +
      `best ${this.#best}, ${this.#count} lives in all`
    );
  }

  add(gaps) {
    this.#recent.push(gaps);
    if (this.#recent.length > RECENT) this.#recent.shift();
    this.#best = Math.max(this.#best, gaps);
    this.#count += 1;
    if (this.#count % this.#every) return;
    this.curve.push(this.#mean());
    if (this.curve.length < MOST_POINTS) return;
    // Half as many points for the same time.
    this.curve = this.curve.filter((_, index) => index % 2);
    this.#every *= 2;
  }

  #mean() {
    return this.#recent.reduce((total, gaps) => total + gaps, 0) / this.#recent.length;
  }
}

async function frames(count) {
  for (let frame = 0; frame < count; frame += 1) await new Promise(requestAnimationFrame);
}

function drawPicture(canvas, { birds, pipes }) {
  const pen = canvas.getContext("2d");
  const { height, width } = canvas;
  pen.clearRect(0, 0, width, height);
  pen.fillStyle = "#4c956c";
  for (const { x, y } of pipes) {
    const left = x * height;
    const top = (1 - y - GAP / 2) * height;
    pen.fillRect(left, 0, PIPE_WIDTH * height, top);
    pen.fillRect(left, top + GAP * height, PIPE_WIDTH * height, height);
  }
  for (const { id, y, gaps } of birds) {
    pen.beginPath();
    // They fly side by side, so that one sees how many are left.
    pen.arc((BIRD_X + 0.0002 * id) * height, (1 - y) * height, BIRD_RADIUS * height, 0, 7);
    pen.fillStyle = `hsl(${40 + gaps * 12} 85% 55% / 0.75)`;
    pen.fill();
    pen.strokeStyle = "#7a4b00";
    pen.stroke();
  }
}

function drawCurve(canvas, curve) {
  const pen = canvas.getContext("2d");
  const { height, width } = canvas;
  const most = Math.max(1, ...curve);
  pen.clearRect(0, 0, width, height);
  pen.fillStyle = "#51606f";
  pen.font = "22px system-ui, sans-serif";
  pen.fillText(`gaps a life: up to ${most.toFixed(1)}`, 12, 28);
  pen.beginPath();
  curve.forEach((value, index) => {
    const x = ((index + 1) / curve.length) * (width - 20) + 10;
    pen.lineTo(x, height - 10 - (value / most) * (height - 50));
  });
  pen.strokeStyle = "#1f6feb";
  pen.lineWidth = 4;
  pen.stroke();
}
