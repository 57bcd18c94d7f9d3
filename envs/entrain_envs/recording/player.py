"""Writes pictures as one HTML page that plays them: play, pause, scrub, speed. No network."""

import base64
import html
import io
import json
from collections.abc import Iterator
from pathlib import Path

from entrain_envs.recording.frames import HOLD_MS, Frames, in_words
from entrain_envs.recording.palette import indexed

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --page: #f6f8fa;
  --card: #fff; --edge: #d8dee4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9198a1; --page: #0d1117; --card: #161b22; --edge: #30363d; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 860px; padding: 2rem 1rem; color: var(--ink);
  background: var(--page); font: 15px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { margin: 0 0 1rem; font-size: 1.3rem; overflow-wrap: anywhere; }
main { background: var(--card); border: 1px solid var(--edge); border-radius: 8px;
  overflow: hidden; }
img { display: block; width: 100%; height: auto; image-rendering: auto; }
form { display: flex; flex-wrap: wrap; gap: 0.6rem; align-items: center; padding: 0.7rem; }
input[type=range] { flex: 1 1 12rem; min-width: 0; }
button, select { font: inherit; padding: 0.2rem 0.7rem; }
button { min-width: 5rem; }
output { flex-basis: 100%; color: var(--soft); font-variant-numeric: tabular-nums; }
"""

_SCRIPT = """
"use strict";
const rows = JSON.parse(document.getElementById("frames").textContent);
const image = document.querySelector("img"), toggle = document.querySelector("button");
const place = document.querySelector("input"), speed = document.querySelector("select");
const words = document.querySelector("output");
let index = 0, isPlaying = true, dueAt = 0;
function show(next) {
  index = (next + rows.length) % rows.length;
  const [source, episode, step, total] = rows[index];
  image.src = source;
  place.value = index;
  words.textContent = `episode ${episode}, step ${step.toLocaleString("en")}, return ${total}`;
}
function play(wanted) {
  isPlaying = wanted;
  toggle.textContent = wanted ? "Pause" : "Play";
}
function tick(now) {
  if (isPlaying && now >= dueAt) {
    if (dueAt) show(index + 1);
    dueAt = now + rows[index][4] * HOLD_MS + 1000 / (RATE * Number(speed.value));
  }
  requestAnimationFrame(tick);
}
toggle.addEventListener("click", () => play(!isPlaying));
place.addEventListener("input", () => { play(false); show(Number(place.value)); });
document.addEventListener("keydown", (event) => {
  if (event.target === speed) return;
  if (event.key === " " && event.target !== toggle) { event.preventDefault(); play(!isPlaying); }
  if (event.target === place) return;
  if (event.key === "ArrowRight") { play(false); show(index + 1); }
  if (event.key === "ArrowLeft") { play(false); show(index - 1); }
});
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
place.max = rows.length - 1;
show(0);
play(true);
requestAnimationFrame(tick);
"""

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;
  style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<main>
<img alt="the agent, step by step" width="{width}" height="{height}">
<form>
<button type="button">Pause</button>
<input type="range" min="0" value="0" aria-label="step">
<select aria-label="speed"><option value="0.25">&frac14; speed</option>
<option value="0.5">&frac12; speed</option><option value="1" selected>speed 1</option>
<option value="2">speed 2</option><option value="4">speed 4</option></select>
<output></output>
</form>
</main>
<script type="application/json" id="frames">
["""

_TAIL = """]
</script>
<script>
{script}</script>
</body>
</html>
"""


def write_player(path: Path, frames: Frames, rate: float) -> None:
    """Write `frames`, shown at `rate` of them in a second."""
    width, height = frames.size
    title = html.escape(path.name.removeprefix(".").removesuffix(".partial"))
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(_HEAD.format(title=title, style=_STYLE, width=width, height=height))
        for index, row in enumerate(_rows(frames)):
            file.write(",\n" * (index > 0) + row)
        script = _SCRIPT.replace("RATE", f"{rate:g}").replace("HOLD_MS", str(HOLD_MS))
        file.write(_TAIL.format(script=script))


def _rows(frames: Frames) -> Iterator[str]:
    """Yields each picture as JSON: its source, episode, step, return, whether it is the last."""
    for image, moment in zip(indexed(frames), frames.moments, strict=True):
        png = io.BytesIO()
        image.save(png, format="PNG")
        source = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode('ascii')}"
        row = [source, moment.episode, moment.step, in_words(moment.return_), int(moment.is_last)]
        yield json.dumps(row)
