// "Look inside": what every layer makes of the drawing, and the products that make one value.

(function (mnistLab) {
  "use strict";

  const SHOWN = 4; // of the incoming maps, those that add most
  const WORDS = {
    convolution: "convolution", norm: "batch norm", linear: "linear layer", relu: "ReLU", silu: "SiLU",
    maximum: "max pooling", mean: "average pooling",
  };

  // Returns the function that is told the 784 pixels, or null.
  function makeInside(root, networks) {
    const { make } = mnistLab;
    const details = make("details", { className: "mnist-inside" }, root);
    make("summary", { textContent: "Look inside: what each layer makes of it" }, details);
    const field = make("label", { textContent: "Network: " }, details);
    const choice = make("select", {}, field);
    for (const { name } of networks) make("option", { textContent: name }, choice);
    const list = make("div", { className: "mnist-layers", role: "group", label: "Layers" }, details);
    const grid = make("div", { className: "mnist-maps", role: "group", label: "Maps" }, details);
    const value = make("div", { className: "mnist-value", role: "region", label: "One value", ariaLive: "polite" }, details);
    const chosen = { pixels: null, layer: 0, map: 0, place: null };

    const network = () => networks[choice.selectedIndex];

    function show() {
      for (const part of [list, grid, value]) part.replaceChildren();
      if (!details.open) return;
      if (!chosen.pixels) {
        make("p", { textContent: "Write a digit first." }, list);
        return;
      }
      const made = mnistLab.runLayers(network(), chosen.pixels);
      network().layers.forEach((layer, i) => {
        const { channels, side } = made[i];
        const size = side > 1 ? `${channels} maps of ${side}×${side}` : `${channels} numbers`;
        pick(list, `${layer.name}: ${WORDS[layer.kind]}, ${size}`, i === chosen.layer, () => {
          Object.assign(chosen, { layer: i, map: 0, place: null });
        });
      });
      showMaps(made[chosen.layer]);
      showValue(made);
    }

    function pick(parent, label, pressed, act) {
      const button = make("button", { type: "button", textContent: label }, parent);
      button.setAttribute("aria-pressed", pressed);
      button.onclick = () => {
        act();
        const place = [...parent.children].indexOf(button);
        show();
        parent.children[place]?.focus();
      };
      return button;
    }

    function showMaps(maps) {
      for (let map = 0; map < maps.channels; map++) {
        const act = () => Object.assign(chosen, { map, place: null });
        const button = pick(grid, "", map === chosen.map, act);
        button.setAttribute("aria-label", `map ${map}`);
        drawMap(make("canvas", { width: 48, height: 48 }, button), maps, map);
      }
    }

    function showValue(made) {
      const maps = made[chosen.layer];
      chosen.place ??= largest(maps, chosen.map);
      const { side } = maps;
      const [row, column] = [Math.floor(chosen.place / side), chosen.place % side];
      const found = valueAt(maps, chosen.map, row, column);
      const head = `Map ${chosen.map}, row ${row}, column ${column}: ${text(found)}`;
      make("p", { className: "mnist-title", textContent: head }, value);
      if (side > 1) makeMover(row, column, side);
      const before = chosen.layer ? made[chosen.layer - 1] : first(network(), chosen.pixels);
      explain(value, network().layers[chosen.layer], before, chosen.map, row, column);
    }

    function makeMover(row, column, side) {
      const field = (label, number, change) => {
        const made = make("label", { textContent: `${label} ` }, value);
        const input = make("input", { type: "number", min: 0, max: side - 1, value: number }, made);
        input.onchange = () => {
          const wanted = Math.min(Math.max(Math.round(Number(input.value)) || 0, 0), side - 1);
          const stays = value.contains(document.activeElement); // not if the reader has gone on
          chosen.place = change(wanted);
          show();
          if (stays) value.querySelector(`[data-which="${label}"]`)?.focus();
        };
        input.dataset.which = label;
      };
      field("row", row, (wanted) => wanted * side + column);
      field("column", column, (wanted) => row * side + wanted);
    }

    choice.onchange = () => {
      Object.assign(chosen, { layer: 0, map: 0, place: null });
      show();
    };
    details.ontoggle = show;
    return (pixels) => {
      Object.assign(chosen, { pixels, place: null });
      if (details.open) show();
    };
  }

  const text = (number) => number.toFixed(2).replace("-", "−");
  const valueAt = ({ side, values }, map, row, column) => values[(map * side + row) * side + column];

  function first(network, pixels) {
    const values = Float32Array.from(pixels, (pixel) => (pixel / 255 - network.mean) / network.std);
    return { channels: 1, side: 28, values };
  }

  function largest({ side, values }, map) {
    const own = [...values.subarray(map * side * side, (map + 1) * side * side)];
    return own.indexOf(Math.max(...own));
  }

  function drawMap(canvas, { side, values }, map) {
    const own = values.subarray(map * side * side, (map + 1) * side * side);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const context = canvas.getContext("2d");
    const cell = canvas.width / side;
    own.forEach((value, i) => {
      const grey = Math.round((255 * (value - low)) / (high - low || 1));
      context.fillStyle = `rgb(${grey}, ${grey}, ${grey})`;
      context.fillRect((i % side) * cell, Math.floor(i / side) * cell, cell + 0.5, cell + 0.5);
    });
  }

  // In words and numbers how a layer makes one value of the maps before it.
  function explain(parent, layer, before, map, row, column) {
    const { make } = mnistLab;
    const say = (words) => make("p", { textContent: words }, parent);
    const own = () => valueAt(before, map, row, column);
    const block = () => window(before, map, row * layer.size, column * layer.size, layer.size);
    if (layer.kind === "relu") return say(`The larger of ${text(own())} and 0.`);
    if (layer.kind === "silu") return say(`${text(own())} times its sigmoid, ${text(1 / (1 + Math.exp(-own())))}.`);
    if (layer.kind === "norm") return say(`${text(layer.scale[map])} × ${text(own())} + ${text(layer.shift[map])}`);
    if (layer.kind === "maximum") return say(`The largest of ${block().map(text).join(", ")}.`);
    if (layer.kind === "mean") return say(`The mean of ${layer.size ** 2} values.`);
    const parts = products(layer, before, map, row, column);
    const bias = layer.bias?.[map] ?? 0;
    for (const part of parts.slice(0, SHOWN)) productTable(parent, part);
    const rest = parts.slice(SHOWN).reduce((sum, part) => sum + part.sum, 0);
    const total = parts.reduce((sum, part) => sum + part.sum, bias);
    const others = parts.length > SHOWN ? `, ${parts.length - SHOWN} others ${text(rest)}` : "";
    const its = layer.bias ? ` with the bias, ${text(bias)}` : "";
    return say(`Together${its}${others}: ${text(total)}`);
  }

  function window({ side, values }, map, top, left, size) {
    return Array.from({ length: size * size }, (_, i) => {
      const [y, x] = [top + Math.floor(i / size), left + (i % size)];
      const outside = y < 0 || x < 0 || y >= side || x >= side;
      return outside ? 0 : values[(map * side + y) * side + x];
    });
  }

  // Of each incoming map: what is seen, the weights, and the sum of the products; the largest first.
  function products(layer, before, map, row, column) {
    if (layer.kind === "linear") {
      const area = before.side ** 2;
      return [...before.values].map((value, i) => {
        const weights = [layer.weight[map * before.values.length + i]];
        const from = area > 1 ? `${Math.floor(i / area)}, place ${i % area}` : i;
        return { from, size: 1, seen: [value], weights, sum: value * weights[0] };
      }).sort((one, other) => Math.abs(other.sum) - Math.abs(one.sum));
    }
    const { size, padding, groups } = layer;
    const inside = before.channels / groups;
    const start = Math.floor(map / (layer.channels / groups)) * inside;
    return Array.from({ length: inside }, (_, i) => {
      const seen = window(before, start + i, row - padding, column - padding, size);
      const weights = [...layer.weight.subarray((map * inside + i) * size * size, (map * inside + i + 1) * size * size)];
      const sum = seen.reduce((total, value, k) => total + value * weights[k], 0);
      return { from: start + i, size, seen, weights, sum };
    }).sort((one, other) => Math.abs(other.sum) - Math.abs(one.sum));
  }

  function productTable(parent, { from, size, seen, weights, sum }) {
    const { make } = mnistLab;
    const table = make("table", {}, parent);
    make("caption", { textContent: `from map ${from}: value × weight, together ${text(sum)}` }, table);
    for (let row = 0; row < size; row++) {
      const line = make("tr", {}, table);
      for (let column = 0; column < size; column++) {
        const i = row * size + column;
        make("td", { textContent: `${text(seen[i])} × ${text(weights[i])}` }, line);
      }
    }
  }

  // Class activation maps (arXiv:1512.04150): a network that ends in a mean and one layer of weights.
  function hasActivationMap({ layers }) {
    const [mean, last] = layers.slice(-2);
    return mean.kind === "mean" && (last.kind === "linear" || last.size === 1);
  }

  // How much each place speaks for a digit: { side, values }, nothing below zero.
  function activationMap(network, pixels, digit) {
    const { channels, side, values } = mnistLab.runLayers(network, pixels).at(-3);
    const weights = network.layers.at(-1).weight.subarray(digit * channels, (digit + 1) * channels);
    const summed = Array.from({ length: side * side }, (_, place) =>
      weights.reduce((sum, weight, channel) => sum + weight * values[channel * side * side + place], 0),
    );
    return { side, values: summed.map((value) => Math.max(value, 0)) };
  }

  Object.assign(mnistLab, { makeInside, hasActivationMap, activationMap });
})((globalThis.mnistLab ??= {}));
