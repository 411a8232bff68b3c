// A line that the learner types, to Python and back: its topic, with few labels or many, and the lines most like it.
const STYLE = `
.tl-lines { max-width: 960px; }
.tl-lines input[type=text] { font: inherit; padding: 5px 8px; width: 100%; box-sizing: border-box; color: inherit;
  background: transparent; border: 1px solid color-mix(in srgb, currentColor 45%, transparent); border-radius: 5px; }
.tl-lines button { font: inherit; font-size: 13px; padding: 1px 9px; color: inherit; background: transparent; cursor: pointer;
  border: 1px solid color-mix(in srgb, currentColor 45%, transparent); border-radius: 5px; }
.tl-lines .tl-row { display: flex; flex-wrap: wrap; gap: 6px; align-items: baseline; margin: 4px 0 8px; }
.tl-lines .tl-controls label { width: 240px; }
.tl-lines .tl-note { min-height: 1.45em; font-size: 13px; }
.tl-lines .tl-said { min-height: 5em; margin-top: 6px; }
.tl-lines p { margin: 0 0 4px; }
.tl-lines p:first-child { font-weight: 600; }
.tl-lines .tl-answer { display: grid; grid-template-columns: minmax(0, 380px) minmax(0, 1fr); gap: 8px 24px; }
.tl-lines ol { list-style: none; margin: 0; padding: 0; min-height: 225px; }
.tl-lines li { display: grid; grid-template-columns: 12px minmax(0, 1fr); gap: 8px; height: 45px; align-items: start; }
.tl-lines li i { width: 12px; height: 12px; margin-top: 4px; border-radius: 2px; }
.tl-lines li span { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; line-height: 1.35; }
.tl-lines :focus-visible { outline: 2px solid #0072B2; outline-offset: 2px; }
@media (max-width: 760px) { .tl-lines .tl-answer { grid-template-columns: minmax(0, 1fr); } }
`;
const PAUSE = 200;  // milliseconds without a key before we ask
const PATIENCE = 5000;

function drawNeighbours(parent, neighbours) {
  element(parent, "div", {}, "Most alike labelled lines:");
  const list = element(parent, "ol");
  for (const [line, label, name] of neighbours) {
    const item = element(list, "li", { title: line });
    element(item, "i", { style: `background: ${COLOURS[label]}` });
    element(element(item, "span"), "b", {}, name).after(` ${line}`);
  }
}

function render({ model, el }) {
  const box = makeBox(el, model, "tl-lines", STYLE), most = model.get("most");
  const field = labelled(box, "A line of English", { type: "text", autocomplete: "off" });
  const note = element(box, "div", { className: "tl-note" });
  const examples = element(box, "div", { className: "tl-row" }), controls = element(box, "div", { className: "tl-controls" });
  const said = element(box, "div", { className: "tl-said" }), answer = element(box, "div", { className: "tl-answer" });
  const sentence = element(said, "p"), change = element(said, "p");
  said.setAttribute("role", "status");
  note.setAttribute("aria-live", "polite");
  const showControls = makeControls(controls, model);
  let shown = model.get("frame"), asked = shown.number, pause, limit;
  field.value = shown.line;

  function draw() {
    const chosen = shown.answers?.[model.get("state")[0]];
    const cut = [...field.value].length > most ? `Cut at ${most} characters. ` : "";
    showControls();
    sentence.textContent = chosen ? chosen.sentence : shown.said;
    change.textContent = shown.change ?? "";
    note.textContent = cut + (shown.note ?? "");
    answer.style.visibility = chosen ? "" : "hidden";  // and not away: nothing below may jump
    if (!chosen) return;
    answer.replaceChildren();
    drawShares(element(answer, "div"), chosen.shares, `${shown.line}. ${chosen.sentence}`, (i) => COLOURS[i], 200);
    drawNeighbours(element(answer, "div"), shown.neighbours);
  }
  // A number that only grows, so that an answer to an earlier question is known for what it is.
  function ask() {
    clearTimeout(pause);
    clearTimeout(limit);
    asked = Math.max(Date.now(), asked + 1);
    model.send({ act: "read", number: asked, line: [...field.value].slice(0, most).join("") });
    limit = setTimeout(() => { sentence.textContent = "Python has not answered yet. Is a cell running? The answer comes when it has ended."; }, PATIENCE);
  }
  function take(found) {
    if (found.number !== asked) return;
    clearTimeout(limit);
    shown = found;
    draw();
  }
  field.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(ask, PAUSE);
  });
  element(examples, "span", {}, "For example:");
  for (const line of model.get("examples")) {
    const button = element(examples, "button", { type: "button" }, line);
    button.dataset.lmSuppressShortcuts = "true";
    button.addEventListener("click", () => { field.value = line; ask(); });
  }
  model.on("change:frame", () => take(model.get("frame")));
  model.on("change:problem", () => take(model.get("problem")));
  model.on("change:state", draw);
  draw();
  return () => { clearTimeout(pause); clearTimeout(limit); };
}

export default { render };
