// The ink of a photo, step by step as `mnist_lab/drawing/photos.py` finds it: see there for the why.
// A plane is { width, height, values }: Float64Array, row after row.

(function (mnistLab) {
  "use strict";

  const PHOTO = 400;
  const SPECK = 0.05;
  const GRAIN = 25;
  const EDGE = 0.04;
  const THIN = 0.1;

  // The ink of a photo of one digit: grey values { width, height, values }, 0 to 255, in; an image
  // { width, height, pixels } out.
  function inkOf(grey) {
    let dark = darkOf(grey);
    if (isBoard(dark)) {
      grey = mapped(grey, (value) => 255 - value);
      dark = mapped(dark, (value) => 1 - value);
    }
    const paper = paperOf(grey, dark);
    const difference = mapped(paper, (value, i) => clamp(value - grey.values[i], 0, 255));
    const threshold = Math.max(otsu(difference.values), GRAIN);
    const { labels, sizes } = blots(mapped(difference, (value) => +(value > threshold)));
    sizes[0] = 0; // the paper's
    const largest = highest(sizes);
    const kept = mapped(difference, (value, i) => (sizes[labels[i]] > SPECK * largest ? value : 0));
    const ink = thickEnough(kept);
    const most = Math.max(highest(ink.values), 1);
    const pixels = Uint8Array.from(ink.values, (value) => clamp((value * 255) / most, 0, 255));
    return { width: ink.width, height: ink.height, pixels };
  }

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const mapped = (plane, change) => ({ ...plane, values: plane.values.map(change) });
  const highest = (values) => values.reduce((before, value) => Math.max(before, value), -Infinity);
  const lowest = (values) => values.reduce((before, value) => Math.min(before, value), Infinity);

  function darkOf(grey) {
    const middle = (lowest(grey.values) + highest(grey.values)) / 2;
    return mapped(grey, (value) => +(value < middle));
  }

  function share(values) {
    return values.reduce((before, value) => before + value, 0) / values.length;
  }

  // Whether the light pixels are the ink, as chalk on a board is.
  function isBoard(dark) {
    const edge = share([1, 1, 1, 1].flatMap((_, side) => strip(dark, side, 1)));
    if (edge > 0.02 && edge < 0.98) {
      const one = largestBlot(mapped(dark, (value) => 1 - value)) - largestBlot(dark);
      if (Math.abs(one) > 0.2 && sides(dark).every((values) => share(values) > 0 && share(values) < 1)) {
        return one > 0;
      }
    }
    return edge > 0.5 && share(dark.values) > 0.5;
  }

  // What lies within `depth` pixels of a side: 0 top, 1 bottom, 2 left, 3 right.
  function strip({ width, height, values }, side, depth) {
    const [top, bottom] = side < 2 ? [side ? height - depth : 0, side ? height : depth] : [0, height];
    const [left, right] = side > 1 ? [side > 2 ? width - depth : 0, side > 2 ? width : depth] : [0, width];
    const found = [];
    for (let y = Math.max(top, 0); y < Math.min(bottom, height); y++) {
      for (let x = Math.max(left, 0); x < Math.min(right, width); x++) found.push(values[y * width + x]);
    }
    return found;
  }

  function sides(dark) {
    const depth = Math.max(1, Math.round(EDGE * Math.max(dark.width, dark.height)));
    return [0, 1, 2, 3].map((side) => strip(dark, side, depth));
  }

  function largestBlot(mask) {
    const { sizes } = blots(mask);
    return highest(sizes.slice(1)) / (mask.values.length - sizes[0]);
  }

  // Pixels that touch, at a corner too, are of one blot: its number for each pixel, 0 for paper.
  function blots({ width, height, values }) {
    const labels = new Int32Array(values.length);
    const sizes = [0];
    const waiting = [];
    values.forEach((value, start) => {
      if (!value) sizes[0]++;
      if (!value || labels[start]) return;
      labels[start] = sizes.length;
      sizes.push(0);
      waiting.push(start);
      while (waiting.length) {
        const place = waiting.pop();
        sizes[labels[place]]++;
        const [x, y] = [place % width, Math.floor(place / width)];
        for (let v = Math.max(0, y - 1); v < Math.min(height, y + 2); v++) {
          for (let u = Math.max(0, x - 1); u < Math.min(width, x + 2); u++) {
            const next = v * width + u;
            if (values[next] && !labels[next]) {
              labels[next] = labels[place];
              waiting.push(next);
            }
          }
        }
      }
    });
    return { labels, sizes };
  }

  // How light the paper is at each pixel: what is narrow and dark on it is filled.
  function paperOf(grey, dark) {
    const width = Math.floor(Math.max(grey.width, grey.height) / 4);
    const [top, bottom, left, right] = sides(dark).map((values) => values.some(Boolean));
    if (!((top && bottom) || (left && right))) return blurred(closed(grey, width));
    const margined = padded(grey, width, highest(meanOf5(grey).values));
    return blurred(cropped(closed(margined, 2 * width), width));
  }

  function padded({ width, height, values }, margin, value) {
    const wide = width + 2 * margin;
    const made = new Float64Array(wide * (height + 2 * margin)).fill(value);
    for (let y = 0; y < height; y++) {
      made.set(values.subarray(y * width, (y + 1) * width), (y + margin) * wide + margin);
    }
    return { width: wide, height: height + 2 * margin, values: made };
  }

  function cropped({ width, height, values }, margin) {
    const [narrow, low] = [width - 2 * margin, height - 2 * margin];
    const made = new Float64Array(narrow * low);
    for (let y = 0; y < low; y++) {
      const start = (y + margin) * width + margin;
      made.set(values.subarray(start, start + narrow), y * narrow);
    }
    return { width: narrow, height: low, values: made };
  }

  // A line after the other, then a column after the other; beyond its ends a line is mirrored.
  function alongBoth(plane, change) {
    const turned = transposed(alongRows(plane, change));
    return transposed(alongRows(turned, change));
  }

  function alongRows({ width, height, values }, change) {
    const made = new Float64Array(values.length);
    for (let y = 0; y < height; y++) made.set(change(values.subarray(y * width, (y + 1) * width)), y * width);
    return { width, height, values: made };
  }

  function transposed({ width, height, values }) {
    const made = new Float64Array(values.length);
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) made[x * height + y] = values[y * width + x];
    return { width: height, height: width, values: made };
  }

  // scipy's "reflect": the last value stands twice.
  function mirrored(i, length) {
    const place = ((i % (2 * length)) + 2 * length) % (2 * length);
    return place < length ? place : 2 * length - 1 - place;
  }

  // The largest value of each square, then the smallest of each; of an even width the second lies
  // mirrored, as in scipy.
  function closed(plane, width) {
    const before = Math.floor(width / 2);
    const largest = alongBoth(plane, (line) => extreme(line, width, width - 1 - before, Math.max));
    return alongBoth(largest, (line) => extreme(line, width, before, Math.min));
  }

  function extreme(line, width, before, better) {
    const queue = []; // places whose values get worse: the first is the best of the window
    const made = new Float64Array(line.length);
    const value = (i) => line[mirrored(i, line.length)];
    for (let i = -before; i < line.length + width - 1 - before; i++) {
      while (queue.length && better(value(i), value(queue.at(-1))) === value(i)) queue.pop();
      queue.push(i);
      const centre = i - (width - 1 - before);
      if (centre < 0) continue;
      while (queue[0] < centre - before) queue.shift();
      made[centre] = value(queue[0]);
    }
    return made;
  }

  function meanOf5(plane) {
    return alongBoth(plane, (line) => weighted(line, [0.2, 0.2, 0.2, 0.2, 0.2]));
  }

  function blurred(plane) {
    const [deviation, reach] = [10, 40];
    const bell = Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp((-0.5 * (i - reach) ** 2) / deviation ** 2));
    const sum = bell.reduce((before, value) => before + value, 0);
    return alongBoth(plane, (line) => weighted(line, bell.map((value) => value / sum)));
  }

  function weighted(line, weights) {
    const reach = (weights.length - 1) / 2;
    return Float64Array.from(line, (_, i) =>
      weights.reduce((before, weight, k) => before + weight * line[mirrored(i + k - reach, line.length)], 0),
    );
  }

  // Lines of a fine pen would be lost in 20×20 pixels: widen them.
  function thickEnough(ink) {
    const box = mnistLab.cropToInk({ ...ink, pixels: ink.values });
    if (box === null) return ink;
    const width = mnistLab.thickness({ ...ink, pixels: ink.values.map((value) => +(value > 0)) });
    const missing = mnistLab.roundToEven((THIN * Math.max(box.width, box.height) - width) / 2);
    if (missing < 1) return ink;
    const wide = padded(ink, missing, 0);
    const made = new Float64Array(wide.values.length);
    wide.values.forEach((value, place) => {
      if (value === 0) return;
      const [x, y] = [place % wide.width, Math.floor(place / wide.width)];
      for (let dy = -missing; dy <= missing; dy++) {
        for (let dx = -missing; dx <= missing; dx++) {
          if (dx * dx + dy * dy > missing * missing) continue;
          const to = (y + dy) * wide.width + x + dx;
          made[to] = Math.max(made[to], value);
        }
      }
    });
    return { ...wide, values: made };
  }

  // The threshold that parts the values into two groups as far from each other as can be.
  function otsu(values) {
    const [low, high] = [lowest(values), highest(values)];
    const step = (high - low) / 256 || 1 / 256;
    const counts = new Float64Array(256);
    for (const value of values) counts[Math.min(255, Math.floor((value - low) / step))]++;
    const middle = (i) => low + (i + 0.5) * step;
    const total = counts.reduce((before, count, i) => before + count * middle(i), 0);
    let [below, sum, best, found] = [0, 0, -1, 0];
    counts.forEach((count, i) => {
      below += count;
      sum += count * middle(i);
      const above = values.length - below;
      const apart = above > 0 && below > 0 ? below * above * (sum / below - (total - sum) / above) ** 2 : 0;
      if (apart > best) [best, found] = [apart, i];
    });
    return middle(found);
  }

  // A picture file's grey values, at most 400 pixels along its longer side, what is transparent as
  // paper. In a browser only: it decodes the file.
  async function greyOf(file) {
    const picture = await createImageBitmap(file).catch(() => {
      throw new Error("this is no picture that can be read: take a PNG or JPEG.");
    });
    const factor = Math.min(1, PHOTO / Math.max(picture.width, picture.height));
    const [width, height] = [picture.width, picture.height].map((side) => Math.max(1, Math.round(side * factor)));
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d");
    Object.assign(context, { fillStyle: "#fff", imageSmoothingQuality: "high" });
    context.fillRect(0, 0, width, height);
    context.drawImage(picture, 0, 0, width, height);
    const { data } = context.getImageData(0, 0, width, height);
    const values = new Float64Array(width * height);
    for (let i = 0; i < values.length; i++) {
      values[i] = Math.floor((data[4 * i] * 19595 + data[4 * i + 1] * 38470 + data[4 * i + 2] * 7471 + 0x8000) / 65536);
    }
    return { width, height, values };
  }

  Object.assign(mnistLab, { inkOf, greyOf });
})((globalThis.mnistLab ??= {}));
