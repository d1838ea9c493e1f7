// The bar: depth and playing through it, the direction, how maps are coloured, comparing.

import { make, setAttribute, setText } from "explorer/dom.js";
import { outline, viewNumber, pairOf } from "explorer/source.js";
import { activePane, change, changePane, onChange, state } from "explorer/state.js";
import { imageName, percent, readWords, valueWords, withoutWords } from "explorer/words.js";

const host = document.getElementById("controls");
const still = matchMedia("(prefers-reduced-motion: reduce)");
let open;
let timer = 0;

const toggle = (label, title, onclick) => make("button", { type: "button", class: "toggle", title, onclick }, label);

const play = make("button", { type: "button", class: "play", onclick: () => playOrStop() });
const slider = make("input", { type: "range", id: "layer", min: 1, oninput: () => changePane({ layer: slider.value - 1 }) });
const label = make("label", { for: "layer" });
const from = toggle("Where it looks", "Key D", () => change({ direction: "from" }));
const to = toggle("Who looks at it", "Key D", () => change({ direction: "to" }));
const light = toggle("Light", "Light the image instead of colouring it (key V)", () => turnGlass());
const same = toggle("One scale", "All maps on the same scale, instead of each to its own brightest patch (key S)", () => turnScale());
const compare = toggle("Compare", "Two layers, images or models side by side (key C)", () => compareOrNot());
const thumb = make("img", { class: "thumb", hidden: true });
const colour = make("input", { type: "range", id: "colour", min: 0, max: 100, value: 100, oninput: () => document.body.style.setProperty("--colour", colour.value / 100) });
const strength = make("label", { class: "strength", for: "colour" }, "Colour", colour);
const help = toggle("Keys", "All keys (key ?)", () => document.getElementById("help").showModal());

export const startControls = (openPane) => {
  open = openPane;
  document.querySelector("header").append(thumb);
  host.append(
    make("div", { class: "depth" }, play, label, slider),
    make("div", { class: "either", role: "group", "aria-label": "Direction" }, from, to),
    make("div", { class: "options" }, light, same, compare, help, strength),
  );
  onChange(draw);
};

export const turn = () => change({ direction: state.direction === "from" ? "to" : "from" });
export const turnGlass = () => change({ glass: state.glass === "light" ? "colour" : "light" });
export const turnScale = () => change({ shared: !state.shared });

/** From the first layer to the last, once; where motion is not wanted, more slowly. */
export const playOrStop = () => {
  clearInterval(timer);
  if (state.playing) return change({ playing: false });
  const pane = activePane();
  if (!pane.view) return undefined;
  if (pane.layer >= pane.view.metas.length - 1) changePane({ layer: 0 });
  timer = setInterval(() => {
    const { layer, view } = activePane();
    if (layer < view.metas.length - 1) return changePane({ layer: layer + 1 });
    clearInterval(timer);
    return change({ playing: false });
  }, still.matches ? 1500 : 600);
  return change({ playing: true });
};

/** A second pane: of the other model, or the next image, or else of half the depth. */
export const compareOrNot = () => {
  if (state.panes.length > 1) return change({ panes: [state.panes[0]], active: 0 });
  const first = state.panes[0];
  if (!first.view) return undefined;
  const [model, image] = pairOf(first.view.number);
  const second = { ...first, number: first.view.number, asked: null, waiting: "", problem: "" };
  change({ panes: [first, second], active: 1 });
  if (outline.models.length > 1) return open(second, viewNumber((model + 1) % outline.models.length, image));
  if (outline.images.length > 1) return open(second, viewNumber(model, (image + 1) % outline.images.length));
  return changePane({ layer: first.layer ? Math.floor(first.layer / 2) : first.view.metas.length - 1 }, second);
};

const draw = () => {
  const { view, layer } = activePane();
  host.hidden = !view;
  if (!view) return;
  setAttribute(slider, "max", view.metas.length);
  if (Number(slider.value) !== layer + 1) slider.value = layer + 1;
  const which = state.panes.length > 1 ? `${"AB"[state.active]}: layer` : "Layer";
  setText(label, `${which} ${layer + 1} of ${view.metas.length}`);
  setAttribute(slider, "aria-valuetext", label.textContent);
  setText(play, state.playing ? "❚❚" : "▶");
  setAttribute(play, "aria-label", state.playing ? "Stop" : "Play through the layers");
  for (const [button, on] of [
    [from, state.direction === "from"],
    [to, state.direction === "to"],
    [light, state.glass === "light"],
    [same, state.shared],
    [compare, state.panes.length > 1],
  ]) setAttribute(button, "aria-pressed", on);
  const best = view.predictions[0];
  const image = imageName(view.number);
  thumb.hidden = false;
  setAttribute(thumb, "src", view.image);
  setAttribute(thumb, "alt", `${image}, as the model sees it`);
  const says = best?.kind === "text" ? ` compares “${best.name}” (similarity ${valueWords(best.probability, "text")}) with ` : best ? ` predicts ${best.name} (${percent(best.probability)}) for ` : " looks at ";
  const hint = `Colours show where ${readWords(view)}. Move over the image to ask a patch, click to hold it; each small map is one head of a layer.`;
  const name = outline.models[pairOf(view.number)[0]];
  setText(document.getElementById("lead"), `${name}${says}${image}${withoutWords(view.removed)}. ${hint}`);
};
