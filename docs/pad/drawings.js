// What becomes of a drawing: a link that holds it, and a file of many that `load_data` reads.

(function (mnistLab) {
  "use strict";

  const STEPS = 1000; // of the pad's side: a link holds each point as two whole numbers

  // Strokes as text for a link: x.y~x.y of a stroke, strokes parted by "_".
  function toLink(strokes) {
    const number = (value) => Math.round(value * STEPS).toString(36);
    return strokes.map((stroke) => stroke.map((point) => point.map(number).join(".")).join("~")).join("_");
  }

  // Null for a text that holds no strokes.
  function fromLink(text) {
    text = text.replaceAll("%7E", "~").replaceAll("%7e", "~"); // as some programs write it
    if (!/^[-0-9a-z.~_]+$/.test(text)) return null;
    const number = (value) => parseInt(value, 36) / STEPS;
    const strokes = text.split("_").map((stroke) => stroke.split("~").map((point) => point.split(".").map(number)));
    const sound = strokes.flat().every((point) => point.length === 2 && point.every(Number.isFinite));
    return sound ? strokes : null;
  }

  // An .npz of images [N, 28, 28] and labels [N]: a zip archive, nothing compressed, of two .npy.
  function toNpz(drawings) {
    const images = new Uint8Array(drawings.length * 784);
    drawings.forEach(({ pixels }, i) => images.set(pixels, i * 784));
    const labels = Uint8Array.from(drawings, ({ label }) => label);
    return zip({
      "images.npy": npy(images, [drawings.length, 28, 28]),
      "labels.npy": npy(labels, [drawings.length]),
    });
  }

  const ascii = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

  function npy(bytes, shape) {
    const length = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
    const header = `{'descr': '|u1', 'fortran_order': False, 'shape': (${length}), }`;
    const padded = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + "\n";
    return join([ascii("\x93NUMPY\x01\x00"), bytesOf([padded.length, 2]), ascii(padded), bytes]);
  }

  // Whole numbers of so many bytes each, the lowest byte first.
  function bytesOf(...numbers) {
    return Uint8Array.from(
      numbers.flatMap(([value, size]) => Array.from({ length: size }, (_, i) => Math.floor(value / 256 ** i) % 256)),
    );
  }

  function join(parts) {
    const joined = new Uint8Array(parts.reduce((before, part) => before + part.length, 0));
    let place = 0;
    for (const part of parts) {
      joined.set(part, place);
      place += part.length;
    }
    return joined;
  }

  function zip(files) {
    const parts = [];
    const directory = [];
    let place = 0;
    for (const [name, bytes] of Object.entries(files)) {
      const about = [
        [20, 2], [0, 2], [0, 2], [0, 2], [33, 2], // version, flags, stored, time, 1 January 1980
        [checksum(bytes), 4], [bytes.length, 4], [bytes.length, 4], [name.length, 2], [0, 2],
      ];
      const local = join([bytesOf([0x04034b50, 4], ...about), ascii(name), bytes]);
      const rest = [[0, 2], [0, 2], [0, 2], [0, 4], [place, 4]];
      directory.push(join([bytesOf([0x02014b50, 4], [20, 2], ...about, ...rest), ascii(name)]));
      parts.push(local);
      place += local.length;
    }
    const index = join(directory);
    const count = directory.length;
    const end = [[0x06054b50, 4], [0, 2], [0, 2], [count, 2], [count, 2], [index.length, 4], [place, 4], [0, 2]];
    return join([...parts, index, bytesOf(...end)]);
  }

  function checksum(bytes) {
    let sum = 0xffffffff;
    for (const byte of bytes) {
      sum ^= byte;
      for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
    }
    return (sum ^ 0xffffffff) >>> 0;
  }

  Object.assign(mnistLab, { toLink, fromLink, toNpz });
})((globalThis.mnistLab ??= {}));
