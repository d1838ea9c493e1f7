// Views, from elements of this document or from its server.

import { fromBase64, Layer } from "explorer/decode.js";
import { canRoll, rolled } from "explorer/maps.js";

const held = (id) => document.getElementById(id);
const parsed = (id) => JSON.parse(held(id).textContent);

export const outline = parsed("outline");
export const viewNumber = (model, image) => model * outline.images.length + image;
export const pairOf = (number) => [Math.floor(number / outline.images.length), number % outline.images.length];

const ask = async (path, options) => {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer any more: start vitrail explore again.");
  }
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  throw new Error(error ?? `The server answered ${response.status}.`);
};

const layerBytes = async (number, layer) => {
  if (!outline.live) return fromBase64(held(`layer-${number}-${layer}`).textContent);
  return new Uint8Array(await (await ask(`/api/layer/${number}/${layer}`)).arrayBuffer());
};

const KEPT = 8; // views without parts of the model; those of the whole model are all kept
const views = new Map();
const cut = [];

/** Whether anything is taken out. */
export const anything = ({ heads, regions }) => heads.length + regions.length > 0;

/**
 * A view with its document, without the heads and regions that are taken out. Its layers come later, one by one, and
 * `arrived` is called for each.
 */
export const openView = (number, removed, arrived) => {
  const key = JSON.stringify([number, removed.heads, removed.regions]);
  if (!views.has(key)) {
    views.set(key, load(number, removed, arrived).catch((error) => {
      views.delete(key);
      throw error;
    }));
    if (anything(removed) && cut.push(key) > KEPT) views.delete(cut.shift());
  }
  return views.get(key);
};

/** `number` names the model and the image, `served` the view on the server, `changes` the predictions before and after. */
const load = async (number, removed, arrived) => {
  const { view: served, predictions: changes } = anything(removed) ? await ablate(number, removed) : { view: number, predictions: null };
  const document = outline.live ? await (await ask(`/api/view/${served}`)).json() : parsed(`view-${number}`);
  const view = { ...document, number, served, removed, changes, metas: document.layers, layers: document.layers.map(() => null), rollout: [], relevance: {} };
  const image = new Image();
  image.src = view.image;
  view.columns = Math.max(...view.metas.map((meta) => meta.heads ?? 0));
  view.last = view.metas.findLastIndex((meta) => !meta.unseen);
  fill(view, arrived);
  await image.decode();
  view.grey = greyed(image);
  const grey = new Image();
  grey.src = view.grey;
  await grey.decode();
  view.decoded = [image, grey]; // kept, so that the page changes image and map in one frame
  return view;
};

/** The image without its colours, made once: a filter would be worked out anew for every frame above it. */
const greyed = (image) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const content = context.getImageData(0, 0, canvas.width, canvas.height);
  const { data } = content;
  for (let at = 0; at < data.length; at += 4) {
    const light = 0.2126 * data[at] + 0.7152 * data[at + 1] + 0.0722 * data[at + 2];
    for (let part = at; part < at + 3; part += 1) data[part] = 1.1 * (0.9 * light + 0.1 * data[part] - 128) + 128;
  }
  context.putImageData(content, 0, 0);
  return canvas.toDataURL("image/png");
};

/** Layers from the last, which is shown first, to the first; a pause after each lets the page answer. */
const fill = async (view, arrived) => {
  for (let layer = view.metas.length - 1; layer >= 0; layer -= 1) {
    if (view.metas[layer].unseen) continue;
    try {
      view.layers[layer] = await Layer.read(view.metas[layer], await layerBytes(view.served, layer));
    } catch (error) {
      view.metas[layer] = { ...view.metas[layer], unseen: error.message };
    }
    arrived();
    await pause();
  }
  const rolling = view.layers.filter((_, layer) => !view.metas[layer].queries?.free);
  if (!canRoll(rolling)) return;
  let before;
  for (const weights of rolling) {
    before = view.rollout[view.layers.indexOf(weights)] = rolled(weights, before);
    await pause();
  }
  arrived();
};

const pause = () => new Promise((done) => setTimeout(done));

/** { problem, maps } of a method, with the maps' values: for all classes, live only for the one that is asked about. */
export const relevance = async (number, method, only) => {
  const { problem, maps } = await findRelevance(number, method, only);
  const decoded = maps.map(({ grid: [rows, columns], step, values, class: index }) => ({
    index,
    layout: { rows, columns, prefix: 0, cells: rows * columns },
    patches: Float32Array.from(new Int16Array(fromBase64(values).buffer), (value) => value * step),
  }));
  return { problem, maps: decoded };
};

const findRelevance = async (number, method, only) => {
  if (!outline.live) return parsed(`relevance-${number}`).find((found) => found.method === method);
  const path = `/api/relevance/${number}/${encodeURIComponent(method)}`;
  return (await ask(only === null ? path : `${path}/${only}`)).json();
};

/** The number of the view without some heads and parts of the image, and its predictions; live only. */
const ablate = async (number, { heads, regions }) => {
  const body = JSON.stringify({ view: number, heads, regions });
  const headers = { "Content-Type": "application/json" };
  return (await ask("/api/ablate", { method: "POST", headers, body })).json();
};
