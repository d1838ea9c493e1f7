// Every layer and head at once, on one canvas: a row a layer, a column a head.

import { make, refill, setAttribute, setText } from "explorer/dom.js";
import { chosen, mapOf, MEAN, ROLLOUT } from "explorer/maps.js";
import { GLASS, paintInto } from "explorer/paint.js";
import { shared } from "explorer/stage.js";
import { activePane, changePane, onChange, state } from "explorer/state.js";
import { percent, whereName } from "explorer/words.js";

const FINEST = 28; // pixels of a small map
const GAP = 1;
const TALLEST = 620; // CSS pixels of the sheet

const host = document.getElementById("sheet");
const canvas = make("canvas", { "aria-hidden": "true" });
const marked = make("div", { class: "cell chosen" });
const hovered = make("div", { class: "cell", hidden: true });
const field = make("div", { class: "field", tabindex: 0, role: "application", "aria-roledescription": "sheet of small maps" }, canvas, hovered, marked);
const above = make("div", { class: "above", "aria-hidden": "true" });
const beside = make("div", { class: "beside", "aria-hidden": "true" });
const told = make("p", { class: "note told" });
host.append(make("div", { class: "grid" }, above, beside, field), told);
let over = null; // the cell below the pointer
let painted = "";

export const startSheet = () => {
  onChange(draw);
  field.addEventListener("pointermove", (event) => hover(cellAt(event)));
  field.addEventListener("pointerleave", () => hover(null));
  field.addEventListener("click", (event) => choose(cellAt(event)));
  new ResizeObserver(() => fit()).observe(host);
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

export const sheetHasFocus = () => document.activeElement === field;

const cellAt = (event) => {
  const { view } = activePane();
  if (!view) return null;
  const box = canvas.getBoundingClientRect();
  const heads = headsOf(view);
  const part = (at, start, length, count) => Math.min(count - 1, Math.max(0, Math.floor(((at - start) / length) * count)));
  const layer = part(event.clientY, box.top, box.height, view.metas.length);
  return { layer, head: heads[part(event.clientX, box.left, box.width, heads.length)] };
};

const choose = (cell) => {
  const { view } = activePane();
  if (cell && !view.metas[cell.layer].unseen && !(cell.head >= view.metas[cell.layer].heads)) changePane(cell);
};

const hover = (cell) => {
  over = cell;
  place();
};

const draw = () => {
  const { view } = activePane();
  host.hidden = !view;
  if (!view) return;
  const heads = headsOf(view);
  refill(above, heads.join(), () => heads.map((head) => make("span", {}, head === MEAN ? "mean" : head === ROLLOUT ? "roll" : `${head + 1}`)));
  refill(beside, view.metas.length, () => view.metas.map((meta, layer) => make("span", {}, `${layer + 1}`)));
  const key = JSON.stringify([view.number, view.layers.filter(Boolean).length, view.rollout.length, state.place, state.direction, state.shared]);
  if (key !== painted) paint(view, heads);
  painted = key;
  const current = document.activeElement === field ? `: ${whereName(activePane().layer, activePane().head)}` : "";
  setAttribute(field, "aria-label", `All layers and heads${current}. Arrow keys choose.`);
  place();
};

const size = { width: 0, height: 0 };

const paint = (view, heads) => {
  const maps = view.metas.map((_, layer) => heads.map((head) => {
    const weights = chosen(view, layer, head);
    return weights && mapOf(weights, state.place, state.direction);
  }));
  const drawn = maps.flat().filter((map) => map?.patches.length);
  shared.most = Math.max(0, ...drawn.filter((map) => !map.low).map((map) => map.top));
  const most = (side) => Math.min(FINEST, Math.max(4, ...drawn.map((map) => map.layout[side])));
  const [width, height] = [most("columns") + GAP, most("rows") + GAP];
  const total = { width: width * heads.length - GAP, height: height * maps.length - GAP };
  if (canvas.width !== total.width || canvas.height !== total.height) {
    Object.assign(canvas, total);
    Object.assign(size, total);
    fit();
  }
  const context = canvas.getContext("2d");
  const image = context.createImageData(total.width, total.height);
  const pixels = new Uint32Array(image.data.buffer);
  maps.forEach((row, layer) => row.forEach((map, column) => {
    if (!map?.patches.length) return;
    const scale = state.shared && !map.low ? shared.most : map.top;
    paintInto(pixels, total.width, column * width, layer * height, width - GAP, height - GAP, map, scale, GLASS);
  }));
  context.putImageData(image, 0, 0);
};

/** As wide as there is room, in whole device pixels a patch where that costs little. */
const fit = () => {
  if (!size.width) return;
  const room = host.clientWidth - beside.offsetWidth - 4;
  const ratio = window.devicePixelRatio || 1;
  const wanted = Math.min(room, (TALLEST * size.width) / size.height);
  const whole = (Math.floor((wanted * ratio) / size.width) * size.width) / ratio;
  field.style.width = `${whole > 0.82 * wanted ? whole : wanted}px`;
  field.style.aspectRatio = `${size.width} / ${size.height}`;
  host.style.setProperty("--field", field.style.width);
};

const place = () => {
  const pane = activePane();
  if (!pane.view) return;
  const heads = headsOf(pane.view);
  const put = (box, cell) => {
    box.hidden = !cell || !heads.includes(cell.head);
    if (box.hidden) return;
    const part = (count) => `${100 / count}%`;
    const at = (number, count) => `${(100 * number) / count}%`;
    box.style.cssText = `left:${at(heads.indexOf(cell.head), heads.length)};top:${at(cell.layer, pane.view.metas.length)};width:${part(heads.length)};height:${part(pane.view.metas.length)}`;
  };
  put(marked, pane);
  put(hovered, over);
  setText(told, words(pane.view, over ?? pane));
};

const words = (view, { layer, head }) => {
  const { name, unseen } = view.metas[layer];
  if (unseen) return `Layer ${layer + 1} (${name}) is not drawn: ${unseen}.`;
  const weights = chosen(view, layer, head);
  const map = weights && mapOf(weights, state.place, state.direction);
  const top = map?.patches.length ? `: brightest patch ${percent(map.top)}` : "";
  return `${whereName(layer, head)} (${name})${top}`;
};
