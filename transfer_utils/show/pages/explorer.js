// An explorer over stored results: every state was computed beforehand, so the page draws it without asking Python.
const STYLE = `
.tl-explorer { max-width: 900px; }
.tl-explorer .tl-controls { display: flex; flex-wrap: wrap; gap: 6px 28px; margin-bottom: 8px; }
.tl-explorer .tl-controls label { width: 240px; }
.tl-explorer p { margin: 6px 0; min-height: 2.9em; }
`;

// A method has one colour in all figures; what is none takes the palette's.
const colourOf = (chart, position) => chart.colours[position] || COLOURS[position];

function drawChart(parent, chart, mark, sentence) {
  const width = 860, height = 290, left = 62, right = 190, top = 12, bottom = 44;
  const drawn = svg(parent, width, height, `${chart.ylabel} against ${chart.xlabel}. ${sentence}`);
  const most = Math.max(...chart.lines.flatMap((line) => line.high));
  const limit = Math.min(1, Math.ceil(most * 10) / 10);
  const x = (i) => left + (width - left - right) * (chart.x.length > 1 ? i / (chart.x.length - 1) : 0.5);
  const y = (value) => height - bottom - (height - top - bottom) * value / limit;
  for (let tick = 0; tick <= limit + 1e-9; tick += 0.2) {
    node(drawn, "path", { class: "tl-grid", d: `M${left} ${y(tick)}H${width - right}` });
    node(drawn, "text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, `${Math.round(tick * 100)} %`);
  }
  chart.x.forEach((label, i) => node(drawn, "text", { x: x(i), y: height - bottom + 17, "text-anchor": "middle" }, label));
  node(drawn, "path", { class: "tl-axis", d: `M${left} ${top}V${height - bottom}H${width - right}` });
  node(drawn, "text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, chart.xlabel);
  chart.lines.forEach((line, k) => {
    const chosen = k === mark.line;
    const points = line.mean.map((value, i) => `${x(i)},${y(value)}`).join(" ");
    if (chosen) {
      const upper = line.high.map((v, i) => `${x(i)},${y(v)}`), lower = line.low.map((v, i) => `${x(i)},${y(v)}`);
      node(drawn, "polygon", { points: [...upper, ...lower.reverse()].join(" "), fill: colourOf(chart, k), opacity: 0.2 });
    }
    node(drawn, "polyline", { points, fill: "none", stroke: colourOf(chart, k), "stroke-dasharray": DASHES[k],
                              "stroke-width": chosen ? 3.5 : 1.5, opacity: chosen ? 1 : 0.7 });
  });
  const names = chart.lines.map((line, k) => ({ k, name: line.name, at: y(line.mean[line.mean.length - 1]) }));
  pushApart(names);
  const over = Math.max(0, names[names.length - 1].at - (height - bottom));
  names.forEach((n) => node(drawn, "text", { x: width - right + 10, y: n.at - over + 4,
    "font-weight": n.k === mark.line ? 700 : 400 }, (n.k === mark.line ? "● " : "") + n.name));
  const line = chart.lines[mark.line];
  node(drawn, "circle", { cx: x(mark.x), cy: y(line.mean[mark.x]), r: 7, fill: colourOf(chart, mark.line),
                          stroke: "currentColor", "stroke-width": 2 });
}

// One line a name: a mean with its interval. The one that is picked is drawn bold, with a ring. Each name keeps its place,
// also where it has no interval, so that nothing jumps.
function drawIntervals(parent, intervals, chart, sentence) {
  const width = 860, step = 30, left = 215, right = 245, top = 8, foot = top + chart.names.length * step, height = foot + 44;
  const drawn = svg(parent, width, height, `${chart.xlabel}. ${sentence}`);
  const x = (value) => left + (width - left - right) * (value - chart.low) / (chart.high - chart.low);
  for (let tick = Math.ceil(chart.low * 10) / 10; tick <= chart.high + 1e-9; tick += 0.1) {
    node(drawn, "path", { class: "tl-grid", d: `M${x(tick)} ${top}V${foot}` });
    node(drawn, "text", { x: x(tick), y: foot + 17, "text-anchor": "middle" }, `${Math.round(tick * 100)} %`);
  }
  node(drawn, "path", { class: "tl-axis", d: `M${left} ${top}V${foot}H${width - right}` });
  node(drawn, "text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, chart.xlabel);
  chart.names.forEach((name, i) => {
    const y = top + (i + 0.5) * step, colour = colourOf(chart, i), line = intervals.find((each) => each.name === name);
    const weight = line?.picked ? 700 : 400;
    node(drawn, "text", { x: left - 10, y: y + 4, "text-anchor": "end", "font-weight": weight }, name);
    if (!line) return node(drawn, "text", { x: width - right + 12, y: y + 4 }, "not run here");
    node(drawn, "path", { d: `M${x(line.low)} ${y}H${x(line.high)}`, stroke: colour, "stroke-width": line.picked ? 4 : 2 });
    node(drawn, "circle", { cx: x(line.mean), cy: y, r: line.picked ? 7 : 5, fill: colour, stroke: "currentColor",
                            "stroke-width": line.picked ? 2 : 0 });
    node(drawn, "text", { x: width - right + 12, y: y + 4, "font-weight": weight }, line.note);
  });
}

function drawTiles(parent, rows, sprite, sentence) {
  const side = sprite.shown, gap = 4, label = 118, across = Math.max(...rows.map((row) => row.tiles.length));
  const width = 860, height = rows.length * (side + gap) + gap;
  const drawn = svg(parent, width, height, rows.map((row) => row.label + ": " + row.words).join(". ") || sentence);
  rows.forEach((row, r) => {
    const top = gap + r * (side + gap);
    node(drawn, "text", { x: label - 10, y: top + side / 2 + 4, "text-anchor": "end" }, row.label);
    row.tiles.forEach((tile, c) => {
      const space = c >= row.gap ? 16 : 0;
      const box = node(drawn, "svg", { x: label + c * (side + gap) + space, y: top, width: side, height: side,
        viewBox: `${(tile % sprite.columns) * sprite.side} ${Math.floor(tile / sprite.columns) * sprite.side} ${sprite.side} ${sprite.side}` });
      node(box, "image", { href: sprite.url, width: sprite.columns * sprite.side, height: sprite.rows * sprite.side,
                           style: "image-rendering: pixelated" });
      if ((row.wrong || []).includes(c)) {
        node(drawn, "rect", { x: label + c * (side + gap) + space + 1, y: top + 1, width: side - 2, height: side - 2, fill: "none",
                              stroke: "#D55E00", "stroke-width": 3, "stroke-dasharray": "5 3" });
      }
    });
  });
}

function render({ model, el }) {
  const box = makeBox(el, model, "tl-explorer", STYLE);
  const controls = element(box, "div", { className: "tl-controls" });
  const sentence = element(box, "p");
  sentence.setAttribute("role", "status");
  const pictures = element(box, "div");
  const showControls = makeControls(controls, model);

  function draw() {
    const frame = model.get("frames")[model.get("state").join(",")], chart = model.get("chart");
    showControls();
    sentence.textContent = frame.sentence;
    pictures.replaceChildren();
    if (chart.lines) drawChart(pictures, chart, frame.mark, frame.sentence);
    if (frame.intervals) drawIntervals(pictures, frame.intervals, chart, frame.sentence);
    if (frame.rows) drawTiles(pictures, frame.rows, model.get("sprite"), frame.sentence);
  }
  model.on("change:state", draw);
  draw();
}

export default { render };
