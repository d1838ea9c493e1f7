// Everything by keyboard, and the list of keys.

import { nextClass, nextMethod } from "explorer/predictions.js";
import { removeHead, removePatch, restore } from "explorer/ablation.js";
import { compareOrNot, playOrStop, turn, turnGlass, turnScale } from "explorer/controls.js";
import { make } from "explorer/dom.js";
import { found, framesOf, placeOf, resolved } from "explorer/maps.js";
import { move, sheetHasFocus } from "explorer/sheet.js";
import { outline } from "explorer/source.js";
import { step } from "explorer/stage.js";
import { activePane, change, state } from "explorer/state.js";

const help = document.getElementById("help");

const nextToken = () => {
  const { view } = activePane();
  if (!view) return;
  const objects = view.objects.length ? found(view).map((query) => placeOf(view, query)) : [];
  const places = [...view.prefix.map((_, lead) => ({ lead })), ...objects, ...framesOf(view), { all: true }];
  const now = JSON.stringify(resolved(view, state.place));
  const at = places.findIndex((place) => JSON.stringify(place) === now);
  change({ place: places[(at + 1) % places.length], held: true });
};

const arrow = (down, right) => (sheetHasFocus() ? move(down, right) : step(down, right));
const otherPane = () => state.panes.length > 1 && change({ active: 1 - state.active });

const KEYS = [
  ["← ↑ ↓ →", "move over the patches; on the sheet, over layers and heads", {
    ArrowUp: () => arrow(-1, 0), ArrowDown: () => arrow(1, 0), ArrowLeft: () => arrow(0, -1), ArrowRight: () => arrow(0, 1),
  }],
  ["T", "the class token, the next token in front of the patches, the next object or frame, all patches", { t: nextToken }],
  ["Enter", "hold the patch, or let it follow the pointer", { Enter: () => change({ held: !state.held, under: null }) }],
  ["D", "turn around: where it looks, who looks at it", { d: turn }],
  ["L, Shift L", "a layer deeper, a layer back", { l: () => move(1, 0), L: () => move(-1, 0) }],
  ["H, Shift H", "the next head, the one before", { h: () => move(0, 1), H: () => move(0, -1) }],
  ["P", "play through the layers", { p: () => playOrStop() }],
  ["V", "light or colour", { v: turnGlass }],
  ["S", "each map on its own scale, or all on one", { s: turnScale }],
  ["C", "compare, or stop comparing", { c: () => compareOrNot() }],
  ["B", "the other of two panes", { b: otherPane }],
  ["N", "the next class", { n: nextClass }],
  ["M", "the next method", { m: nextMethod }],
  ...(outline.live ? [
    ["X", "take out this head", { x: removeHead }],
    ["Z", "take out this patch", { z: removePatch }],
    ["U", "put all back", { u: restore }],
  ] : []),
  ["?", "this list", { "?": () => help.showModal() }],
  ["Esc", "close, let go", { Escape: () => change({ held: false, under: null }) }],
];

const actions = Object.assign({}, ...KEYS.map(([, , action]) => action));

export const startKeys = () => {
  help.querySelector("dl").append(
    ...KEYS.flatMap(([keys, words]) => [make("dt", {}, ...keys.split(", ").map((key) => make("kbd", {}, key))), make("dd", {}, words)]),
  );
  document.addEventListener("keydown", (event) => {
    const { target, key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (target.matches("select, input") && !/^[a-z?]$/i.test(key)) return;
    if (target.matches("select")) return;
    if (key === "Enter" && target.matches("button, summary, a")) return;
    const action = actions[key];
    if (!action) return;
    event.preventDefault();
    action();
  });
};
