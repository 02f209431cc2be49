// The course's networks in plain JavaScript: what `mnist_lab/course/javascript.py` has written of a
// trained network is computed layer by layer, as PyTorch does in eval mode.
//
// Maps are { channels, side, values }: values[(channel * side + row) * side + column], float32.

(function (mnistLab) {
  "use strict";

  // `description`: { name, mean, std, layers, weights }; the weights are float32 in base64.
  function loadNetwork(description) {
    const bytes = Uint8Array.from(atob(description.weights), (letter) => letter.charCodeAt(0));
    const numbers = new Float32Array(bytes.buffer);
    const take = ([start, length]) => numbers.subarray(start, start + length);
    const layers = description.layers.map((layer) => {
      const loaded = { ...layer };
      for (const name of ["weight", "bias", "scale", "shift"]) {
        if (layer[name]) loaded[name] = take(layer[name]);
      }
      return loaded;
    });
    return { ...description, layers };
  }

  // What every layer makes of 784 pixels from 0 to 255: the maps, the last of them ten numbers.
  function runLayers(network, pixels) {
    const values = Float32Array.from(pixels, (pixel) => (pixel / 255 - network.mean) / network.std);
    let maps = { channels: 1, side: 28, values };
    return network.layers.map((layer) => (maps = COMPUTE[layer.kind](layer, maps)));
  }

  // Ten probabilities.
  function classify(network, pixels) {
    return softmax(runLayers(network, pixels).at(-1).values);
  }

  function softmax(values) {
    const highest = Math.max(...values);
    const powers = Array.from(values, (value) => Math.exp(value - highest));
    const sum = powers.reduce((before, power) => before + power, 0);
    return powers.map((power) => power / sum);
  }

  function emptyMaps(channels, side) {
    return { channels, side, values: new Float32Array(channels * side * side) };
  }

  function convolution(layer, { channels, side, values }) {
    const { size, padding, groups, weight, bias } = layer;
    const made = emptyMaps(layer.channels, side + 2 * padding - size + 1);
    const inside = channels / groups;
    const outside = layer.channels / groups;
    let next = 0; // the weights come in the order of these loops
    for (let out = 0; out < layer.channels; out++) {
      const map = made.values.subarray(out * made.side ** 2, (out + 1) * made.side ** 2);
      if (bias) map.fill(bias[out]);
      const first = Math.floor(out / outside) * inside;
      for (let from = first; from < first + inside; from++) {
        for (let dy = -padding; dy < size - padding; dy++) {
          for (let dx = -padding; dx < size - padding; dx++) {
            addShifted(map, made.side, values, from, side, dy, dx, weight[next++]);
          }
        }
      }
    }
    return made;
  }

  // Add one map, moved by (dy, dx) and times a weight; outside of it there are zeros.
  function addShifted(map, mapSide, values, channel, side, dy, dx, weight) {
    const top = Math.max(0, -dy);
    const bottom = Math.min(mapSide, side - dy);
    const left = Math.max(0, -dx);
    const right = Math.min(mapSide, side - dx);
    for (let y = top; y < bottom; y++) {
      const from = (channel * side + y + dy) * side + dx;
      const to = y * mapSide;
      for (let x = left; x < right; x++) map[to + x] += weight * values[from + x];
    }
  }

  function norm({ scale, shift }, { channels, side, values }) {
    const made = emptyMaps(channels, side);
    const area = side * side;
    for (let channel = 0; channel < channels; channel++) {
      for (let i = channel * area; i < (channel + 1) * area; i++) {
        made.values[i] = scale[channel] * values[i] + shift[channel];
      }
    }
    return made;
  }

  // Every `size` × `size` square of a map becomes one value: `fold` takes what was before and the next.
  function pooling(fold, end) {
    return ({ size }, { channels, side, values }) => {
      const made = emptyMaps(channels, Math.floor(side / size));
      let next = 0;
      for (let channel = 0; channel < channels; channel++) {
        for (let y = 0; y < made.side; y++) {
          for (let x = 0; x < made.side; x++) {
            let found = null;
            for (let dy = 0; dy < size; dy++) {
              for (let dx = 0; dx < size; dx++) {
                const value = values[(channel * side + y * size + dy) * side + x * size + dx];
                found = found === null ? value : fold(found, value);
              }
            }
            made.values[next++] = end(found, size);
          }
        }
      }
      return made;
    };
  }

  function linear({ channels, weight, bias }, { values }) {
    const made = emptyMaps(channels, 1);
    for (let out = 0; out < channels; out++) {
      let sum = bias[out];
      for (let i = 0; i < values.length; i++) sum += weight[out * values.length + i] * values[i];
      made.values[out] = sum;
    }
    return made;
  }

  function pointwise(change) {
    return (layer, { channels, side, values }) => ({ channels, side, values: values.map(change) });
  }

  const COMPUTE = {
    convolution,
    norm,
    linear,
    relu: pointwise((value) => Math.max(value, 0)),
    silu: pointwise((value) => value / (1 + Math.exp(-value))),
    maximum: pooling(Math.max, (found) => found),
    mean: pooling((sum, value) => sum + value, (sum, size) => sum / (size * size)),
  };

  Object.assign(mnistLab, { loadNetwork, runLayers, classify, softmax });
})((globalThis.mnistLab ??= {}));
