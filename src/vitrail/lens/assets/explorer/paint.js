// Values as colours. The ramp goes through the window's colours, lead, cobalt, ruby, amber, light, and its lightness
// rises evenly, so that it reads in grey and for colour-blind eyes.

const STOPS = ["#0b0d16", "#1f3180", "#6f2f7c", "#b8364f", "#e08a34", "#f6cf6f", "#fffbe6"];

const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
const gamma = (part) => (part <= 0.0031308 ? part * 12.92 : 1.055 * part ** (1 / 2.4) - 0.055);
const times = (rows, vector) => rows.map((row) => row.reduce((sum, factor, at) => sum + factor * vector[at], 0));

// OKLab (Ottosson, 2020).
const toLab = (hex) => {
  const rgb = [1, 3, 5].map((at) => linear(Number.parseInt(hex.slice(at, at + 2), 16) / 255));
  const lms = times([
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
  ], rgb).map(Math.cbrt);
  return times([
    [0.2104542553, 0.793617785, -0.0040720468],
    [1.9779984951, -2.428592205, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.808675766],
  ], lms);
};

const toRgb = (lab) => {
  const lms = times([
    [1, 0.3963377774, 0.2158037573],
    [1, -0.1055613458, -0.0638541728],
    [1, -0.0894841775, -1.291485548],
  ], lab).map((value) => value ** 3);
  const rgb = times([
    [4.0767416621, -3.3077115913, 0.2309699292],
    [-1.2684380046, 2.6097574011, -0.3413193965],
    [-0.0041960863, -0.7034186147, 1.707614701],
  ], lms);
  return rgb.map((part) => Math.round(255 * gamma(Math.min(1, Math.max(0, part)))));
};

const ramp = (stops) => {
  const labs = stops.map(toLab);
  const [low, high] = [labs[0][0], labs.at(-1)[0]];
  return Array.from({ length: 256 }, (_, at) => {
    const lightness = low + ((high - low) * at) / 255;
    const upper = Math.max(1, labs.findIndex(([value]) => value >= lightness - 1e-9));
    const [a, b] = [labs[upper - 1], labs[upper]];
    const part = (lightness - a[0]) / (b[0] - a[0]);
    return toRgb(a.map((value, index) => value + (b[index] - value) * part));
  });
};

const word = ([red, green, blue], alpha = 255) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
const COLOURS = ramp(STOPS);

/** 256 pixels from nothing to the most: opaque. */
export const GLASS = Uint32Array.from(COLOURS, (colour) => word(colour));
/** The same over an image. */
export const TINT = Uint32Array.from(COLOURS, (colour) => word(colour, 168));
/** The image in the dark, lit where the value is high. */
export const LIGHT = Uint32Array.from({ length: 256 }, (_, at) => {
  const lit = at / 255;
  return lit < 0.75 ? word([8, 9, 14], Math.round(222 * (1 - lit / 0.75))) : word([255, 224, 130], Math.round(150 * (lit - 0.75)));
});
/** Against (cobalt) and for (ruby to amber); the middle, 128, is nothing. */
export const BOTH = Uint32Array.from({ length: 256 }, (_, at) => {
  const side = (at - 128) / 127;
  const alpha = Math.round(215 * Math.abs(side) ** 0.7); // weak ones are seen too
  return side < 0 ? word([70, 125, 255], alpha) : word([255, 110, 45], alpha);
});

export const rampStyle = () => {
  const stops = COLOURS.filter((_, at) => at % 15 === 0).map((colour) => `rgb(${colour.join(" ")})`);
  return `linear-gradient(to right, ${stops.join(", ")})`;
};

const brightest = (patches, { rows, columns }, top, bottom, left, right) => {
  let most = -Infinity;
  const [endRow, endColumn] = [Math.ceil(bottom * rows - 1e-6), Math.ceil(right * columns - 1e-6)];
  for (let row = Math.floor(top * rows); row < endRow; row += 1) {
    for (let column = Math.floor(left * columns); column < endColumn; column += 1) {
      most = Math.max(most, patches[row * columns + column]);
    }
  }
  return most;
};

/** Fill a rectangle of `pixels` with a map: cells repeated where there is room, the brightest where there is not. */
export const paintInto = (pixels, stride, left, top, width, height, map, most, table) => {
  const { layout, low = 0 } = map;
  const patches = layout.cover ? Float32Array.from(layout.cover, (patch) => map.patches[patch] ?? 0) : map.patches;
  const signed = table === BOTH;
  const factor = most > low ? (signed ? 127 : 255) / (most - low) : 0;
  const offset = signed ? 128 : -low * factor;
  const place = (value) => (value > 255 ? 255 : value < 0 ? 0 : value | 0);
  const shrunk = layout.rows > height || layout.columns > width;
  const across = shrunk ? null : columnsOf(layout.columns, width);
  for (let row = 0; row < height; row += 1) {
    const source = Math.floor((row * layout.rows) / height) * layout.columns;
    const target = (top + row) * stride + left;
    for (let column = 0; column < width; column += 1) {
      const value = shrunk
        ? brightest(patches, layout, row / height, (row + 1) / height, column / width, (column + 1) / width)
        : patches[source + across[column]];
      pixels[target + column] = table[place(value * factor + offset)];
    }
  }
};

const known = new Map();

/** Which column of a grid each pixel shows. */
const columnsOf = (columns, width) => {
  const key = columns * 4096 + width;
  if (!known.has(key)) known.set(key, Uint16Array.from({ length: width }, (_, at) => Math.floor((at * columns) / width)));
  return known.get(key);
};

/** A map as large as its canvas: one pixel a patch. */
export const paintCanvas = (canvas, map, most, table) => {
  const { rows, columns } = map.layout;
  if (canvas.width !== columns || canvas.height !== rows) Object.assign(canvas, { width: columns, height: rows });
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  paintInto(new Uint32Array(image.data.buffer), columns, 0, 0, columns, rows, map, most, table);
  context.putImageData(image, 0, 0);
};
