// Makes a screenshot small: at most 256 colours, which is what flat pictures of text need, and the best compression.

import { crc32, deflateSync, inflateSync } from "node:zlib";

const MOST_COLOURS = 256;
const FREQUENT = 208;

/** The same picture. `png` has 8 bits per channel, with or without alpha, and is not interlaced, as browsers make them. */
export function smallPng(png) {
  const { width, height, channels, data } = read(png);
  const pixels = unfiltered(data, width * channels, height, channels);
  const { palette, indexes } = quantized(pixels, channels);
  const rows = Buffer.alloc((width + 1) * height);
  for (let y = 0; y < height; y++) rows.set(indexes.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 3, 0, 0, 0], 8);
  return Buffer.concat([
    png.subarray(0, 8),
    chunk("IHDR", head),
    chunk("PLTE", Buffer.from(palette.flat())),
    chunk("IDAT", deflateSync(rows, { level: 9, memLevel: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function read(png) {
  const data = [];
  for (let at = 8; at < png.length; at += png.readUInt32BE(at) + 12) {
    if (png.toString("latin1", at + 4, at + 8) === "IDAT")
      data.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  }
  const channels = { 2: 3, 6: 4 }[png[25]];
  return {
    width: png.readUInt32BE(16),
    height: png.readUInt32BE(20),
    channels,
    data: inflateSync(Buffer.concat(data)),
  };
}

/** The plain bytes of all rows: each row is stored as differences from its neighbours (PNG, section 9). */
function unfiltered(data, size, height, step) {
  const out = Buffer.alloc(size * height);
  for (let y = 0; y < height; y++) {
    const kind = data[y * (size + 1)];
    for (let x = 0; x < size; x++) {
      const at = y * size + x;
      const left = x >= step ? out[at - step] : 0;
      const up = y > 0 ? out[at - size] : 0;
      const corner = x >= step && y > 0 ? out[at - size - step] : 0;
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][kind];
      out[at] = data[y * (size + 1) + 1 + x] + guess;
    }
  }
  return out;
}

function paeth(left, up, corner) {
  const [a, b, c] = [left, up, corner].map((value) => Math.abs(left + up - corner - value));
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}

/** The most frequent colours, and for each pixel the index of the nearest of them. */
function quantized(pixels, channels) {
  const counts = new Map();
  const colours = new Uint32Array(pixels.length / channels);
  for (let at = 0; at < colours.length; at++) {
    const colour = pixels.readUIntBE(at * channels, 3);
    colours[at] = colour;
    counts.set(colour, (counts.get(colour) ?? 0) + 1);
  }
  const palette = chosen([...counts].sort((a, b) => b[1] - a[1]).map(([colour]) => parts(colour)));
  const nearest = new Map([...counts.keys()].map((colour) => [colour, closest(parts(colour), palette)]));
  return { palette, indexes: Uint8Array.from(colours, (colour) => nearest.get(colour)) };
}

/** Most of the palette are the most frequent colours, the rest those that are least like any of them: a single red
 * word stays red. */
function chosen(colours) {
  const palette = colours.slice(0, FREQUENT);
  const others = colours
    .slice(FREQUENT)
    .map((colour) => ({ colour, far: distance(colour, palette[closest(colour, palette)]) }));
  while (palette.length < MOST_COLOURS && others.length > 0) {
    const next = others.reduce((best, one) => (one.far > best.far ? one : best)).colour;
    palette.push(next);
    for (const one of others) one.far = Math.min(one.far, distance(one.colour, next));
  }
  return palette;
}

function parts(colour) {
  return [colour >> 16, (colour >> 8) & 255, colour & 255];
}

function distance([red, green, blue], [r, g, b]) {
  return (r - red) ** 2 + (g - green) ** 2 + (b - blue) ** 2;
}

function closest(colour, palette) {
  let [best, least] = [0, Infinity];
  palette.forEach((other, index) => {
    const far = distance(colour, other);
    if (far < least) [best, least] = [index, far];
  });
  return best;
}

function chunk(name, body) {
  const size = Buffer.alloc(4);
  const check = Buffer.alloc(4);
  const named = Buffer.concat([Buffer.from(name, "latin1"), body]);
  size.writeUInt32BE(body.length);
  check.writeUInt32BE(crc32(named));
  return Buffer.concat([size, named, check]);
}
