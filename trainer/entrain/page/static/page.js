// The page of one run. It is told how the run stands by server-sent events, or asks for it where
// those do not come; of the policy that is shown it asks for what is new of its curves.
// Everything that comes from the run is put into the page as text, never as HTML.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const POLL_MS = 5000;
const CURVES_MS = 2000;
const MOST_POINTS = 400;
const WIDTH = 320;
const HEIGHT = 150;
const BOX = { left: 54, right: 314, top: 8, bottom: 126 };

// What is shown of a policy, in this order; a name with a * stands for all that begin like it.
const CHOSEN = [
  ["rollout/episode_return_last_100", "Return, last 100 episodes"],
  ["evaluation/return_mean", "Return of evaluations"],
  ["rollout/reward_per_step", "Reward per step"],
  ["rollout/episode_length_mean", "Episode length"],
  ["evaluation/length_mean", "Episode length in evaluations"],
  ["rollout/late_steps", "Late steps"],
  ["policy/entropy", "Entropy"],
  ["policy/entropy/*", "Entropy of action"],
  ["policy/sigma/*", "Sigma of action"],
  ["entropy/coefficient", "Entropy coefficient"],
  ["value/q", "Action value"],
  ["loss/q", "Loss of action values"],
  ["replay/age", "Age of the replay"],
  ["policy/kl", "KL of an update"],
  ["loss/policy", "Policy loss"],
  ["loss/value", "Value loss"],
  ["loss/entropy", "Entropy loss"],
  ["value/explained_variance", "Explained variance"],
  ["policy/clip_fraction", "Clipped share"],
  ["time/env_steps_per_second", "Env steps per second"],
  ["time/wait", "Share waiting for simulators"],
  ["time/learn", "Share learning"],
  ["time/observe", "Share evaluating"],
  ["time/act", "Share sampling actions"],
  ["time/record", "Share recording"],
];
// What stands behind a value, if it is a unit: between which numbers a share lies is no unit.
const unitOf = (curve) => (curve.unit === "0 to 1" || curve.unit === "at most 1" ? "" : curve.unit);
// Begins the names of what simulators report.
const STATISTICS = "statistics/";
const CHANGEABLE = ["algorithm.learning_rate", "algorithm.learning_rate_schedule", "algorithm.clip_range", "entropy.coefficient"];
const PARTS = ["waiting", "acting", "recording", "messages", "updates", "other"];

const byId = (id) => document.getElementById(id);

const make = (name, text, className) => {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
};

const draw = (name, attributes, parent) => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (parent) parent.append(element);
  return element;
};

const known = (value) => value !== null && value !== undefined;

const number = (value, digits = 4) => {
  if (!known(value)) return "-";
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString("en-US");
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(digits - 2);
  return String(Number(value.toPrecision(digits)));
};

const short = (value, digits = 3) => {
  const size = Math.abs(value);
  for (const [factor, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (size >= factor) return `${Number((value / factor).toPrecision(digits))}${letter}`;
  }
  return size < 1e-3 && size > 0 ? value.toExponential(digits - 2) : String(Number(value.toPrecision(digits)));
};

// As few digits as tell the values of an axis apart.
const shortApart = (values) => {
  for (let digits = 3; digits < 7; digits += 1) {
    const texts = values.map((value) => short(value, digits));
    if (new Set(texts).size === texts.length) return texts;
  }
  return values.map((value) => short(value, 7));
};

const duration = (seconds) => {
  if (!known(seconds)) return "-";
  const whole = Math.round(seconds);
  const [days, hours, minutes] = [whole / 86400, (whole / 3600) % 24, (whole / 60) % 60].map(Math.floor);
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
};

const latency = (seconds) => (known(seconds) ? `${number(seconds * 1000, 3)} ms` : "-");

const clock = (seconds) => new Date(seconds * 1000).toLocaleString();

const setText = (id, text) => {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
};

const ask = async (path) => {
  const answer = await fetch(path, { cache: "no-store" });
  if (answer.status === 401) location.reload();
  if (!answer.ok) throw new Error(`${answer.status}`);
  return answer.json();
};

// Tables: rows are changed in place, so that a reader's selection and focus stay.

const fillRows = (body, rows) => {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, index) => {
    const row = body.rows[index] ?? body.insertRow();
    while (row.cells.length > cells.length) row.deleteCell(-1);
    cells.forEach((cell, place) => {
      // A cell of null is filled by who asked.
      if (!row.cells[place]) {
        const made = make(place ? "td" : "th");
        if (!place) made.scope = "row";
        row.append(made);
      }
      const shown = row.cells[place];
      if (cell !== null && shown.textContent !== cell) shown.textContent = cell;
    });
  });
};

const progress = (policy) => {
  const share = policy.total_steps ? Math.min(1, policy.env_steps / policy.total_steps) : 0;
  return `${number(policy.env_steps)} of ${number(policy.total_steps)} (${Math.floor(100 * share)}%)`;
};

const showPolicies = (policies) => {
  fillRows(
    byId("policies"),
    policies.map((it) => [
      it.name,
      progress(it),
      duration(it.seconds_left),
      number(it.return_last_100),
      number(it.episodes),
      it.is_learning ? `${number(it.updates)}, one runs` : number(it.updates),
      number(it.env_steps_per_second),
    ]),
  );
  const choice = byId("policy");
  const names = policies.map((it) => it.name);
  const before = Array.from(choice.options, (option) => option.value);
  if (names.join("\n") === before.join("\n")) return;
  const chosen = choice.value;
  choice.replaceChildren(...names.map((name) => new Option(name, name)));
  if (names.includes(chosen)) choice.value = chosen;
};

const stateOf = (simulator) => {
  if (!simulator.is_connected) return "gone for now";
  return simulator.is_waiting ? "waits for actions" : "computes";
};

const showSimulators = (status) => {
  const left = status.num_simulators - status.simulators.length;
  const more = left > 0 ? ` The first ${status.simulators.length} are listed.` : "";
  setText(
    "simulators-words",
    `Connected: ${status.num_simulators} of ${status.expected_simulators} expected; ` +
      `agents: ${number(status.num_agents)}.${more}`,
  );
  fillRows(
    byId("simulators"),
    status.simulators.map((it) => [
      it.name,
      it.peer,
      stateOf(it),
      clock(it.since),
      number(it.agents),
      number(it.steps),
      number(it.steps_per_second, 3),
      latency(it.latency_p50_s),
      latency(it.latency_p99_s),
    ]),
  );
};

const showAlarms = (alarms) => {
  byId("alarms").hidden = !alarms.length;
  const text = (it) => `${clock(it.last)}: ${it.message}${it.times > 1 ? ` (${it.times} times)` : ""}`;
  const list = byId("alarm-list");
  const words = alarms.map(text).join("\n");
  if (list.dataset.words === words) return;
  list.dataset.words = words;
  list.replaceChildren(
    ...alarms.map((it) => make("li", text(it), it.level === "ERROR" ? "error" : "warn")),
  );
};

const showShares = (shares, limit) => {
  const parts = PARTS.filter((part) => known(shares[part]));
  const bar = byId("shares");
  while (bar.children.length < parts.length) bar.append(make("span"));
  while (bar.children.length > parts.length) bar.lastChild.remove();
  parts.forEach((part, index) => {
    bar.children[index].className = `part-${part}`;
    bar.children[index].style.flexGrow = String(shares[part]);
  });
  const words = parts.map((part) => `${part} ${Math.round(100 * shares[part])}%`).join(", ");
  setText("shares-words", words && `Of the newest rounds' time: ${words}`);
  if (words) bar.setAttribute("aria-label", words);
  setText("limit", limit || "-");
};

// Curves

class Chart {
  constructor(title) {
    this.figure = make("figure", undefined, "curve");
    this.figure.tabIndex = 0;
    const caption = make("figcaption");
    this.title = make("span", title, "name");
    this.value = make("span", "", "value");
    caption.append(this.title, this.value);
    this.svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    this.lines = draw("g", { class: "grid" }, this.svg);
    this.band = draw("path", { class: "band" }, this.svg);
    this.line = draw("path", { class: "line" }, this.svg);
    this.cross = draw("line", { class: "cross", y1: BOX.top, y2: BOX.bottom }, this.svg);
    this.dot = draw("circle", { class: "dot", r: 3 }, this.svg);
    this.figure.append(caption, this.svg);
    this.at = null;
    this.points = [];
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.mark(null));
    this.figure.addEventListener("keydown", (event) => this.key(event));
    this.figure.addEventListener("blur", () => this.mark(null));
  }

  show(x, curve, axis) {
    this.axis = axis;
    this.unit = unitOf(curve);
    this.newest = curve.newest;
    this.figure.title = curve.meaning;
    this.points = x
      .map((at, index) => [at, curve.mean[index], curve.low[index], curve.high[index]])
      .filter((point) => known(point[0]) && known(point[1]));
    this.render();
  }

  render() {
    const points = this.points;
    this.lines.replaceChildren();
    if (!points.length) {
      this.line.setAttribute("d", "");
      this.band.setAttribute("d", "");
      this.mark(null);
      return;
    }
    const xs = points.map((point) => point[0]);
    let [low, high] = [Math.min(...points.map((it) => it[2])), Math.max(...points.map((it) => it[3]))];
    if (high - low < 1e-12 * Math.max(1, Math.abs(high))) [low, high] = [low - 0.5, high + 0.5];
    const [first, last] = [xs[0], xs[xs.length - 1]];
    const width = last - first || 1;
    this.px = (x) => BOX.left + ((x - first) / width) * (BOX.right - BOX.left);
    this.py = (y) => BOX.bottom - ((y - low) / (high - low)) * (BOX.bottom - BOX.top);
    const heights = [low, (low + high) / 2, high];
    const texts = shortApart(heights);
    heights.forEach((y, index) => {
      const line = { x1: BOX.left, x2: BOX.right, y1: this.py(y), y2: this.py(y) };
      draw("line", line, this.lines);
      draw("text", { x: BOX.left - 4, y: this.py(y) + 4, "text-anchor": "end" }, this.lines).textContent = texts[index];
    });
    for (const [x, anchor] of [[first, "start"], [last, "end"]]) {
      draw("text", { x: this.px(x), y: HEIGHT - 6, "text-anchor": anchor }, this.lines).textContent = this.axisText(x);
    }
    const at = (x, y) => `${this.px(x).toFixed(1)} ${this.py(y).toFixed(1)}`;
    this.line.setAttribute("d", `M${points.map((it) => at(it[0], it[1])).join("L")}`);
    const above = points.map((it) => at(it[0], it[3]));
    const below = points.map((it) => at(it[0], it[2])).reverse();
    this.band.setAttribute("d", `M${above.concat(below).join("L")}Z`);
    this.svg.setAttribute(
      "aria-label",
      `${this.title.textContent}: ${number(points[points.length - 1][1])}, between ${number(low)} ` +
        `and ${number(high)}, over ${this.axisText(first)} to ${this.axisText(last)}`,
    );
    this.mark(this.at);
  }

  axisText(x) {
    return this.axis === "seconds" ? duration(x) : `${short(x)} steps`;
  }

  mark(index) {
    const point = index === null ? undefined : this.points[Math.max(0, Math.min(index, this.points.length - 1))];
    this.at = point ? index : null;
    this.svg.classList.toggle("marked", Boolean(point));
    if (!point) {
      this.value.textContent = `${number(this.newest)} ${this.unit ?? ""}`;
      return;
    }
    for (const key of ["x1", "x2"]) this.cross.setAttribute(key, this.px(point[0]));
    this.dot.setAttribute("cx", this.px(point[0]));
    this.dot.setAttribute("cy", this.py(point[1]));
    this.value.textContent = `${number(point[1])} at ${this.axisText(point[0])}`;
  }

  point(event) {
    if (!this.points.length) return;
    const box = this.svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    let nearest = 0;
    this.points.forEach((it, index) => {
      if (Math.abs(this.px(it[0]) - x) < Math.abs(this.px(this.points[nearest][0]) - x)) nearest = index;
    });
    this.mark(nearest);
  }

  key(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -1e9, End: 1e9 };
    if (event.key === "Escape") this.mark(null);
    if (!(event.key in steps) || !this.points.length) return;
    event.preventDefault();
    const last = this.points.length - 1;
    const from = this.at === null ? last : this.at;
    this.mark(Math.max(0, Math.min(last, from + steps[event.key])));
  }
}

const curves = { policy: null, firstUpdate: [], x: {}, metrics: {}, charts: new Map(), measured: -1, askedAt: 0, isAsking: false };

const forgetCurves = (policy) => {
  Object.assign(curves, { policy, firstUpdate: [], x: { env_steps: [], seconds: [] }, metrics: {}, measured: -1, askedAt: 0 });
  curves.charts.clear();
  byId("curves").replaceChildren();
  byId("statistics").replaceChildren();
};

const reportedNames = () =>
  Object.keys(curves.metrics).filter((name) => name.startsWith(STATISTICS)).map((name) => [name, name.slice(STATISTICS.length)]);

const shownNames = () => {
  const names = Object.keys(curves.metrics).filter((name) => !name.startsWith(STATISTICS));
  if (byId("all").checked) return names.map((name) => [name, name]);
  return CHOSEN.flatMap(([wanted, title]) =>
    wanted.endsWith("*")
      ? names.filter((name) => name.startsWith(wanted.slice(0, -1))).slice(0, 16).map((name) => [name, `${title} ${name.slice(wanted.length - 1)}`])
      : names.filter((name) => name === wanted).map((name) => [name, title]),
  );
};

const takeCurves = (answer, after) => {
  // Rows that began earlier stay; the last one may have grown, so it came again.
  const keep = curves.firstUpdate.findIndex((first) => first >= after);
  const kept = keep < 0 ? curves.firstUpdate.length : keep;
  const join = (before, more) => (before ?? []).slice(0, kept).concat(more);
  const length = kept + answer.first_update.length;
  for (const axis of ["env_steps", "seconds"]) curves.x[axis] = join(curves.x[axis], answer[axis]);
  for (const [name, curve] of Object.entries(answer.metrics)) {
    const before = curves.metrics[name];
    const none = new Array(kept).fill(null);
    const joined = { unit: curve.unit, meaning: curve.meaning, newest: curve.newest };
    for (const part of ["low", "mean", "high"]) joined[part] = join(before ? before[part] : none, curve[part]);
    curves.metrics[name] = joined;
  }
  curves.firstUpdate = join(curves.firstUpdate, answer.first_update);
  for (const curve of Object.values(curves.metrics)) {
    for (const part of ["low", "mean", "high"]) while (curve[part].length < length) curve[part].push(null);
  }
};

const showCurves = () => {
  const [names, reported] = [shownNames(), reportedNames()];
  byId("no-curves").hidden = names.length > 0;
  byId("statistics-title").hidden = !reported.length;
  const wanted = new Set([...names, ...reported].map(([name]) => name));
  for (const [name, chart] of curves.charts) {
    if (!wanted.has(name)) {
      chart.figure.remove();
      curves.charts.delete(name);
    }
  }
  fillCharts(byId("curves"), names);
  fillCharts(byId("statistics"), reported);
  const left = chosenPolicy()?.statistics_left_out ?? 0;
  setText("statistics-words", left ? `${number(left)} more names are reported, which metrics.csv has.` : "");
};

// What nobody reported until the newest update stays what it was.
const newestOf = (name) => {
  const curve = curves.metrics[name];
  if (!name.startsWith(STATISTICS)) return curve;
  return { ...curve, newest: curve.newest ?? chosenPolicy()?.statistics[name.slice(STATISTICS.length)] };
};

const fillCharts = (place, names) => {
  const axis = byId("axis").value;
  names.forEach(([name, title], index) => {
    let chart = curves.charts.get(name);
    if (!chart) {
      chart = new Chart(title);
      curves.charts.set(name, chart);
    }
    chart.title.textContent = title;
    if (place.children[index] !== chart.figure) place.insertBefore(chart.figure, place.children[index] ?? null);
    chart.show(curves.x[axis], newestOf(name), axis);
  });
};

const askCurves = async (policy) => {
  if (!policy || curves.isAsking) return;
  if (policy.name !== curves.policy) forgetCurves(policy.name);
  if (policy.num_measured === curves.measured || Date.now() - curves.askedAt < CURVES_MS) return;
  curves.isAsking = true;
  curves.askedAt = Date.now();
  try {
    // A table that has grown long here is read anew: there, old rows were joined meanwhile.
    const isLong = curves.firstUpdate.length > 1.5 * MOST_POINTS || policy.num_measured < curves.measured;
    const after = isLong || !curves.firstUpdate.length ? 0 : curves.firstUpdate[curves.firstUpdate.length - 1];
    const answer = await ask(`/api/metrics?policy=${encodeURIComponent(policy.name)}&after=${after}`);
    if (answer.policy === curves.policy) {
      if (!after) Object.assign(curves, { firstUpdate: [], x: {}, metrics: {} });
      takeCurves(answer, after);
      curves.measured = answer.updates;
      showCurves();
    }
  } catch (error) {
    curves.askedAt = 0;
  } finally {
    curves.isAsking = false;
  }
};

// Log and files

let logNumber = 0;
let isAskingLog = false;
const askLog = async (newest) => {
  if (newest === logNumber || isAskingLog) return;
  isAskingLog = true;
  try {
    const { lines } = await ask(`/api/log?after=${newest < logNumber ? 0 : logNumber}`);
    const log = byId("log");
    const isAtEnd = logNumber === 0 || log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    if (logNumber === 0 || newest < logNumber) log.replaceChildren();
    for (const line of lines) {
      const time = new Date(line.time * 1000).toLocaleTimeString();
      log.append(make("p", `${time} ${line.level} ${line.message}`, line.level.toLowerCase()));
      logNumber = line.number;
    }
    while (log.children.length > 500) log.firstElementChild.remove();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  } catch (error) {
    // It is asked for again with the next news.
  } finally {
    isAskingLog = false;
  }
};

const size = (bytes) => {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 ** 2 ? `${(bytes / 1024).toFixed(0)} KiB` : `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
};

const askFiles = async () => {
  try {
    const { artefacts } = await ask("/api/artefacts");
    byId("no-files").hidden = artefacts.length > 0;
    byId("files").replaceChildren(
      ...artefacts.map((file) => {
        const item = make("li");
        const link = make("a", file.name);
        link.href = `/api/artefacts/${file.name.split("/").map(encodeURIComponent).join("/")}`;
        link.setAttribute("download", "");
        item.append(link, ` ${size(file.size)}`);
        return item;
      }),
    );
  } catch (error) {
    // Likewise.
  }
};

// How the run stands

let newest = null;
const chosenPolicy = () => newest?.policies.find((it) => it.name === byId("policy").value) ?? newest?.policies[0];

const EXPORT_WORDS = { running: "The policies are being exported.", failed: "The export failed: ", done: "Exported: ", none: "" };

const showControl = (control, policies) => {
  const pause = byId("pause");
  if (pause) {
    pause.dataset.ask = control.paused_since ? "/api/go-on" : "/api/pause";
    setText("pause", control.paused_since ? "Go on" : "Pause");
  }
  const exported = `${EXPORT_WORDS[control.export]}${control.exported}`;
  byId("waiting").hidden = !control.changes.length && !exported;
  setText("export", exported);
  const list = byId("waiting-list");
  const words = control.changes.join("\n");
  if (list.dataset.words !== words) {
    list.dataset.words = words;
    list.replaceChildren(...control.changes.map((change) => make("li", change)));
  }
  const paths = byId("change-paths");
  const names = policies.map((it) => it.name);
  if (!paths || paths.dataset.names === names.join("\n")) return;
  paths.dataset.names = names.join("\n");
  const quoted = (name) => (/^[^\s.'"=]+$/.test(name) ? name : JSON.stringify(name));
  const options = names.flatMap((name) =>
    CHANGEABLE.map((option) => `policies.${quoted(name)}.${option}`),
  );
  paths.replaceChildren(...[...options, "environment_parameters."].map((path) => new Option(path, path)));
};

const show = (status) => {
  newest = status;
  showControl(status.control, status.policies);
  const phase = byId("phase");
  phase.dataset.phase = status.phase;
  setText("phase", status.phase);
  setText("address", status.address || "nowhere yet");
  setText("env-steps", number(status.env_steps));
  setText("seconds", duration(status.seconds));
  setText("left", duration(status.seconds_left));
  showShares(status.shares, status.limit);
  byId("pace-row").hidden = !status.pace;
  setText("pace", status.pace);
  showAlarms(status.alarms);
  showPolicies(status.policies);
  showSimulators(status);
  askCurves(chosenPolicy());
  askLog(status.log_number);
};

const connect = (take = show, path = "/api/status") => {
  let timer = null;
  const poll = async () => {
    try {
      take(await ask(path));
      setText("link", "");
    } catch (error) {
      setText("link", "The trainer does not answer; what you see is from before.");
    }
  };
  const events = new EventSource("/api/events");
  const startPolling = () => {
    timer ??= setInterval(poll, POLL_MS);
  };
  const stopPolling = () => {
    clearInterval(timer);
    timer = null;
  };
  events.addEventListener("status", (event) => {
    stopPolling();
    setText("link", "");
    take(JSON.parse(event.data));
  });
  events.addEventListener("error", () => {
    poll();
    startPolling();
    // A refusal ends a stream for good; it is tried again, for there may be room later.
    if (events.readyState === EventSource.CLOSED) {
      stopPolling();
      setTimeout(() => connect(take, path), 6 * POLL_MS);
      poll();
    }
  });
};

const askRun = async (button) => {
  const { ask: path, question } = button.dataset;
  if (question && !window.confirm(question)) return;
  button.disabled = true;
  try {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch(path, { method: "POST", headers, body: "{}" });
    const said = await answer.json();
    setText("asked", said.asked ?? said.error);
  } catch (error) {
    setText("asked", "The trainer does not answer.");
  } finally {
    button.disabled = false;
  }
};

const askChange = async (event) => {
  event.preventDefault();
  const from = byId("change-from").value;
  const asked = {
    set: [`${byId("change-path").value.trim()}=${byId("change-value").value.trim()}`],
    from_update: from ? Number(from) : null,
  };
  try {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch("/api/change", { method: "POST", headers, body: JSON.stringify(asked) });
    const said = await answer.json();
    setText("change-answer", said.asked ?? said.error);
  } catch (error) {
    setText("change-answer", "The trainer does not answer.");
  }
};

const begin = () => {
  byId("change")?.addEventListener("submit", askChange);
  for (const button of document.querySelectorAll("[data-ask]")) {
    button.addEventListener("click", () => askRun(button));
  }
  forgetCurves(null);
  byId("policy").addEventListener("change", () => {
    forgetCurves(null);
    askCurves(chosenPolicy());
  });
  byId("axis").addEventListener("change", showCurves);
  byId("all").addEventListener("change", showCurves);
  connect();
  askFiles();
  setInterval(askFiles, 30000);
};

const login = (form) => {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = await fetch("/login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token: byId("token").value.trim() }),
    });
    if (answer.ok) location.replace("/");
    else setText("login-error", (await answer.json()).error);
  });
};

if (byId("login")) login(byId("login"));
else if (byId("policy")) begin();
