// What all widgets of the course share: colours, drawing, and controls that work by keyboard and have names.
const NS = "http://www.w3.org/2000/svg";
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#767676", "#9B8816", "#8C564B", "#A0A4FF"];
const DASHES = ["", "6 3", "6 2 2 2", "2 3", "10 3", "4 2 1 2", "1 2", "12 4", "3 3", "8 2 1 2"];
const SHARED_STYLE = `
.tl-widget { font: 14px/1.45 system-ui, "DejaVu Sans", sans-serif; color: inherit; padding: 4px 2px; }
.tl-widget label { display: block; }
.tl-widget label span { display: flex; justify-content: space-between; }
.tl-widget label b { font-variant-numeric: tabular-nums; }
.tl-widget input[type=range] { width: 100%; accent-color: #0072B2; }
.tl-widget svg { width: 100%; height: auto; display: block; }
.tl-widget svg text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: currentColor; }
.tl-widget svg text[font-weight="700"] { font-weight: 700; }
.tl-widget .tl-axis { stroke: currentColor; opacity: .45; fill: none; }
.tl-widget .tl-grid { stroke: currentColor; opacity: .13; }
`;

function node(parent, name, attributes = {}, text) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function svg(parent, width, height, title) {
  const drawn = node(parent, "svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  node(drawn, "title", {}, title);
  return drawn;
}

// Names at the ends of lines, each {at: height, ...}, pushed apart where lines end close together.
function pushApart(names) {
  names.sort((a, b) => a.at - b.at);
  names.forEach((n, i) => { if (i) n.at = Math.max(n.at, names[i - 1].at + 14); });
}

function element(parent, name, properties = {}, text) {
  const made = Object.assign(document.createElement(name), properties);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function makeBox(el, model, name, style) {
  const box = element(el, "div", { className: `tl-widget ${name}` });
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", model.get("title"));
  // A rule and not an act: when the widget leaves the page, its still picture is back.
  element(box, "style", {}, SHARED_STYLE + style + `[data-still="${model.get("token")}"] { display: none; }`);
  return box;
}

// One input per control of the model. The page redraws while a control moves, Python hears of it on release.
function makeControls(parent, model) {
  const inputs = model.get("controls").map((control, position) => {
    const label = element(parent, "label"), line = element(label, "span");
    element(line, "span", {}, control.label);
    // The input itself says its value; and an <output> here would take the label away from it.
    const value = element(line, "b"), input = element(label, control.kind === "choice" ? "select" : "input");
    value.setAttribute("aria-hidden", "true");
    if (control.kind === "choice") {
      control.options.forEach((option, i) => element(input, "option", { value: i }, option));
    } else {
      Object.assign(input, { type: "range", min: 0, max: control.options.length - 1, step: 1 });
    }
    // On the input itself: otherwise Notebook 7 takes the arrow keys for its own shortcuts.
    input.dataset.lmSuppressShortcuts = "true";
    input.addEventListener("input", () => {
      const state = [...model.get("state")];
      state[position] = Number(input.value);
      model.set("state", state);
    });
    input.addEventListener("change", () => model.save_changes());
    return { input, value, control };
  });
  return () => inputs.forEach(({ input, value, control }, i) => {
    const option = control.options[model.get("state")[i]];
    input.value = model.get("state")[i];
    if (control.kind === "choice") return;
    value.textContent = option;
    input.setAttribute("aria-valuetext", option);
  });
}

// A field with its name above it.
function labelled(parent, text, properties) {
  const label = element(parent, "label");
  element(label, "div", {}, text);
  const input = element(label, "input", properties);
  // Otherwise JupyterLab and Notebook 7 take typed letters for shortcuts.
  input.dataset.lmSuppressShortcuts = "true";
  return input;
}

// A bar a class, for shares [name, share]; colour tells it from a class's position, and longest is the bar of 100 %.
function drawShares(parent, shares, title, colour, longest = 300) {
  const step = 26, drawn = svg(parent, longest + 180, shares.length * step + 4, title);
  shares.forEach(([name, share], i) => {
    node(drawn, "text", { x: 110, y: i * step + 18, "text-anchor": "end" }, name);
    node(drawn, "rect", { x: 118, y: i * step + 6, width: Math.max(1, longest * share), height: 16, fill: colour(i) });
    node(drawn, "text", { x: 124 + longest * share, y: i * step + 18 }, `${(100 * share).toFixed(0)} %`);
  });
}
