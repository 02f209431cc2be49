// The browser's side of the writing pad (pad.py): it takes strokes or a photo, and shows answers.
// Strokes are lists of points [x, y] in the unit square.

const PATIENCE = 2000; // milliseconds without an answer, until the pad says so

function make(tag, properties = {}, parent = null) {
  const element = Object.assign(document.createElement(tag), properties);
  if (parent) parent.append(element);
  return element;
}

function render({ model, el }) {
  const root = make("div", { className: "mnist-pad" }, el);
  root.dataset.lmSuppressShortcuts = "true"; // JupyterLab's keys are not meant here
  const board = makeBoard(root);
  const looks = makeLooks(root, model.get("mapped"));
  const { status } = board;
  const lists = {};
  let strokes = structuredClone(model.get("strokes") || []);
  let timer = null;
  let waiting = null;

  function ask(photo = "") {
    clearTimeout(timer);
    timer = null;
    model.set("photo", photo);
    model.set("strokes", structuredClone(strokes));
    model.set("asked", model.get("asked") + 1);
    model.save_changes();
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      status.textContent = "No answer yet: the kernel is busy, or not running. Run the cell again.";
    }, PATIENCE);
  }

  const soon = () => (timer ??= setTimeout(ask, 120)); // while one is still writing
  const redraw = () => drawStrokes(board.canvas, strokes);

  function clear() {
    strokes = [];
    board.file.value = "";
    redraw();
    ask();
  }

  function undo() {
    strokes.pop();
    redraw();
    ask();
  }

  function show() {
    clearTimeout(waiting);
    const answers = model.get("answers");
    const names = Object.keys(answers);
    for (const name of names) lists[name] ??= makeList(root, name);
    for (const name of Object.keys(lists)) fillList(lists[name], answers[name]);
    drawPixels(looks.seen, model.get("seen"));
    if (looks.where) {
      drawPixels(looks.where, model.get("seen"));
      drawWhere(looks.where, model.get("where"));
    }
    status.textContent =
      model.get("message") ||
      names.map((name) => `${name} reads ${best(answers[name])}`).join(", ") ||
      "Write a digit, from 0 to 9.";
  }

  writeByPointer(board.canvas, {
    begin: (point) => strokes.push([point]),
    go: (point) => { strokes.at(-1)?.push(point); redraw(); soon(); },
    end: () => { redraw(); ask(); },
  });
  board.clear.onclick = clear;
  board.undo.onclick = undo;
  board.file.onchange = async () => {
    if (board.file.files.length) {
      strokes = [];
      redraw();
      ask(await base64(board.file.files[0]));
    }
  };
  root.onkeydown = (event) => {
    const typed = event.key.toLowerCase();
    if (event.target === board.file) return;
    if (["delete", "backspace", "escape"].includes(typed)) clear();
    else if (typed === "z" && (event.ctrlKey || event.metaKey)) undo();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  model.on("change:answered", show);
  redraw();
  show();
  return () => model.off("change:answered", show);
}

function makeBoard(root) {
  const section = make("section", {}, root);
  make("h4", { textContent: "Write here" }, section);
  const canvas = make("canvas", { className: "board", width: 560, height: 560, tabIndex: 0 }, section);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Writing pad: write a digit with mouse, pen or finger. Delete clears it.");
  const status = make("p", { className: "status" }, section);
  status.setAttribute("role", "status");
  const controls = make("div", { className: "controls" }, section);
  const undo = make("button", { type: "button", textContent: "Undo", title: "Ctrl+Z" }, controls);
  const clear = make("button", { type: "button", textContent: "Clear", title: "Delete" }, controls);
  const label = make("label", { textContent: "Or a photo of one digit: " }, controls);
  const file = make("input", { type: "file", accept: "image/*" }, label);
  return { canvas, status, undo, clear, file };
}

function makeLooks(root, mapped) {
  const section = make("section", {}, root);
  const looks = {};
  const seen = ["seen", "What they see", "The 28×28 pixels that the networks are given."];
  const where = ["where", `Where ${mapped} looks`, "The same pixels; rings are larger where more speaks for the answer."];
  for (const [name, title, text] of mapped ? [seen, where] : [seen]) {
    make("h4", { textContent: title }, section);
    looks[name] = make("canvas", { className: "look", width: 224, height: 224 }, section);
    looks[name].setAttribute("role", "img");
    looks[name].setAttribute("aria-label", text);
  }
  return looks;
}

function makeList(root, name) {
  const section = make("section", {}, root);
  make("h4", { textContent: name }, section);
  const list = make("ol", {}, section);
  list.setAttribute("aria-label", `${name}'s answer`);
  return Array.from({ length: 10 }, (_, digit) => {
    const item = make("li", {}, list);
    make("span", { textContent: digit }, item);
    const bar = make("span", { className: "bar" }, make("span", { className: "track" }, item));
    return { item, bar, percent: make("span", { className: "percent" }, item) };
  });
}

function fillList(rows, chances) {
  const first = chances ? best(chances) : -1;
  rows.forEach(({ item, bar, percent }, digit) => {
    const chance = chances ? chances[digit] : 0;
    bar.style.width = `${100 * chance}%`;
    percent.textContent = chances ? `${(100 * chance).toFixed(0)} %` : "";
    item.className = digit === first ? "first" : "";
  });
}

const best = (chances) => chances.indexOf(Math.max(...chances));

function drawWhere(canvas, where) {
  // Neighbours in the 6×6 map lie two pixels apart, around the middle of the picture.
  const context = canvas.getContext("2d");
  const cell = canvas.width / 28;
  const middle = (where.length - 1) / 2;
  for (const [color, width] of [["#000", 4], ["#ff9d3c", 2]]) {
    Object.assign(context, { strokeStyle: color, lineWidth: width });
    where.forEach((row, i) =>
      row.forEach((value, j) => {
        context.beginPath();
        const x = (14 + 2 * (j - middle)) * cell;
        const y = (14 + 2 * (i - middle)) * cell;
        context.arc(x, y, Math.max(0, value * cell - 1), 0, 2 * Math.PI);
        if (value > 0.25) context.stroke();
      }),
    );
  }
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.split(",")[1] ?? "");
    reader.onerror = reject;
    reader.readAsDataURL(file);
  });
}

export default { render };
