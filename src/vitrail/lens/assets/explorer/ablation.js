// Live only: take heads and patches out. Every pane then shows the model without them: maps, predictions, methods.

import { make, refill, setText } from "explorer/dom.js";
import { MEAN, sidesAt } from "explorer/maps.js";
import { outline } from "explorer/source.js";
import { gridOf } from "explorer/stage.js";
import { activePane, change, onChange, state } from "explorer/state.js";

const host = document.getElementById("ablation");
const problem = make("p", { class: "problem", role: "alert" });
const waiting = make("p", { class: "note", role: "status" });
const list = make("ul", { class: "removed" });
let explained = "";
let open;

/** `openPane(pane, number)` shows a view without what is taken out. */
export const startAblation = (openPane) => {
  open = openPane;
  if (!outline.live) return;
  host.hidden = false;
  host.append(
    make("div", { class: "options" },
      make("button", { type: "button", class: "toggle", title: "Key X", onclick: () => removeHead() }, "Take out this head"),
      make("button", { type: "button", class: "toggle", title: "Key Z", onclick: () => removePatch() }, "Take out this patch"),
      make("button", { type: "button", class: "toggle", title: "Key U", onclick: () => restore() }, "Put all back"),
    ),
    make("p", { class: "note" }, "A head that is taken out gives zeros; a patch becomes the mean of all patches, before the first layer."),
    list,
    waiting,
    problem,
  );
  onChange(draw);
};

export const removeHead = () => {
  const { layer, head, view } = activePane();
  if (!outline.live || !view) return;
  if (head < 0) {
    // A mean has no head of its own: all that it is the mean of.
    const all = head === MEAN ? Array.from({ length: view.metas[layer].heads ?? 0 }, (_, index) => [layer, index]) : [];
    if (all.length) return add("heads", all);
    return explain("A rollout is no head: choose a head, or the mean of a layer for all its heads.");
  }
  return add("heads", [[layer, head]]);
};

export const removePatch = () => {
  if (!outline.live) return;
  const grid = gridOf(activePane());
  if (!grid || !("y" in state.place)) return explain("Choose a patch of the image first.");
  const first = activePane().view.layers.find(Boolean);
  if (first?.keys.cover) return explain("Patches of several sizes cannot be taken out: their embedding gives no grid.");
  const [top, left, bottom, right] = sidesAt(grid, state.place);
  return add("regions", [[top / grid.rows, left / grid.columns, bottom / grid.rows, right / grid.columns]]);
};

export const restore = () => {
  explain("");
  take({ heads: [], regions: [] });
};

const explain = (text) => {
  explained = text;
  change({});
};

const take = (removed) => {
  change({ removed });
  for (const pane of state.panes) open(pane, pane.number);
};

const add = (kind, items) => {
  explain("");
  const known = new Set(state.removed[kind].map(String));
  const fresh = items.filter((item) => !known.has(String(item)));
  if (fresh.length) take({ ...state.removed, [kind]: [...state.removed[kind], ...fresh] });
};

const drop = (kind, item) => {
  explain("");
  take({ ...state.removed, [kind]: state.removed[kind].filter((other) => other !== item) });
};

const draw = () => {
  const { view, waiting: asked, problem: reason } = activePane();
  if (!view) return;
  refill(list, JSON.stringify(state.removed), () => [
    ...state.removed.heads.map((item) => entry("heads", item, `layer ${item[0] + 1}, head ${item[1] + 1}`)),
    ...state.removed.regions.map((item) => entry("regions", item, patchName(item))),
  ]);
  const done = JSON.stringify(view.removed) === JSON.stringify(state.removed);
  setText(waiting, asked && !done ? "Asking the model, as soon as it is free …" : "");
  setText(problem, explained || (done ? "" : reason));
};

const entry = (kind, item, name) =>
  make("li", {}, name, make("button", { type: "button", "aria-label": `Put back ${name}`, onclick: () => drop(kind, item) }, "×"));

const patchName = ([top, left, bottom, right]) =>
  `patch row ${Math.round(top / (bottom - top)) + 1} column ${Math.round(left / (right - left)) + 1}`;
