// From weights and a question to a map over the image. A question is a place: { lead: 0 } for a prefix token,
// { y, x } on a scale where the image's sides are 1, { all: true } for all patches together, or { read: true } for
// what the head reads, which `resolved` replaces by one of the others or by { leads: [0, 1], patches: false }. With
// { frame: 2, area: [top, left, bottom, right] } it is the patches of a frame, with { query: 3, y, x } a query of a detector's decoder; layers without these queries are asked the patch at y, x.

import { Dense } from "explorer/decode.js";

export const MEAN = -1;
export const ROLLOUT = -2;

const readBy = ({ reads: { prefix, patches } }) => {
  if (!prefix.length) return { all: true };
  return prefix.length === 1 && !patches ? { lead: prefix[0] } : { leads: prefix, patches };
};

/** A place of a view, with the tokens for "what the head reads". */
export const resolved = (view, place) => (place.read ? readBy(view) : place);

/** The question about the query of an object: in other layers the patch in the middle of its box. */
export const placeOf = ({ objects }, query) => {
  const { left, top, right, bottom } = objects[query];
  return { query, y: Math.min(0.9999, (top + bottom) / 2), x: Math.min(0.9999, (left + right) / 2) };
};

/** The numbers of the queries whose objects are above the threshold, the most probable first; the best if none is. */
export const found = ({ objects }) => {
  const order = objects.map((_, query) => query).sort((a, b) => objects[b].score - objects[a].score);
  return order.slice(0, Math.max(1, objects.filter(({ shown }) => shown).length));
};

/** The patch at a place. */
export const cellAt = ({ rows, columns, cover }, { y, x }) => {
  const cell = Math.min(rows - 1, Math.floor(y * rows)) * columns + Math.min(columns - 1, Math.floor(x * columns));
  return cover ? cover[cell] : cell;
};

/** The sides of a patch, in cells: top, left, bottom, right. */
export const spanOf = ({ columns, spans }, cell) => {
  if (spans) return spans[cell];
  const [row, column] = [Math.floor(cell / columns), cell % columns];
  return [row, column, row + 1, column + 1];
};

/** Whether a patch has other cells than all of a rectangle: one that was merged from patches here and there. */
export const isScattered = ({ spans, members }, cell) => {
  if (!spans) return false;
  const [top, left, bottom, right] = spans[cell];
  return members[cell].length < (bottom - top) * (right - left);
};

const middle = ({ rows, columns }, [top, left, bottom, right]) => ({ y: (top + bottom) / 2 / rows, x: (left + right) / 2 / columns });

const sidesOf = ({ columns }, cell) => spanOf({ columns }, cell);

/** The middle of a patch; of its first cell, if it is scattered. */
export const middleOf = (layout, cell) =>
  middle(layout, isScattered(layout, cell) ? sidesOf(layout, layout.members[cell][0]) : spanOf(layout, cell));

/** The sides of the patch at a place; of its cell there, if it is scattered. */
export const sidesAt = (layout, place) => {
  const cell = cellAt(layout, place);
  return isScattered(layout, cell) ? sidesOf(layout, cellAt({ ...layout, cover: null }, place)) : spanOf(layout, cell);
};

/** The middle of `sidesAt`. */
export const middleAt = (layout, place) => middle(layout, sidesAt(layout, place));

/** The number of the token at a place; -1 where the layer has none there. */
export const tokenAt = (layout, place) => {
  if ("lead" in place) return place.lead < layout.prefix ? place.lead : -1;
  const cell = layout.cells ? cellAt(layout, place) : -1;
  return cell < 0 || cell >= layout.cells ? -1 : layout.prefix + cell;
};

/** The weights that a column of the sheet stands for: a layer's heads, their mean, or the rollout up to it. */
export const chosen = (view, layer, head) => {
  const weights = view.layers[layer];
  if (!weights) return null;
  if (head === ROLLOUT) return view.rollout[layer] ? [view.rollout[layer], 0] : null;
  if (head === MEAN) return [weights.mean, 0];
  return head < weights.heads ? [weights, head] : null;
};

/** { layout, patches, lead, top, best } of a question, or null where the layer has no such token. */
export const mapOf = ([weights, head], place, direction) => {
  const from = direction === "from";
  const [asked, shown] = from ? [weights.queries, weights.keys] : [weights.keys, weights.queries];
  const patches = new Float32Array(shown.cells);
  const lead = new Float32Array(shown.prefix);
  if (asked.free && place.query < asked.prefix) weights.row(head, place.query, patches, lead);
  else if (asked.free) meanOf(weights, head, patches, lead);
  else if (place.all) weights.total(head, from, patches, lead);
  else if (place.area) areaOf(weights, head, from, asked, place.area, patches, lead);
  else if (place.leads) {
    if (place.leads.some((token) => token >= asked.prefix)) return null;
    severalOf(weights, head, from, place, patches, lead);
  } else {
    const token = tokenAt(asked, place);
    if (token < 0) return null;
    if (from) weights.row(head, token, patches, lead);
    else weights.column(head, token, patches, lead);
  }
  // A rollout differs little from patch to patch: its colours begin at its lowest value, not at 0.
  return { layout: shown, patches, lead, ...extremes(patches, weights.rolled) };
};

/** Several prefix tokens, and the patches as one more: the mean of where they look, or what each query gives to them. */
const severalOf = (weights, head, from, place, patches, lead) => {
  const parts = from ? place.leads.length + (place.patches ? 1 : 0) : 1;
  const add = (fill) => {
    const one = { patches: new Float32Array(patches.length), lead: new Float32Array(lead.length) };
    fill(one.patches, one.lead);
    one.patches.forEach((value, cell) => { patches[cell] += value / parts; });
    one.lead.forEach((value, index) => { lead[index] += value / parts; });
  };
  for (const token of place.leads) add((...one) => (from ? weights.row(head, token, ...one) : weights.column(head, token, ...one)));
  if (place.patches) add((...one) => weights.total(head, from, ...one));
};

/** The sides of each frame of a clip in its picture, on a scale where the picture's sides are 1. */
export const framesOf = ({ frames }) =>
  Array.from({ length: frames ? frames.rows * frames.columns : 0 }, (_, frame) => {
    const [row, column] = [Math.floor(frame / frames.columns), frame % frames.columns];
    return { frame, area: [row / frames.rows, column / frames.columns, (row + 1) / frames.rows, (column + 1) / frames.columns] };
  });

/** The cells of a part of the picture. */
export const cellsIn = ({ rows, columns }, [top, left, bottom, right]) => {
  const cells = [];
  for (let row = Math.round(top * rows); row < Math.round(bottom * rows); row += 1) {
    for (let column = Math.round(left * columns); column < Math.round(right * columns); column += 1) cells.push(row * columns + column);
  }
  return cells;
};

/** The patches of a part of the picture as one query, the mean of where they look, or as one key: what each query gives to them. */
const areaOf = (weights, head, from, asked, area, patches, lead) => {
  const cells = cellsIn(asked, area);
  const one = { patches: new Float32Array(patches.length), lead: new Float32Array(lead.length) };
  const share = from ? 1 / cells.length : 1;
  for (const cell of cells) {
    one.patches.fill(0);
    if (from) weights.row(head, asked.prefix + cell, one.patches, one.lead);
    else weights.column(head, asked.prefix + cell, one.patches, one.lead);
    one.patches.forEach((value, index) => { patches[index] += value * share; });
    one.lead.forEach((value, index) => { lead[index] += value * share; });
  }
};

/** Where queries that stand for no place look, if none of them is asked about: their mean. */
const meanOf = (weights, head, patches, lead) => {
  const one = { patches: new Float32Array(patches.length), lead: new Float32Array(lead.length) };
  for (let query = 0; query < weights.count; query += 1) {
    weights.row(head, query, one.patches, one.lead);
    one.patches.forEach((value, cell) => { patches[cell] += value / weights.count; });
    one.lead.forEach((value, index) => { lead[index] += value / weights.count; });
  }
};

/** The brightest cell, its value, and where colours begin. */
export const extremes = (patches, fromLowest) => {
  let best = 0;
  for (let cell = 1; cell < patches.length; cell += 1) if (patches[cell] > patches[best]) best = cell;
  const top = patches.length ? patches[best] : 0;
  return { best, top, low: fromLowest && patches.length ? patches.reduce((least, value) => Math.min(least, value), top) : 0 };
};

/** Whether attention can be followed through all layers in the page: the same tokens everywhere, not too many. */
export const canRoll = (layers) => {
  const [first] = layers;
  const same = ({ queries, whole }) =>
    whole && queries.cells === first.queries.cells && queries.prefix === first.queries.prefix;
  return layers.every((weights) => weights && same(weights)) && first.count <= 800;
};

/** Attention rollout (Abnar and Zuidema, 2020) up to a layer: its mean and the identity, times the layer before. */
export const rolled = (weights, before) => {
  const { count, mean } = weights;
  const { prefix } = weights.keys;
  const current = new Float32Array(count * count);
  for (let row = 0; row < count; row += 1) {
    const mixed = current.subarray(row * count, (row + 1) * count);
    mixed.set(mean.lead.subarray(row * prefix, (row + 1) * prefix));
    mixed.set(mean.patches.subarray(row * weights.each, (row + 1) * weights.each), prefix);
    mixed[row] += 1;
    const sum = mixed.reduce((total, value) => total + value, 0);
    for (let column = 0; column < count; column += 1) mixed[column] /= sum;
  }
  return dense(weights, before ? product(current, joined(before), count) : current);
};

const product = (left, right, count) => {
  const result = new Float32Array(count * count);
  for (let row = 0; row < count; row += 1) {
    const target = result.subarray(row * count, (row + 1) * count);
    for (let inner = 0; inner < count; inner += 1) {
      const factor = left[row * count + inner];
      const source = right.subarray(inner * count, (inner + 1) * count);
      for (let column = 0; column < count; column += 1) target[column] += factor * source[column];
    }
  }
  return result;
};

const joined = ({ patches, lead, count, each, keys: { prefix } }) => {
  const square = new Float32Array(count * count);
  for (let row = 0; row < count; row += 1) {
    square.set(lead.subarray(row * prefix, (row + 1) * prefix), row * count);
    square.set(patches.subarray(row * each, (row + 1) * each), row * count + prefix);
  }
  return square;
};

const dense = (like, square) => {
  const { count, each, keys: { prefix } } = like;
  const patches = new Float32Array(count * each);
  const lead = new Float32Array(count * prefix);
  for (let row = 0; row < count; row += 1) {
    lead.set(square.subarray(row * count, row * count + prefix), row * prefix);
    patches.set(square.subarray(row * count + prefix, (row + 1) * count), row * each);
  }
  const result = new Dense(like, patches, lead);
  result.rolled = true;
  return result;
};
