// Predictions, attribution maps, features of the patches, and what changes without parts of the model.

import { make, refill, setAttribute, setText } from "explorer/dom.js";
import { extremes } from "explorer/maps.js";
import { BOTH, LIGHT, paintCanvas, TINT } from "explorer/paint.js";
import { outline, relevance } from "explorer/source.js";
import { activePane, change, onChange, redraw, state } from "explorer/state.js";
import { cellName, imageName, valueWords, withoutWords } from "explorer/words.js";

const host = document.getElementById("predictions");
const features = document.getElementById("features");
const colours = features.querySelector("img");
const heading = document.getElementById("predictions-title");
const classes = document.getElementById("classes");
const methods = make("select", { id: "method", onchange: () => change({ method: methods.selectedIndex }) });
const image = make("img", { alt: "" });
const canvas = make("canvas", { class: "map", "aria-hidden": "true" });
const lead = make("div", { class: "lead" });
const seams = make("div", { class: "seams", hidden: true });
const glass = make("div", { class: "panes glass", role: "img" }, image, canvas, lead, seams);
const said = make("p", { class: "said", "aria-live": "polite" });
const clock = make("p", { class: "note", "aria-hidden": "true" });
let ticking = 0;
let soon = 0;
let current = null;
document.getElementById("relevance").append(
  make("div", { class: "head" }, make("label", { for: "method" }, "Method"), methods),
  glass,
  said,
  clock,
);
methods.append(...outline.methods.map(([, title]) => make("option", {}, title)));

export const startPredictions = () => onChange(draw);

export const nextMethod = () => change({ method: (state.method + 1) % outline.methods.length });

export const nextClass = () => {
  const { view } = activePane();
  if (!view?.predictions.length) return;
  const order = view.predictions.map(({ index }) => index);
  change({ classIndex: order[(order.indexOf(classOf(view)) + 1) % order.length] });
};

/** The chosen class where the view predicts it, else the most probable. */
const classOf = (view) =>
  (view.predictions.find(({ index }) => index === state.classIndex) ?? view.predictions[0])?.index ?? null;

/** The first that has a map: where the output is neither classes nor an embedding, one that depends on neither; for texts BEST_FOR_TEXTS of explain.py. */
const firstMethod = ({ output }) => {
  const number = { texts: outline.methods.findIndex(([name]) => name === "generic"), other: outline.methods.findIndex(([, , byClass]) => !byClass) }[output];
  return Math.max(0, number ?? 0);
};

const HEADINGS = {
  classes: "Predictions, and where they come from",
  texts: "Texts, and which patches meet them",
  embedding: "Where the embedding comes from",
  other: "Through all layers",
};
const NO_CLASSES = {
  embedding: "This model predicts no classes: its output is an embedding. Methods that explain a class explain the embedding's own direction.",
  other: "This model predicts no class of the image, so there are no probabilities; its attention and features are shown.",
};

const draw = () => {
  const { view } = activePane();
  host.hidden = !view;
  if (!view) return;
  if (state.method === null) state.method = firstMethod(view);
  setText(heading, outline.methods.length ? HEADINGS[view.output] : "Predictions");
  document.getElementById("words-note").hidden = view.output !== "texts";
  drawClasses(view);
  drawFeatures(view);
  drawRelevance(view);
};

const drawClasses = (view) => {
  const chosenClass = classOf(view);
  const rows = view.changes?.length ? view.changes : view.predictions.map(({ index, name, kind, probability }) => ({ index, name, kind, before: probability, after: probability }));
  refill(classes, JSON.stringify([view.served, rows]), () =>
    rows.length ? rows.map((row) => classRow(view, row, Boolean(view.changes))) : [make("li", { class: "note" }, NO_CLASSES[view.output])],
  );
  for (const row of classes.querySelectorAll("button")) {
    setAttribute(row, "aria-pressed", Number(row.dataset.index) === chosenClass);
  }
};

const part = (value) => `${100 * Math.min(1, Math.max(0, value))}%`;

const classRow = (view, { index, name, kind, before, after }, changed) => {
  const known = view.predictions.some((prediction) => prediction.index === index);
  const value = changed ? `${valueWords(before, kind)} → ${valueWords(after, kind)}` : valueWords(after, kind);
  const bar = make("div", { class: "bar", "aria-hidden": "true" }, make("i", { style: `width:${part(after)}` }));
  if (changed) bar.append(make("u", { style: `left:${part(before)}` }));
  const properties = { type: "button", "data-index": index, disabled: !known, onclick: () => change({ classIndex: index }) };
  return make("li", { class: kind }, make("button", properties, make("span", {}, name), make("span", {}, value), bar));
};

/** Three principal components of the last patches: patches of one colour are alike to the model. */
const drawFeatures = (view) => {
  features.hidden = !view.features;
  if (!view.features) return;
  setAttribute(colours, "src", view.features);
  setAttribute(colours, "alt", "Principal components of the patches as colours");
  setAttribute(colours, "style", `aspect-ratio:${view.size[1]}/${view.size[0]}`);
};

const drawRelevance = (view) => {
  document.getElementById("relevance").hidden = !outline.methods.length;
  if (!outline.methods.length) return;
  const [name, title, byClass] = outline.methods[state.method];
  if (methods.selectedIndex !== state.method) methods.selectedIndex = state.method;
  const only = outline.live && byClass ? classOf(view) : null;
  const asked = (view.relevance[`${name} ${only}`] ??= { known: null, since: 0 });
  if (asked !== current) {
    current = asked;
    if (asked.failed) Object.assign(asked, { known: null, since: 0, failed: false }); // asked again when it is chosen again
    clearTimeout(soon);
    // Who leafs through the methods does not make the model work on each.
    if (!asked.since) soon = setTimeout(() => find(asked, view.served, name, only), outline.live ? 300 : 0);
  }
  if (!asked.known) return wait(view, title, asked);
  setText(clock, "");
  const { problem, maps } = asked.known;
  const map = maps.find(({ index }) => index === null || index === classOf(view));
  canvas.hidden = !map;
  setAttribute(glass, "style", `--aspect:${view.size[1]}/${view.size[0]};--h:${map?.layout.rows ?? 1};--w:${map?.layout.columns ?? 1}`);
  lead.hidden = !map;
  seams.hidden = !view.frames;
  if (view.frames) setAttribute(seams, "style", `--h:${view.frames.rows};--w:${view.frames.columns}`);
  const shown = !map || state.glass === "light" ? view.image : view.grey;
  if (image.src !== shown) image.src = shown;
  glass.classList.toggle("small", Math.min(...view.size) <= 128);
  if (map) paint(map);
  setText(said, map ? words(view, title, map) : `${title} has no map here${problem ? `: ${problem}` : ""}.`);
  setAttribute(glass, "aria-label", `${imageName(view.number)}. ${said.textContent}`);
};

/** Says that a method is at work, and for how long; all else on the page can be used meanwhile. */
const wait = (view, title, asked) => {
  canvas.hidden = lead.hidden = true;
  if (image.src !== view.image) image.src = view.image;
  setAttribute(glass, "style", `--aspect:${view.size[1]}/${view.size[0]}`);
  setText(said, `${title} is being worked out${withoutWords(view.removed)}. Go on meanwhile: the map comes when it is there.`);
  const seconds = asked.since ? Math.floor((Date.now() - asked.since) / 1000) : 0;
  setText(clock, seconds < 2 ? "" : `${seconds} s so far`);
  setAttribute(glass, "aria-label", `${imageName(view.number)}. ${said.textContent}`);
  clearTimeout(ticking);
  ticking = setTimeout(redraw, 1000);
};

const find = async (asked, number, name, only) => {
  asked.since = Date.now();
  try {
    asked.known = await relevance(number, name, only);
  } catch (error) {
    Object.assign(asked, { known: { problem: error.message, maps: [] }, failed: true });
  }
  redraw();
};

const paint = (map) => {
  const signed = map.patches.some((value) => value < 0);
  const { top, low } = extremes(signed ? map.patches.map(Math.abs) : map.patches, !signed);
  paintCanvas(canvas, { ...map, low }, top, signed ? BOTH : state.glass === "light" ? LIGHT : TINT);
};

const words = (view, method, map) => {
  const { name, kind } = view.predictions.find(({ index }) => index === map.index) ?? {};
  const each = kind === "word" ? `for the word “${name}”, its part of the similarity` : kind === "text" ? `for “${name}”` : `for ${name}`;
  const same = `the same for every ${view.output === "texts" ? "text" : "class"}`;
  const about = { classes: map.index === null ? same : each, texts: map.index === null ? same : each, embedding: "for the embedding" }[view.output] ?? "for any output";
  const against = map.patches.some((value) => value < 0) ? " Blue speaks against it." : "";
  return `${method[0].toUpperCase()}${method.slice(1)}${withoutWords(view.removed)}, ${about}: strongest at ${cellName({ ...map.layout, frames: view.frames }, extremes(map.patches).best)}.${against}`;
};
