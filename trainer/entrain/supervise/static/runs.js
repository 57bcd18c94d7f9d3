// The page of several runs: which there are, how they do, and one chart of all their curves.
// It uses what page.js defines, which is loaded before. All that comes from runs is put in as text.
"use strict";

const CHART_MS = 4000;
const COLOURS = 6;

let runsShown = null;
let chartShown = null;

const isChosen = (name) => name.toLowerCase().includes(byId("filter").value.trim().toLowerCase());

const sumOf = (policies, key) => policies.reduce((sum, it) => sum + (it[key] ?? 0), 0);

const stepsOf = (run) => {
  if (!run.policies.length) return "-";
  const [done, wanted] = [sumOf(run.policies, "env_steps"), sumOf(run.policies, "total_steps")];
  return wanted ? `${number(done)} of ${number(wanted)} (${Math.floor((100 * done) / wanted)}%)` : number(done);
};

const leftOf = (run) => {
  if (run.state !== "running" || !run.policies.length) return "-";
  const left = run.policies.map((it) =>
    known(it.total_steps) && it.env_steps_per_second > 0
      ? Math.max(0, it.total_steps - it.env_steps) / it.env_steps_per_second
      : NaN,
  );
  const longest = Math.max(...left);
  return Number.isFinite(longest) ? duration(longest) : "-";
};

const stateCell = (cell, run) => {
  const again = known(run.again_in_s) ? `, again in ${duration(run.again_in_s)}` : "";
  const words = run.words ? `${run.state}${again}\n${run.words}` : `${run.state}${again}`;
  if (cell.dataset.words === words) return;
  cell.dataset.words = words;
  cell.replaceChildren(make("span", `${run.state}${again}`, `state state-${run.state.replace(" ", "-")}`));
  if (run.words) cell.append(make("span", run.words, "words"));
};

const nameCell = (cell, run) => {
  const scheme = run.is_page_secure ? "https" : "http";
  const url = run.page_port ? `${scheme}://${location.hostname}:${run.page_port}/` : "";
  if (cell.dataset.url === url && cell.textContent === run.name) return;
  cell.dataset.url = url;
  cell.textContent = url ? "" : run.name;
  if (!url) return;
  const link = make("a", run.name);
  link.href = url;
  cell.append(link);
};

const showRuns = (runs) => {
  const chosen = runs.filter((run) => isChosen(run.name));
  const body = byId("runs");
  const each = (key) => (run) => run.policies.map((it) => number(it[key])).join(", ") || "-";
  fillRows(
    body,
    chosen.map((run) => [
      null,
      null,
      stepsOf(run),
      each("return_last_100")(run),
      run.state === "running" ? each("env_steps_per_second")(run) : "-",
      leftOf(run),
      run.dial ?? "-",
      number(run.restarts),
    ]),
  );
  chosen.forEach((run, index) => {
    nameCell(body.rows[index].cells[0], run);
    stateCell(body.rows[index].cells[1], run);
  });
  byId("no-runs").hidden = runs.length > 0;
};

const showService = (status) => {
  runsShown = status;
  const states = Object.entries(status.states).map(([state, count]) => `${count} ${state}`);
  setText("phase", states.join(", ") || "no runs");
  byId("phase").dataset.phase = status.is_ready ? "training" : "waiting";
  const more = status.num_runs > status.runs.length ? ` The first ${status.runs.length} are listed.` : "";
  setText(
    "runs-words",
    `${status.num_runs} runs, at most ${status.at_once} at once, on ports ${status.ports}. ` +
      `Started again: ${number(status.restarts)} times.${more}`,
  );
  showAlarms(status.alarms);
  showRuns(status.runs);
  askLog(status.log_number);
};

// The chart

class ManyChart {
  constructor(figure) {
    this.figure = figure;
    this.svg = draw("svg", { role: "img" });
    this.grid = draw("g", { class: "grid" }, this.svg);
    this.bands = draw("g", {}, this.svg);
    this.thin = draw("g", {}, this.svg);
    this.thick = draw("g", {}, this.svg);
    this.dot = draw("circle", { class: "dot", r: 4 }, this.svg);
    figure.append(this.svg);
    this.series = [];
    this.at = null;
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.mark(null));
    figure.addEventListener("keydown", (event) => this.key(event));
    figure.addEventListener("blur", () => this.mark(null));
  }

  show(answer) {
    const lines = answer.lines.filter((line) => isChosen(line.run));
    const groups = answer.groups.filter((group) => group.runs.some(isChosen));
    const colour = new Map();
    groups.forEach((group, index) => group.runs.forEach((run) => colour.set(run, (index % COLOURS) + 1)));
    let next = groups.length;
    for (const line of lines) if (!colour.has(line.run)) colour.set(line.run, (next++ % COLOURS) + 1);
    const inGroup = new Set(groups.flatMap((group) => group.runs));
    const isEach = byId("each").checked;
    this.axis = byId("axis").value;
    const singles = lines
      .filter((line) => isEach || !inGroup.has(line.run))
      .map((line) => ({ ...line, label: line.run, colour: colour.get(line.run), isThin: inGroup.has(line.run) }));
    const means = groups.map((group) => ({
      label: group.label,
      x: group.x,
      y: group.mean,
      deviation: group.deviation,
      runs: group.runs,
      colour: colour.get(group.runs[0]),
    }));
    this.series = [...means, ...singles];
    this.render();
    this.legend();
  }

  // One unit of the drawing is one pixel, so that words can be read on a phone, too.
  fit() {
    const width = Math.max(300, this.figure.clientWidth);
    const height = Math.max(240, Math.min(420, Math.round(0.4 * width)));
    this.box = { width, height, left: 54, right: width - 12, top: 10, bottom: height - 34 };
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  }

  render() {
    this.fit();
    for (const part of [this.grid, this.bands, this.thin, this.thick]) part.replaceChildren();
    this.mark(null);
    if (!this.series.length) return;
    const xs = this.series.flatMap((it) => [it.x[0], it.x[it.x.length - 1]]);
    const lows = this.series.flatMap((it) => it.y.map((y, i) => y - (it.deviation?.[i] ?? 0)));
    const highs = this.series.flatMap((it) => it.y.map((y, i) => y + (it.deviation?.[i] ?? 0)));
    const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
    const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
    let [low, high] = [least(lows), most(highs)];
    if (high - low < 1e-12 * Math.max(1, Math.abs(high))) [low, high] = [low - 0.5, high + 0.5];
    const [first, last] = [Math.min(0, least(xs)), most(xs)];
    this.px = (x) => this.box.left + ((x - first) / (last - first || 1)) * (this.box.right - this.box.left);
    this.py = (y) => this.box.bottom - ((y - low) / (high - low)) * (this.box.bottom - this.box.top);
    const heights = [0, 0.25, 0.5, 0.75, 1].map((share) => low + share * (high - low));
    const texts = shortApart(heights);
    heights.forEach((y, index) => {
      draw("line", { x1: this.box.left, x2: this.box.right, y1: this.py(y), y2: this.py(y) }, this.grid);
      draw("text", { x: this.box.left - 6, y: this.py(y) + 4, "text-anchor": "end" }, this.grid).textContent = texts[index];
    });
    for (const share of this.box.width < 600 ? [0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1]) {
      const x = first + share * (last - first);
      const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
      draw("text", { x: this.px(x), y: this.box.height - 10, "text-anchor": anchor }, this.grid).textContent = this.axisText(x);
    }
    for (const it of this.series) this.draw(it);
    this.svg.setAttribute(
      "aria-label",
      `${byId("metric").value} of ${this.series.length} curves, between ${number(low)} and ${number(high)}`,
    );
  }

  draw(it) {
    const at = (x, y) => `${this.px(x).toFixed(1)} ${this.py(y).toFixed(1)}`;
    if (it.deviation) {
      const above = it.x.map((x, i) => at(x, it.y[i] + it.deviation[i]));
      const below = it.x.map((x, i) => at(x, it.y[i] - it.deviation[i])).reverse();
      draw("path", { class: `band colour-${it.colour}`, d: `M${above.concat(below).join("L")}Z` }, this.bands);
    }
    const d = `M${it.x.map((x, i) => at(x, it.y[i])).join("L")}`;
    const kind = it.isThin ? "thin" : it.deviation ? "mean" : "one";
    draw("path", { class: `many ${kind} colour-${it.colour}`, d }, it.isThin ? this.thin : this.thick);
  }

  axisText(x) {
    return this.axis === "seconds" ? duration(x) : `${short(x)} steps`;
  }

  legend() {
    const entries = this.series.filter((it) => !it.isThin).slice(0, 40);
    const words = entries.map((it) => `${it.label} ${it.colour}`).join("\n");
    if (byId("legend").dataset.words === words) return;
    byId("legend").dataset.words = words;
    byId("legend").replaceChildren(
      ...entries.map((it) => {
        const item = make("li");
        item.append(make("span", "", `swatch colour-${it.colour}`), it.label);
        if (it.runs) item.title = it.runs.join(", ");
        return item;
      }),
    );
  }

  mark(at) {
    this.at = at;
    this.svg.classList.toggle("marked", at !== null);
    if (at === null) {
      setText("readout", "");
      return;
    }
    const it = this.series[at.series];
    const around = it.deviation ? ` \u00b1 ${number(it.deviation[at.index])}` : "";
    this.dot.setAttribute("cx", this.px(it.x[at.index]));
    this.dot.setAttribute("cy", this.py(it.y[at.index]));
    setText("readout", `${it.label}: ${number(it.y[at.index])}${around} at ${this.axisText(it.x[at.index])}`);
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    if (!this.series.length) return;
    const x = ((event.clientX - box.left) / box.width) * this.box.width;
    const y = ((event.clientY - box.top) / box.height) * this.box.height;
    let [best, nearest] = [null, Infinity];
    this.series.forEach((it, series) =>
      it.x.forEach((value, index) => {
        const distance = (this.px(value) - x) ** 2 + (this.py(it.y[index]) - y) ** 2;
        if (distance < nearest) [best, nearest] = [{ series, index }, distance];
      }),
    );
    this.mark(best);
  }

  key(event) {
    const along = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -1e9, End: 1e9 };
    const across = { ArrowUp: -1, ArrowDown: 1 };
    if (event.key === "Escape") this.mark(null);
    if (!(event.key in along || event.key in across) || !this.series.length) return;
    event.preventDefault();
    const series = (((this.at?.series ?? 0) + (across[event.key] ?? 0)) + this.series.length) % this.series.length;
    const last = this.series[series].x.length - 1;
    const index = Math.max(0, Math.min(last, (this.at?.index ?? last) + (along[event.key] ?? 0)));
    this.mark({ series, index });
  }
}

let manyChart = null;

const showChart = () => {
  if (!chartShown) return;
  const { lines, num_lines: count, groups, policy, policies, meaning, unit } = chartShown;
  const choice = byId("policies");
  if (Array.from(choice.options, (it) => it.value).join("\n") !== policies.join("\n")) {
    choice.replaceChildren(...policies.map((name) => new Option(name, name)));
    choice.value = policy;
  }
  const more = count > lines.length ? ` The first ${lines.length} of ${count} runs are drawn.` : "";
  const band = groups.length ? " A thick line is the mean of runs that differ only in their seed, the band their standard deviation." : "";
  setText("chart-words", lines.length ? `${meaning}${unit ? ` (${unit})` : ""}${band}${more}` : "No update has been measured yet.");
  manyChart.show(chartShown);
};

let isAskingChart = false;
const askChart = async () => {
  if (isAskingChart) return;
  isAskingChart = true;
  try {
    const query = new URLSearchParams({ metric: byId("metric").value, policy: byId("policies").value, axis: byId("axis").value });
    chartShown = await ask(`/api/curves?${query}`);
    showChart();
  } catch (error) {
    // It is asked for again soon.
  } finally {
    isAskingChart = false;
  }
};

if (byId("serve")) {
  manyChart = new ManyChart(byId("chart"));
  for (const id of ["metric", "policies", "axis"]) byId(id).addEventListener("change", askChart);
  byId("each").addEventListener("change", showChart);
  byId("filter").addEventListener("input", () => {
    if (runsShown) showRuns(runsShown.runs);
    showChart();
  });
  window.addEventListener("resize", () => manyChart.render());
  connect(showService, "/api/runs");
  askChart();
  setInterval(askChart, CHART_MS);
}
