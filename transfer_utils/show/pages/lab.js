// The freezing lab: on release of a control Python starts a run, and the page asks it for one slice of work at a time.
const STYLE = `
.tl-lab { max-width: 1000px; --ice: #0072B2; --fire: #B45309; }
.tl-lab .tl-top { display: grid; grid-template-columns: 230px minmax(0, 1fr); gap: 8px 24px; }
.tl-lab .tl-two { display: grid; grid-template-columns: minmax(0, 1.2fr) minmax(0, 1fr); gap: 8px 20px; margin-top: 8px; }
.tl-lab .tl-controls label { margin-bottom: 7px; }
.tl-lab select { width: 100%; font: inherit; padding: 2px; color: inherit; background: transparent; }
.tl-lab option { color: #1f2933; background: #fff; }
.tl-lab .tl-facts { display: grid; grid-template-columns: 1fr .8fr .9fr 1.2fr .7fr; gap: 10px; margin: 4px 0 0; }
.tl-lab .tl-facts div { border-top: 2px solid color-mix(in srgb, currentColor 25%, transparent); padding-top: 3px; }
.tl-lab .tl-facts dt { all: unset; font-size: 12px; line-height: 1.25; }
.tl-lab .tl-facts dd { all: unset; font-size: 15px; font-weight: 600; font-variant-numeric: tabular-nums; white-space: nowrap; }
.tl-lab .tl-facts div { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
.tl-lab p { margin: 6px 0; min-height: 1.45em; }
.tl-lab .tl-error { border-left: 4px solid #D55E00; padding-left: 8px; font-weight: 600; }
.tl-lab .tl-scroll { overflow-x: auto; }
.tl-lab table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 13px; }
.tl-lab caption { text-align: left; font-weight: 600; padding: 4px 0; }
.tl-lab th, .tl-lab td { text-align: right; padding: 3px 6px; border-bottom: 1px solid color-mix(in srgb, currentColor 15%, transparent); background: transparent; }
.tl-lab th { white-space: normal; }
.tl-lab .tl-words { text-align: left; }
.tl-lab td:last-child { white-space: nowrap; }
.tl-lab tr.tl-latest td { font-weight: 600; }
.tl-lab button { font: inherit; padding: 1px 9px; margin-left: 4px; color: inherit; background: transparent; cursor: pointer;
  border: 1px solid color-mix(in srgb, currentColor 45%, transparent); border-radius: 5px; }
.tl-lab button[aria-pressed=true] { background: color-mix(in srgb, #0072B2 22%, transparent); }
.tl-lab :focus-visible { outline: 2px solid #0072B2; outline-offset: 2px; }
.tl-lab .tl-frozen { fill: var(--ice); fill-opacity: .14; stroke: var(--ice); stroke-width: 2; stroke-dasharray: 5 3; }
.tl-lab .tl-trains { fill: #E69F00; fill-opacity: .28; stroke: var(--fire); stroke-width: 2.5; }
@media (max-width: 760px) { .tl-lab .tl-top, .tl-lab .tl-two { grid-template-columns: minmax(0, 1fr); } }
`;
const percent = (value) => `${(100 * value).toFixed(1)} %`;
const megabytes = (bytes) => bytes >= 1e5 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e3).toFixed(1)} kB`;
const short = (count) => count >= 1e6 ? `${(count / 1e6).toFixed(2)} M` : `${(count / 1e3).toFixed(1)} k`;
const milliseconds = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

function drawNetwork(parent, stages, frozen) {
  const held = stages.slice(0, frozen).map((s) => s.name), free = stages.slice(frozen).map((s) => s.name);
  const words = `${held.length ? held.join(", ") + " frozen; " : "nothing frozen; "}${free.join(", ")} train${free.length > 1 ? "" : "s"}`;
  const drawn = svg(parent, 700, 138, `The network: ${words}.`), width = 104, gap = 22;
  node(drawn, "rect", { x: 2, y: 44, width: 50, height: 40, fill: "none", class: "tl-axis" });
  node(drawn, "text", { x: 27, y: 68, "text-anchor": "middle" }, "photo");
  stages.forEach((stage, i) => {
    const x = 76 + i * (width + gap), tall = 50 + 14 * Math.min(i, 3) * (i < stages.length - 1), y = 64 - tall / 2;
    node(drawn, "path", { d: `M${x - gap + 1} 64H${x - 5}l-5 -4m5 4l-5 4`, class: "tl-axis" });
    const cut = 12;
    if (i < frozen) {
      // Frozen stages have cut corners and a dashed edge, so that colour alone carries nothing.
      node(drawn, "path", { class: "tl-frozen", d: `M${x + cut} ${y}H${x + width - cut}L${x + width} ${y + cut}V${y + tall - cut}`
        + `L${x + width - cut} ${y + tall}H${x + cut}L${x} ${y + tall - cut}V${y + cut}Z` });
    } else {
      node(drawn, "rect", { class: "tl-trains", x, y, width, height: tall, rx: 9 });
    }
    node(drawn, "text", { x: x + width / 2, y: 60, "text-anchor": "middle", "font-weight": 600 }, stage.name);
    node(drawn, "text", { x: x + width / 2, y: 77, "text-anchor": "middle" }, short(stage.parameters));
    node(drawn, "text", { x: x + width / 2, y: 128, "text-anchor": "middle" }, i < frozen ? "frozen" : "trains");
  });
}

function drawCurves(parent, frame, runs, sentence) {
  const width = 560, height = 270, left = 50, right = 142, top = 12, bottom = 40;
  const drawn = svg(parent, width, height, sentence), epochs = Math.max(1, frame.epochs || 1);
  const x = (epoch) => left + (width - left - right) * epoch / epochs, y = (v) => height - bottom - (height - top - bottom) * v;
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    node(drawn, "path", { class: "tl-grid", d: `M${left} ${y(tick)}H${width - right}` });
    node(drawn, "text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, `${tick * 100} %`);
  }
  node(drawn, "path", { class: "tl-axis", d: `M${left} ${top}V${height - bottom}H${width - right}` });
  for (const epoch of [0, Math.round(epochs / 2), epochs]) {
    node(drawn, "text", { x: x(epoch), y: height - bottom + 17, "text-anchor": "middle" }, String(epoch));
  }
  node(drawn, "text", { x: (left + width - right) / 2, y: height - 5, "text-anchor": "middle" }, "epoch");
  const names = [];
  const line = (values, attributes, name) => {
    if (!values || !values.length) return;
    const from = name === "trains on" ? 1 : 0;
    const points = values.map((value, i) => `${x(i + from)},${y(value)}`);
    node(drawn, "polyline", { points: points.join(" "), fill: "none", ...attributes });
    names.push({ name, at: y(values[values.length - 1]), stroke: attributes.stroke });
  };
  runs.filter((run) => run.kept).forEach((run) =>
    line(run.curve, { stroke: "currentColor", "stroke-width": 1.3, opacity: 0.55 }, `run ${run.number}`));
  line(frame.train, { stroke: "#D55E00", "stroke-width": 2.5, "stroke-dasharray": "6 3" }, "trains on");
  line(frame.valid, { stroke: "#0072B2", "stroke-width": 3 }, "valid");
  for (const [i, value] of (frame.valid || []).entries()) node(drawn, "circle", { cx: x(i), cy: y(value), r: 2.8, fill: "#0072B2" });
  pushApart(names);
  const marks = { "trains on": "photos it trains on", valid: "valid photos" };
  names.forEach((n) => {
    node(drawn, "path", { d: `M${width - right + 6} ${n.at}h12`, stroke: n.stroke, "stroke-width": 2.5, "stroke-dasharray": n.name === "trains on" ? "4 2" : "" });
    node(drawn, "text", { x: width - right + 22, y: n.at + 4 }, marks[n.name] || n.name);
  });
}

function drawComparison(parent, runs) {
  const width = 470, height = 270, top = 34, bottom = 40, panel = 190;
  const words = runs.map((run) => `run ${run.number}: ${percent(run.accuracy)}, ${run.trainable} parameters, ${run.seconds} s`);
  const drawn = svg(parent, width, height, `Accuracy of the finished runs against trainable parameters and against seconds. ${words.join("; ")}`);
  const accuracies = runs.map((run) => run.accuracy), low = Math.max(0, Math.floor(Math.min(0.9, ...accuracies) * 20 - 0.5) / 20);
  const high = Math.ceil(Math.max(low + 0.09, ...accuracies) * 20 + 0.5) / 20, y = (v) => height - bottom - (height - top - bottom) * (v - low) / (high - low);
  const title = runs.length ? "valid accuracy of the finished runs, by their numbers" : "finished runs will appear here";
  node(drawn, "text", { x: 46, y: 12 }, title);
  const panels = [["trainable parameters (log)", "trainable", Math.log10, [2, 6.5]],
                  ["seconds", "seconds", (v) => v, [0, Math.max(2, ...runs.map((run) => run.seconds)) * 1.1]]];
  panels.forEach(([name, key, scale, [from, to]], p) => {
    const left = 46 + p * (panel + 32), x = (v) => left + panel * (scale(v) - from) / (to - from);
    node(drawn, "path", { class: "tl-axis", d: `M${left} ${top - 10}V${height - bottom}H${left + panel}` });
    node(drawn, "text", { x: left + panel / 2, y: height - 5, "text-anchor": "middle" }, name);
    const ticks = p === 0 ? [["1 k", 1e3], ["30 k", 3e4], ["1 M", 1e6]] : [["0", 0], [(to / 2).toFixed(1), to / 2], [to.toFixed(1), to]];
    ticks.forEach(([text, value]) => node(drawn, "text", { x: x(value), y: height - bottom + 17, "text-anchor": "middle" }, text));
    if (p === 0) for (let tick = low; tick <= high + 1e-9; tick += 0.05)
      node(drawn, "text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, `${Math.round(100 * tick)} %`);
    runs.forEach((run, i) => {
      const latest = i === runs.length - 1;
      node(drawn, "circle", { cx: x(run[key]), cy: y(run.accuracy), r: latest ? 6 : 4.5, fill: latest ? "#0072B2" : "none", stroke: latest ? "#0072B2" : "currentColor", "stroke-width": 1.6 });
      node(drawn, "text", { x: x(run[key]) + 8, y: y(run.accuracy) + 4, "font-weight": latest ? 700 : 400 }, String(run.number));
    });
  });
}

function csv(runs, columns) {
  const cell = (value) => /[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value);
  return [columns, ...runs.map((run) => columns.map((column) => run[column]))].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

function render({ model, el }) {
  const box = makeBox(el, model, "tl-lab", STYLE);
  const top = element(box, "div", { className: "tl-top" });
  const showControls = makeControls(element(top, "div", { className: "tl-controls" }), model);
  const right = element(top, "div"), network = element(right, "div"), facts = element(right, "dl", { className: "tl-facts" });
  const status = element(right, "p", { className: "tl-status" }), progress = element(right, "p", { className: "tl-progress" });
  // Only beginnings, ends and errors are announced: a screen reader would otherwise never fall silent.
  status.setAttribute("role", "status");
  const two = element(box, "div", { className: "tl-two" }), curves = element(two, "div"), comparison = element(two, "div");
  const scroll = element(box, "div", { className: "tl-scroll" }), table = element(scroll, "table");
  const save = element(box, "button", { type: "button" }, "Export CSV");
  save.addEventListener("click", () => {
    const columns = model.get("columns").map(([key]) => key);
    const address = URL.createObjectURL(new Blob([csv(model.get("runs"), columns)], { type: "text/csv" }));
    Object.assign(document.createElement("a"), { download: "freezing_lab.csv", href: address }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  });

  const depth = model.get("controls").findIndex((control) => control.key === "through");
  function drawSetting() {
    const frozen = model.get("state")[depth], fact = model.get("facts")[frozen], frame = model.get("frame");
    showControls();
    network.replaceChildren();
    drawNetwork(network, model.get("stages"), frozen);
    const measured = frame.through === frozen && frame.step_ms ? milliseconds(frame.step_ms) : "…";
    const shown = [[fact.trainable.toLocaleString("en"), `trainable parameters of ${model.get("total").toLocaleString("en")}`],
      [megabytes(fact.optimiser_bytes), "optimiser memory (AdamW)"],
      [megabytes(fact.activation_bytes), "activations kept, batch of " + model.get("batch")],
      [`${milliseconds(fact.predicted_ms)} → ${measured}`, "a step: predicted → measured"],
      [frame.seconds === undefined ? "…" : `${frame.seconds.toFixed(1)} s`, "this run so far"]];
    facts.replaceChildren();
    for (const [value, name] of shown) {
      const pair = element(facts, "div");
      element(pair, "dt", {}, name);
      element(pair, "dd", {}, value);
    }
  }
  function drawRun() {
    const frame = model.get("frame"), runs = model.get("runs"), said = frame.said || "Move a control: a run starts when you let go.";
    if (status.textContent !== said) status.textContent = said;
    status.classList.toggle("tl-error", frame.status === "failed");
    progress.textContent = model.get("busy") ? `Epoch ${frame.epoch ?? 0} of ${frame.epochs ?? "…"}. Move a control to start over with the new setting.` : "";
    const last = (values) => values && values.length ? percent(values[values.length - 1]) : "not yet";
    curves.replaceChildren();
    drawCurves(curves, frame, runs, `Accuracy by epoch. Photos it trains on: ${last(frame.train)}. Valid photos: ${last(frame.valid)}.`);
  }
  function drawTable() {
    const runs = model.get("runs"), columns = model.get("columns"), focused = document.activeElement?.dataset?.act;
    comparison.replaceChildren();
    drawComparison(comparison, runs);
    table.replaceChildren();
    element(table, "caption", {}, "Finished runs: accuracy on valid photos. Kept runs stay in the table, and their curves in the chart.");
    const header = element(element(table, "thead"), "tr"), body = element(table, "tbody");
    for (const [, name, kind] of columns) Object.assign(element(header, "th", { scope: "col", className: kind === "words" ? "tl-words" : "" }, name));
    element(header, "th", { scope: "col" }, "keep or remove");
    runs.forEach((run, i) => {
      const row = element(body, "tr", { className: i === runs.length - 1 ? "tl-latest" : "" });
      for (const [key, , kind] of columns) {
        const text = kind === "share" ? percent(run[key]) : kind === "count" ? run[key].toLocaleString("en") : String(run[key]);
        element(row, "td", { className: kind === "words" ? "tl-words" : "" }, text);
      }
      const acts = element(row, "td"), keep = element(acts, "button", { type: "button" }, "Keep"), remove = element(acts, "button", { type: "button" }, "Remove");
      keep.setAttribute("aria-pressed", String(run.kept));
      for (const [button, act] of [[keep, "keep"], [remove, "remove"]]) {
        button.setAttribute("aria-label", `${button.textContent} run ${run.number}`);
        button.dataset.act = `${act} ${run.number}`;
        button.addEventListener("click", () => model.send({ act, number: run.number }));
        if (button.dataset.act === focused) button.focus();
      }
    });
    save.disabled = !runs.length;
  }

  let waiting = null;
  const ask = () => {
    if (waiting === model.get("run") || !model.get("busy")) return;
    waiting = model.get("run");
    model.send({ act: "step", run: waiting });
  };
  model.on("change:state", drawSetting);
  let drawing = null;
  model.on("change:frame", () => {
    if (model.get("frame").answer) waiting = null;
    ask();  // before drawing: Python works on the next slice while the page draws this one
    drawing ??= requestAnimationFrame(() => { drawing = null; drawSetting(); drawRun(); });
  });
  model.on("change:busy", () => { drawRun(); ask(); });
  model.on("change:run", ask);
  model.on("change:runs", () => { drawTable(); drawRun(); });
  drawSetting();
  drawRun();
  drawTable();
  ask();
}

export default { render };
