// What the notebook's pad and the site's have in common: writing with mouse, pen or finger, and what
// is drawn of it. Strokes are lists of points [x, y] in the unit square.

const PEN = 0.07; // of the side, as in images.py

function writeByPointer(canvas, { begin, go, end }) {
  let pen = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  canvas.onpointerdown = (event) => {
    if (pen !== null || event.button > 0) return; // a second finger, or another button
    pen = event.pointerId;
    canvas.setPointerCapture(pen); // the stroke goes on outside of the pad
    canvas.focus({ preventScroll: true });
    begin(place(event));
    event.preventDefault();
  };
  canvas.onpointermove = (event) => {
    if (event.pointerId !== pen) return;
    const steps = event.getCoalescedEvents?.() ?? [];
    for (const step of steps.length ? steps : [event]) go(place(step));
  };
  canvas.onpointerup = canvas.onpointercancel = (event) => {
    if (event.pointerId !== pen) return;
    pen = null;
    end();
  };
}

function drawStrokes(canvas, strokes) {
  const side = canvas.width;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, side, side);
  Object.assign(context, { lineWidth: PEN * side, lineCap: "round", lineJoin: "round", strokeStyle: "#000" });
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(stroke[0][0] * side, stroke[0][1] * side);
    for (const [x, y] of stroke.length > 1 ? stroke.slice(1) : stroke) context.lineTo(x * side, y * side);
    context.stroke();
  }
}

// The 28×28 grey values that a network is given, or nothing.
function drawPixels(canvas, pixels) {
  const context = canvas.getContext("2d");
  const cell = canvas.width / 28;
  context.clearRect(0, 0, canvas.width, canvas.height);
  pixels?.forEach((value, i) => {
    context.fillStyle = `rgb(${value}, ${value}, ${value})`;
    context.fillRect((i % 28) * cell, Math.floor(i / 28) * cell, cell, cell);
  });
}
