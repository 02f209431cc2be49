// The writing pad of the site: one writes a digit, and the networks answer in the page itself.
// Every element `<div class="mnist-pad">` becomes one. Writing itself is in writing.js.

(function (mnistLab) {
  "use strict";

  const STEP = 0.02; // of the side: how far an arrow key moves the pen
  const WAIT = 60; // milliseconds between two answers while one is writing
  const HINT = "Write a digit, from 0 to 9.";

  function makePad(root) {
    const networks = mnistLab.trained.map(mnistLab.loadNetwork);
    const mapped = networks.findIndex(mnistLab.hasActivationMap);
    const board = makeBoard(root);
    const beside = make("div", { className: "mnist-beside" }, root);
    const seen = makeSeen(beside, networks[mapped].name);
    const row = make("div", { className: "mnist-answers" }, beside);
    const answers = networks.map((network) => makeAnswer(row, network.name));
    const keep = makeKeep(board.controls);
    const inside = mnistLab.makeInside(root, networks);
    const state = { strokes: [], current: null, photo: null, pixels: null, cursor: [0.5, 0.5], down: false, timer: null };
    const kept = [];

    function answer() {
      clearTimeout(state.timer);
      state.timer = null;
      state.pixels = null;
      try {
        if (state.strokes.length || state.photo) {
          state.pixels = mnistLab.prepare(state.photo ?? mnistLab.rasterize(state.strokes));
        }
        show("");
      } catch (error) {
        show(error.message);
      }
    }

    function show(message) {
      const { pixels } = state;
      const chances = pixels && networks.map((network) => mnistLab.classify(network, pixels));
      answers.forEach((fill, i) => fill(chances?.[i]));
      drawPixels(seen.given, pixels);
      drawPixels(seen.map, pixels);
      if (pixels) drawRings(seen.map, mnistLab.activationMap(networks[mapped], pixels, best(chances[mapped])));
      const read = chances?.map((ten, i) => `${networks[i].name} reads ${best(ten)}`).join(", ");
      board.status.textContent = message || read || HINT;
      keep.button.disabled = !pixels;
      board.link.disabled = !state.strokes.length;
      inside(pixels);
    }

    function redraw() {
      drawStrokes(board.canvas, state.strokes);
      if (document.activeElement === board.canvas && state.keys) drawCursor(board.canvas, state);
    }

    function change(edit) {
      edit();
      redraw();
      answer();
    }

    function clear() {
      board.file.value = "";
      Object.assign(state, { strokes: [], photo: null, down: false });
    }

    const actions = {
      begin(point) {
        if (state.photo) clear();
        Object.assign(state, { keys: false, down: false, current: [point] });
        state.strokes.push(state.current);
        redraw();
      },
      go(point) {
        if (state.strokes.at(-1) !== state.current) return; // it was taken back meanwhile
        state.current.push(point);
        redraw();
        state.timer ??= setTimeout(answer, WAIT);
      },
      end: () => change(() => {}),
    };
    writeByPointer(board.canvas, actions);
    writeByKeys(board.canvas, state, change, clear, redraw);
    board.clear.onclick = () => change(clear);
    board.undo.onclick = () => change(() => (state.photo ? clear() : state.strokes.pop()));
    board.file.onchange = async () => {
      const file = board.file.files[0];
      if (!file) return;
      const strokes = (state.strokes = []);
      const outdated = () => state.strokes !== strokes || strokes.length || board.file.files[0] !== file;
      try {
        const ink = mnistLab.inkOf(await mnistLab.greyOf(file));
        if (!outdated()) change(() => (state.photo = ink));
      } catch (error) {
        if (outdated()) return;
        change(clear);
        board.status.textContent = error.message;
      }
    };
    keep.button.onclick = () => {
      kept.push({ pixels: state.pixels, label: Number(keep.label.value) });
      keep.told(kept.length);
      board.status.textContent = `Kept as a ${keep.label.value}.`;
    };
    keep.save.onclick = () => save(mnistLab.toNpz(kept), "my_digits.npz");
    board.link.onclick = async () => {
      history.replaceState(null, "", `#drawing=${mnistLab.toLink(state.strokes)}`);
      const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
      board.status.textContent = copied
        ? "Copied: the link opens this drawing."
        : "The address of this page now holds the drawing: copy it.";
    };
    const open = () => {
      const linked = /[#&]drawing=([^&]*)/.exec(location.hash);
      change(() => {
        clear();
        state.strokes = (linked && mnistLab.fromLink(linked[1])) || [];
      });
    };
    addEventListener("hashchange", () => location.hash.includes("drawing=") && open());
    open();
  }

  const best = (chances) => chances.indexOf(Math.max(...chances));

  function make(tag, properties = {}, parent = null) {
    const { role, label, ...others } = properties;
    const element = Object.assign(document.createElement(tag), others);
    if (role) element.setAttribute("role", role);
    if (label) element.setAttribute("aria-label", label);
    parent?.append(element);
    return element;
  }

  function makeBoard(root) {
    const section = make("section", { label: "Writing pad" }, root);
    make("p", { className: "mnist-title", textContent: "Write here" }, section);
    const canvas = make("canvas", {
      className: "mnist-board", width: 560, height: 560, tabIndex: 0, role: "application",
      label: "Writing pad: write a digit with mouse, pen or finger. With the keyboard: arrow keys move " +
        "the pen (with Shift further), the space bar puts it down or lifts it, Delete clears, Control and Z takes a stroke back.",
    }, section);
    const status = make("p", { className: "mnist-status", role: "status" }, section);
    const controls = make("div", { className: "mnist-controls" }, section);
    const button = (textContent, title) => make("button", { type: "button", textContent, title }, controls);
    const undo = button("Undo", "Ctrl+Z");
    const clear = button("Clear", "Delete");
    const link = button("Link to it", "A link that holds the drawing");
    const photo = make("label", { textContent: "or a photo of one digit: " }, controls);
    const file = make("input", { type: "file", accept: "image/*" }, photo);
    return { canvas, status, controls, undo, clear, link, file };
  }

  function makeKeep(controls) {
    const row = make("div", { className: "mnist-keep" }, controls);
    const field = make("label", { textContent: "This is a " }, row);
    const label = make("select", {}, field);
    for (let digit = 0; digit < 10; digit++) make("option", { textContent: digit }, label);
    const button = make("button", { type: "button", textContent: "Keep it", disabled: true }, row);
    const save = make("button", { type: "button", textContent: "Download my drawings", disabled: true }, row);
    const told = (count) => {
      save.disabled = false;
      save.textContent = `Download my drawings (${count})`;
    };
    return { label, button, save, told };
  }

  function makeSeen(root, name) {
    const section = make("section", { className: "mnist-looks", label: "What the networks are given" }, root);
    const look = (title, label) => {
      const part = make("div", {}, section);
      make("p", { className: "mnist-title", textContent: title }, part);
      return make("canvas", { className: "mnist-look", width: 336, height: 336, role: "img", label }, part);
    };
    return {
      given: look("What they see", "The 28×28 pixels that the networks are given."),
      map: look(`Where ${name} looks`, "The same pixels; rings are larger where more speaks for the answer."),
    };
  }

  // A bar for each digit; the function that fills them with ten probabilities, or empties them.
  function makeAnswer(root, name) {
    const section = make("section", { label: `${name}'s answer` }, root);
    make("p", { className: "mnist-title", textContent: name }, section);
    const list = make("ol", { className: "mnist-bars", start: 0 }, section);
    const rows = Array.from({ length: 10 }, (_, digit) => {
      const item = make("li", {}, list);
      make("span", { textContent: digit }, item);
      const bar = make("span", { className: "mnist-bar" }, make("span", { className: "mnist-track" }, item));
      return { item, bar, percent: make("span", { className: "mnist-percent" }, item) };
    });
    return (chances) => {
      rows.forEach(({ item, bar, percent }, digit) => {
        bar.style.width = `${100 * (chances?.[digit] ?? 0)}%`;
        percent.textContent = chances ? `${(100 * chances[digit]).toFixed(0)} %` : "";
        item.className = chances && digit === best(chances) ? "mnist-first" : "";
      });
    };
  }

  const ARROWS = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] };

  function writeByKeys(canvas, state, change, clear, redraw) {
    const lift = () => (state.down = false);
    function press(key, event) {
      if (ARROWS[key]) {
        const step = event.shiftKey ? 3 * STEP : STEP;
        state.cursor = state.cursor.map((value, i) => Math.min(Math.max(value + step * ARROWS[key][i], 0), 1));
        if (state.down) return change(() => state.strokes.at(-1).push([...state.cursor]));
        return redraw();
      }
      if (key === " ") {
        if (state.photo) clear();
        state.down = !state.down;
        return change(() => state.down && state.strokes.push([[...state.cursor]]));
      }
      if (["delete", "backspace"].includes(key)) return change(clear);
      return change(() => { lift(); state.strokes.pop(); });
    }
    canvas.onkeydown = (event) => {
      const key = event.key.toLowerCase();
      const undo = key === "z" && (event.ctrlKey || event.metaKey);
      if (!ARROWS[key] && ![" ", "delete", "backspace"].includes(key) && !undo) return;
      if (event.altKey || ((event.ctrlKey || event.metaKey) && !undo)) return; // the browser's own
      event.preventDefault();
      state.keys = true;
      press(key, event);
    };
    canvas.onfocus = redraw;
    canvas.onblur = () => { lift(); redraw(); };
  }

  // Where the pen stands that the keys move: filled while it writes.
  function drawCursor(canvas, { cursor, down }) {
    const context = canvas.getContext("2d");
    context.beginPath();
    context.arc(cursor[0] * canvas.width, cursor[1] * canvas.height, (PEN / 2) * canvas.width, 0, 2 * Math.PI);
    Object.assign(context, { lineWidth: 4, strokeStyle: "#d55e00", fillStyle: "#d55e00" });
    context.stroke();
    if (down) context.fill();
  }

  // Rings at the middles of what a class activation map's values see; two pixels lie between them.
  function drawRings(canvas, { side, values }) {
    const context = canvas.getContext("2d");
    const cell = canvas.width / 28;
    const most = Math.max(...values, 1e-6);
    const middle = (place) => (14 + 2 * (place - (side - 1) / 2)) * cell;
    values.forEach((value, i) => {
      if (value <= 0.05 * most) return;
      context.beginPath();
      context.arc(middle(i % side), middle(Math.floor(i / side)), (value / most) * cell, 0, 2 * Math.PI);
      for (const [strokeStyle, lineWidth] of [["#000", 6], ["#e69f00", 3]]) { // seen on white ink too
        Object.assign(context, { strokeStyle, lineWidth });
        context.stroke();
      }
    });
  }

  function save(bytes, name) {
    const href = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
    make("a", { href, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10_000);
  }

  Object.assign(mnistLab, { make, makePad });
  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".mnist-pad").forEach(makePad));
})((globalThis.mnistLab ??= {}));
