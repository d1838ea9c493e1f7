// Every layer and head of a pane at once, on one canvas: a row a layer, a column a head.

import { make, refill, setAttribute, setText } from "explorer/dom.js";
import { chosen, mapOf, MEAN, resolved, ROLLOUT } from "explorer/maps.js";
import { GLASS, paintInto } from "explorer/paint.js";
import { shared } from "explorer/stage.js";
import { activePane, change, changePane, onChange, redraw, state } from "explorer/state.js";
import { percent, whereName } from "explorer/words.js";

const FINEST = 28; // pixels of a small map
const GAP = 1;
const TALLEST = 680; // CSS pixels of a sheet
const MANY = 16; // columns that need more room beside the image

const host = document.getElementById("sheets");
const built = [];

export const startSheets = () => {
  onChange(draw);
};

/** The sheet's columns for a view, as heads. */
export const headsOf = (view) => [
  MEAN,
  ...Array.from({ length: view.columns }, (_, head) => head),
  ...(view.rollout.length ? [ROLLOUT] : []),
];

/** Choose the next layer or head, for keys; heads that a layer does not have are passed over. */
export const move = (layers, heads) => {
  const pane = activePane();
  if (!pane.view) return;
  const order = headsOf(pane.view);
  const at = Math.min(order.length - 1, Math.max(0, order.indexOf(pane.head) + heads));
  const layer = Math.min(pane.view.metas.length - 1, Math.max(0, pane.layer + layers));
  const most = pane.view.metas[layer].heads ?? pane.view.columns;
  let head = order[at];
  if (head >= most) head = heads > 0 && order.at(-1) === ROLLOUT ? ROLLOUT : most - 1;
  changePane({ layer, head });
};

export const sheetHasFocus = () => built.some(({ field }) => document.activeElement === field);

const draw = () => {
  host.parentElement.hidden = !state.panes[0].view;
  while (built.length > state.panes.length) built.pop().root.remove();
  while (built.length < state.panes.length) host.append(built[built.push(build(built.length)) - 1].root);
  setAttribute(host, "data-panes", state.panes.length);
  host.closest(".work").classList.toggle("wide", state.panes.some(({ view }) => view && headsOf(view).length > MANY));
  shared.most = 0;
  state.panes.forEach((pane, index) => pane.view && drawSheet(built[index], pane, index));
};

const build = (index) => {
  const sheet = {
    canvas: make("canvas", { "aria-hidden": "true" }),
    marked: make("div", { class: "cell chosen" }),
    hovered: make("div", { class: "cell", hidden: true }),
    above: make("div", { class: "above", "aria-hidden": "true" }),
    beside: make("div", { class: "beside", "aria-hidden": "true" }),
    reading: make("p", { class: "note reading" }),
    missing: make("p", { class: "note missing" }),
    over: null, // the cell below the pointer
    painted: "",
    most: 0,
    room: 0,
  };
  const role = { tabindex: 0, role: "application", "aria-roledescription": "sheet of small maps" };
  sheet.field = make("div", { class: "field", ...role }, sheet.canvas, sheet.hovered, sheet.marked);
  sheet.root = make("div", { class: "sheet" }, make("div", { class: "grid" }, sheet.above, sheet.beside, sheet.field), sheet.reading, sheet.missing);
  const hover = (cell) => {
    sheet.over = cell;
    place(sheet, state.panes[index]);
  };
  const choose = (event) => {
    const pane = state.panes[index];
    const cell = cellAt(sheet, pane.view, event);
    if (cell && isThere(pane.view, cell)) changePane(cell, pane);
    if (state.active !== index) change({ active: index });
  };
  sheet.field.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse") hover(cellAt(sheet, state.panes[index].view, event));
    else choose(event); // a finger covers what it points at: slide to the right one
  });
  sheet.field.addEventListener("pointerleave", () => hover(null));
  sheet.field.addEventListener("focus", () => state.active !== index && change({ active: index }));
  sheet.field.addEventListener("click", choose);
  // Measured here, when it changes: to ask while drawing would lay the page out twice a frame.
  new ResizeObserver(() => {
    sheet.room = sheet.root.clientWidth - sheet.beside.offsetWidth - 8;
    redraw();
  }).observe(sheet.root);
  return sheet;
};

const isThere = ({ metas }, { layer, head }) => !metas[layer].unseen && !(head >= metas[layer].heads);

const cellAt = ({ canvas }, view, event) => {
  if (!view) return null;
  const box = canvas.getBoundingClientRect();
  const heads = headsOf(view);
  const part = (at, start, length, count) => Math.min(count - 1, Math.max(0, Math.floor(((at - start) / length) * count)));
  const layer = part(event.clientY, box.top, box.height, view.metas.length);
  return { layer, head: heads[part(event.clientX, box.left, box.width, heads.length)] };
};

const NAMES = { [MEAN]: "mean", [ROLLOUT]: "roll" };

/** Layers that are not drawn, by their reason. */
const missing = ({ metas }) => {
  const reasons = new Map();
  metas.forEach(({ unseen }, layer) => unseen && reasons.set(unseen, [...(reasons.get(unseen) ?? []), layer]));
  const named = (layers) => `Layer${layers.length > 1 ? "s" : ""} ${layers.map((layer) => layer + 1).join(", ")}`;
  return [...reasons].map(([reason, layers]) => `${named(layers)} not drawn: ${reason}.`).join(" ");
};

const drawSheet = (sheet, pane, index) => {
  const { view } = pane;
  const heads = headsOf(view);
  refill(sheet.above, heads.join(), () => heads.map((head) => make("span", {}, NAMES[head] ?? `${head + 1}`)));
  refill(sheet.beside, view.metas.length, () => view.metas.map((_, layer) => make("span", {}, `${layer + 1}`)));
  const { room } = sheet;
  const here = [view.served, view.layers.filter(Boolean).length, view.rollout.length, room];
  const key = JSON.stringify([...here, state.place, state.direction, state.shared]);
  if (key !== sheet.painted && room > 0) {
    paint(sheet, view, heads, room);
    sheet.painted = key;
  }
  shared.most = Math.max(shared.most, sheet.most);
  const letter = state.panes.length > 1 ? ` of ${"AB"[index]}` : "";
  setText(sheet.missing, missing(view));
  const current = `${whereName(pane.layer, pane.head)} is chosen`;
  setAttribute(sheet.field, "aria-label", `All layers and heads${letter}. ${current}. Arrow keys choose.`);
  place(sheet, pane);
};

const paint = (sheet, view, heads, room) => {
  const maps = view.metas.map((_, layer) => heads.map((head) => {
    const weights = chosen(view, layer, head);
    return weights && mapOf(weights, resolved(view, state.place), state.direction);
  }));
  const drawn = maps.flat().filter((map) => map?.patches.length);
  sheet.most = Math.max(0, ...drawn.filter((map) => !map.low).map((map) => map.top));
  // Never more pixels than the screen has: a patch that fell between two of them would be lost.
  const pixels = Math.floor((room * (window.devicePixelRatio || 1)) / heads.length) - GAP;
  const most = (side) => {
    const cells = Math.max(1, ...drawn.map((map) => map.layout[side]));
    const repeated = cells * Math.max(1, Math.floor(16 / cells)); // of a coarse grid, so that the gap stays thin
    return Math.max(4, cells > pixels ? pixels : Math.min(repeated, FINEST, Math.floor(pixels / cells) * cells));
  };
  const [width, height] = [most("columns") + GAP, most("rows") + GAP];
  const size = { width: width * heads.length - GAP, height: height * maps.length - GAP };
  if (sheet.canvas.width !== size.width || sheet.canvas.height !== size.height) Object.assign(sheet.canvas, size);
  const fitted = JSON.stringify([size, room]);
  if (fitted !== sheet.fitted) fit(sheet, size, room, heads.length);
  sheet.fitted = fitted;
  const context = sheet.canvas.getContext("2d");
  const image = context.createImageData(size.width, size.height);
  const target = new Uint32Array(image.data.buffer);
  const [frame, empty] = coloursOf(sheet.field);
  maps.forEach((row, layer) => row.forEach((map, column) => {
    if (!isThere(view, { layer, head: heads[column] })) return;
    fill(target, size, column * width, layer * height, width, height, frame);
    if (!map?.patches.length) return fill(target, size, column * width, layer * height, width - GAP, height - GAP, empty);
    const scale = state.shared && !map.low ? sheet.most : map.top;
    paintInto(target, size.width, column * width, layer * height, width - GAP, height - GAP, map, scale, GLASS);
  }));
  context.putImageData(image, 0, 0);
};

/** What frames small maps, and what stands where a layer has none for this question. */
const coloursOf = (field) => {
  const style = getComputedStyle(field);
  return [style.outlineColor, style.backgroundColor].map((colour) => {
    const [red, green, blue] = colour.match(/\d+/g).map(Number);
    return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  });
};

const fill = (target, size, left, top, width, height, word) => {
  const right = Math.min(size.width, left + width);
  for (let row = top; row < Math.min(size.height, top + height); row += 1) target.fill(word, row * size.width + left, row * size.width + right);
};

/** As wide as there is room, in whole device pixels a patch where that costs little. */
const fit = ({ field, root }, { width, height }, room, columns) => {
  const ratio = window.devicePixelRatio || 1;
  const wanted = Math.min(room, (TALLEST * width) / height);
  const whole = (Math.floor((wanted * ratio) / width) * width) / ratio;
  const taken = whole > 0.82 * wanted ? whole : wanted;
  root.style.setProperty("--field", `${taken}px`);
  root.classList.toggle("tight", taken / columns < 18); // every second number has to do
  root.style.setProperty("--name", `${Math.min(12, Math.max(9, (0.4 * taken) / columns))}px`);
  field.style.aspectRatio = `${width} / ${height}`;
};

const place = (sheet, pane) => {
  if (!pane.view) return;
  const heads = headsOf(pane.view);
  const put = (box, cell) => {
    box.hidden = !cell || !heads.includes(cell.head);
    if (box.hidden) return;
    const part = (count) => `${100 / count}%`;
    const at = (number, count) => `${(100 * number) / count}%`;
    const rows = pane.view.metas.length;
    const style = `left:${at(heads.indexOf(cell.head), heads.length)};top:${at(cell.layer, rows)};width:${part(heads.length)};height:${part(rows)}`;
    setAttribute(box, "style", style);
  };
  put(sheet.marked, pane);
  put(sheet.hovered, sheet.over);
  setText(sheet.reading, words(pane.view, sheet.over ?? pane));
};

const words = (view, { layer, head }) => {
  const { name, unseen } = view.metas[layer];
  if (unseen) return `Layer ${layer + 1} (${name}) is not drawn: ${unseen}.`;
  if (!isThere(view, { layer, head })) return `Layer ${layer + 1} (${name}) has ${view.metas[layer].heads} heads.`;
  const weights = chosen(view, layer, head);
  const map = weights && mapOf(weights, resolved(view, state.place), state.direction);
  const top = map?.patches.length ? `: brightest patch ${percent(map.top)}` : "";
  return `${whereName(layer, head)} (${name})${top}`;
};
