// From a hand to 28×28 pixels, pixel for pixel as `mnist_lab/drawing/images.py` does it: see there
// for what is done, and why. An image is { width, height, pixels }: bytes, ink bright on black.

(function (mnistLab) {
  "use strict";

  const SIZE = 28;
  const BOX = 20;
  const PAD = 280;
  const PEN = 0.07;
  const DOT = 1.3;

  // Strokes, lists of points [x, y] in the unit square, as an image of 280×280.
  function rasterize(strokes, pen = PEN) {
    const side = 2 * PAD; // twice as large, then smoothed
    const pixels = new Uint8Array(side * side);
    for (const stroke of strokes) {
      const points = stroke.map((point) => point.map((value) => clamp(value, -1, 2) * side));
      points.forEach((point, i) => drawSegment(pixels, side, points[Math.max(0, i - 1)], point, pen * PAD));
    }
    return resize({ width: side, height: side, pixels }, PAD, PAD, BOXES);
  }

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // A pixel is ink if its middle lies no further than `radius` from the segment.
  function drawSegment(pixels, side, [x0, y0], [x1, y1], radius) {
    const [across, down] = [x1 - x0, y1 - y0];
    const squared = across * across + down * down;
    const [left, right] = reach(x0, x1, radius, side);
    const [top, bottom] = reach(y0, y1, radius, side);
    for (let row = top; row < bottom; row++) {
      for (let column = left; column < right; column++) {
        const [x, y] = [column + 0.5 - x0, row + 0.5 - y0];
        const along = squared > 0 ? clamp((x * across + y * down) / squared, 0, 1) : 0;
        const [dx, dy] = [x - along * across, y - along * down];
        if (dx * dx + dy * dy <= radius * radius) pixels[row * side + column] = 255;
      }
    }
  }

  function reach(start, end, radius, side) {
    const first = Math.floor(Math.min(start, end) - radius);
    const last = Math.ceil(Math.max(start, end) + radius);
    return [clamp(first, 0, side), clamp(last, 0, side)];
  }

  // A drawing as MNIST has its digits: 784 pixels. Throws an Error where there is no ink, or a dot.
  function prepare(image) {
    const cut = cropToInk(image);
    if (cut === null) throw new Error("there is nothing to read: the picture is empty.");
    const longer = Math.max(cut.width, cut.height);
    if (longer < DOT * thickness(cut)) {
      throw new Error("there is too little ink to be a digit: write it larger, in strokes.");
    }
    const factor = BOX / longer;
    const sides = [cut.width, cut.height].map((side) => Math.max(1, roundToEven(side * factor)));
    return centred(resize(cut, ...sides, factor < 1 ? BOXES : BICUBIC));
  }

  function cropToInk({ width, height, pixels }) {
    let [left, top, right, bottom] = [width, height, -1, -1];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (pixels[y * width + x] === 0) continue;
        [left, right] = [Math.min(left, x), Math.max(right, x)];
        [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
      }
    }
    if (right < 0) return null;
    const cut = { width: right - left + 1, height: bottom - top + 1 };
    const rows = [];
    for (let y = top; y <= bottom; y++) rows.push(...pixels.subarray(y * width + left, y * width + right + 1));
    return { ...cut, pixels: Uint8Array.from(rows) };
  }

  // Twice the largest distance of an inked pixel from the nearest that is not.
  function thickness({ width, height, pixels }) {
    const highest = pixels.reduce((before, value) => Math.max(before, value), 0);
    const [wide, high] = [width + 2, height + 2];
    const far = wide * wide + high * high;
    const squared = new Float64Array(wide * high);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (pixels[y * width + x] > highest / 2) squared[(y + 1) * wide + x + 1] = far;
      }
    }
    for (let x = 0; x < wide; x++) nearest(squared, x, wide, high);
    for (let y = 0; y < high; y++) nearest(squared, y * wide, 1, wide);
    return 2 * Math.sqrt(squared.reduce((before, value) => Math.max(before, value), 0));
  }

  // Each of `count` values becomes the least of value + distance² over all of them: the lower
  // envelope of parabolas (Felzenszwalb and Huttenlocher, doi:10.4086/toc.2012.v008a019).
  function nearest(values, start, step, count) {
    const old = Float64Array.from({ length: count }, (_, i) => values[start + i * step]);
    const roots = [0];
    const from = [-Infinity];
    for (let i = 1; i < count; i++) {
      let meet;
      do {
        const last = roots.at(-1);
        meet = (old[i] + i * i - (old[last] + last * last)) / (2 * (i - last));
        if (meet > from.at(-1)) break;
        roots.pop();
        from.pop();
      } while (roots.length);
      roots.push(i);
      from.push(roots.length === 1 ? -Infinity : meet);
    }
    let which = 0;
    for (let i = 0; i < count; i++) {
      while (which + 1 < roots.length && from[which + 1] < i) which++;
      values[start + i * step] = old[roots[which]] + (i - roots[which]) ** 2;
    }
  }

  // On 28×28, the centre of mass in the middle. MNIST counted pixel 14 as the middle.
  function centred({ width, height, pixels }) {
    let [sum, across, down] = [0, 0, 0];
    pixels.forEach((value, i) => {
      sum += value;
      across += value * (i % width);
      down += value * Math.floor(i / width);
    });
    const left = clamp(roundToEven(SIZE / 2 - across / sum), 0, SIZE - width);
    const top = clamp(roundToEven(SIZE / 2 - down / sum), 0, SIZE - height);
    const made = new Uint8Array(SIZE * SIZE);
    pixels.forEach((value, i) => {
      made[(top + Math.floor(i / width)) * SIZE + left + (i % width)] = value;
    });
    return made;
  }

  // Python rounds a half to the even neighbour.
  function roundToEven(value) {
    const low = Math.floor(value);
    if (value - low !== 0.5) return Math.round(value);
    return low % 2 === 0 ? low : low + 1;
  }

  // Pillow's filters, and its way of resizing bytes, columns first, with weights
  // in whole steps of 2⁻²². (Pillow's Resample.c, function by function.)
  const BOXES = { support: 0.5, weigh: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) };
  const BICUBIC = {
    support: 2,
    weigh(x) {
      const a = -0.5;
      x = Math.abs(x);
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
      return 0;
    },
  };
  const STEPS = 22;

  function resize(image, width, height, filter) {
    const low = height === image.height ? image : transpose(resizeRows(transpose(image), height, filter));
    return width === image.width ? low : resizeRows(low, width, filter);
  }

  function resizeRows({ width, height, pixels }, made, filter) {
    const weights = filterWeights(width, made, filter);
    const result = new Uint8Array(made * height);
    for (let y = 0; y < height; y++) {
      weights.forEach(({ first, steps }, x) => {
        let sum = 1 << (STEPS - 1);
        for (let i = 0; i < steps.length; i++) sum += pixels[y * width + first + i] * steps[i];
        result[y * made + x] = clamp(Math.floor(sum / (1 << STEPS)), 0, 255);
      });
    }
    return { width: made, height, pixels: result };
  }

  function filterWeights(width, made, { support, weigh }) {
    const scale = width / made;
    const stretch = Math.max(scale, 1);
    return Array.from({ length: made }, (_, x) => {
      const centre = (x + 0.5) * scale;
      const first = Math.max(0, Math.trunc(centre - support * stretch + 0.5));
      const last = Math.min(width, Math.trunc(centre + support * stretch + 0.5));
      const shares = [];
      for (let i = first; i < last; i++) shares.push(weigh((i - centre + 0.5) * (1 / stretch)));
      const sum = shares.reduce((before, share) => before + share, 0);
      const steps = shares.map((share) => {
        const step = (sum === 0 ? share : share / sum) * (1 << STEPS);
        return Math.trunc(step < 0 ? step - 0.5 : step + 0.5);
      });
      return { first, steps };
    });
  }

  function transpose({ width, height, pixels }) {
    const turned = new Uint8Array(pixels.length);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) turned[x * height + y] = pixels[y * width + x];
    }
    return { width: height, height: width, pixels: turned };
  }

  Object.assign(mnistLab, { rasterize, prepare, cropToInk, thickness, roundToEven });
})((globalThis.mnistLab ??= {}));
