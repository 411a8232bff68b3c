// Files from this browser to Python, in parts; and, for a classifier, what it says about each photo.
const STYLE = `
.tl-uploads { max-width: 760px; }
.tl-uploads .tl-row { display: flex; flex-wrap: wrap; gap: 8px 18px; align-items: end; margin-bottom: 6px; }
.tl-uploads input[type=text], .tl-uploads select { font: inherit; padding: 3px 6px; color: inherit; background: transparent;
  border: 1px solid color-mix(in srgb, currentColor 45%, transparent); border-radius: 5px; min-width: 180px; }
.tl-uploads option { color: #1f2933; background: #fff; }
.tl-uploads input[type=file] { font: inherit; color: inherit; }
.tl-uploads p { margin: 6px 0; min-height: 1.45em; }
.tl-uploads .tl-problem { border-left: 4px solid #D55E00; padding-left: 8px; font-weight: 600; }
.tl-uploads .tl-answer { display: grid; grid-template-columns: 150px minmax(0, 1fr); gap: 8px 20px; align-items: start; }
.tl-uploads img { border-radius: 4px; display: block; }
.tl-uploads .tl-near { display: flex; flex-wrap: wrap; gap: 10px; grid-column: 1 / -1; }
.tl-uploads figure { margin: 0; }
.tl-uploads figcaption { font-size: 12px; text-align: center; }
.tl-uploads :focus-visible { outline: 2px solid #0072B2; outline-offset: 2px; }
`;
const PART = 500000;  // bytes: far below what Jupyter takes in one message
const PATIENCE = 60000;

// Resolves with the receipt that answers this part; Python answers each part once.
function receipt(model, id, received) {
  return new Promise((resolve, reject) => {
    const look = () => {
      const found = model.get("receipt");
      if (found.id !== id || (!found.failed && found.received !== received)) return;
      model.off("change:receipt", look);
      clearTimeout(limit);
      resolve(found);
    };
    const limit = setTimeout(() => {
      model.off("change:receipt", look);
      reject(new Error("Python does not answer. Is another cell running? Wait for it, then choose the file again."));
    }, PATIENCE);
    model.on("change:receipt", look);
  });
}

async function send(model, file, className, tell) {
  if (file.size > model.get("most")) throw new Error(`${file.name} is larger than ${model.get("most") / 1e6} MB. Copy it into the folder by hand.`);
  if (!file.size) throw new Error(`${file.name} is empty.`);
  const id = `${Date.now()}-${Math.random()}`;
  for (let offset = 0; ; offset += PART) {
    const part = await file.slice(offset, offset + PART).arrayBuffer(), received = offset + part.byteLength;
    const answer = receipt(model, id, received);
    model.send({ act: "part", id, name: file.name, class: className, offset, size: file.size }, undefined, [part]);
    const found = await answer;
    if (found.failed) throw new Error(found.said);
    if (received >= file.size) return found.said;
    tell(`${file.name}: ${Math.round(100 * received / file.size)} %`);
  }
}

function drawAnswer(parent, frame) {
  const box = element(parent, "div", { className: "tl-answer" });
  element(box, "img", { src: frame.photo, width: 150, alt: frame.name });
  drawShares(box, frame.shares, frame.sentence, () => COLOURS[0]);
  const near = element(box, "div", { className: "tl-near" });
  element(near, "div", { style: "width: 100%" }, "Most alike among the photos that it knows:");
  for (const [photo, name] of frame.neighbours) {
    const figure = element(near, "figure");
    element(figure, "img", { src: photo, width: 84, alt: "" });
    element(figure, "figcaption", {}, name);
  }
}

function render({ model, el }) {
  const box = makeBox(el, model, "tl-uploads", STYLE), row = element(box, "div", { className: "tl-row" });
  const choice = element(row, "div");
  const className = model.get("asks_class") ? labelled(row, "Class of these photos (a zip brings its own)", { type: "text" }) : null;
  const files = labelled(row, model.get("button"), { type: "file", multiple: true, accept: "image/*,.zip" });
  if (!className) files.accept = "image/*";
  const said = element(box, "p"), counts = element(box, "p"), answer = element(box, "div");
  said.setAttribute("role", "status");
  const tell = (text, problem = false) => {
    said.textContent = text;
    said.classList.toggle("tl-problem", problem);
  };

  files.addEventListener("change", async () => {
    const chosen = [...files.files], named = className ? className.value.trim() : "", problems = [];
    const needsClass = className && !named && chosen.some((file) => !file.name.toLowerCase().endsWith(".zip"));
    files.value = "";  // so that the same file can be chosen again
    if (needsClass) return tell("Write the name of the class first, then choose its photos.", true);
    files.disabled = true;
    let last = "";
    for (const [i, file] of chosen.entries()) {
      tell(`${i + 1} of ${chosen.length}: ${file.name}`);
      try { last = await send(model, file, named, tell); } catch (error) { problems.push(error.message); }
    }
    files.disabled = false;
    const arrived = `${chosen.length - problems.length} of ${chosen.length} arrived.`;
    tell(chosen.length === 1 ? problems[0] || last : [arrived, ...problems].join(" "), problems.length > 0);
  });

  function draw() {
    counts.textContent = (model.get("counts") || []).join(", ");
    answer.replaceChildren();
    const frames = model.get("frames") || [];
    if (!frames.length) return;
    const frame = frames[model.get("state")[0]];
    if (!frame) return;
    element(answer, "p", { className: frame.unlike ? "tl-problem" : "" }, frame.sentence);
    drawAnswer(answer, frame);
  }
  let showControls = () => {};
  function drawControls() {
    choice.replaceChildren();
    showControls = makeControls(choice, model);
    showControls();
  }
  const redraw = () => { showControls(); draw(); };
  model.on("change:controls", drawControls);
  model.on("change:state", redraw);
  model.on("change:frames", redraw);
  model.on("change:counts", draw);
  drawControls();
  draw();
}

export default { render };
