// Live only: take heads and patches out, and ask the server for the predictions without them.

import { make, refill, setText } from "explorer/dom.js";
import { cellAt, MEAN, spanOf } from "explorer/maps.js";
import { ablate, outline } from "explorer/source.js";
import { gridOf } from "explorer/stage.js";
import { activePane, change, onChange, redraw, state } from "explorer/state.js";

const host = document.getElementById("ablation");
const problem = make("p", { class: "problem", role: "alert" });
const waiting = make("p", { class: "note", role: "status" });
const list = make("ul", { class: "removed" });
const answers = new Map();

const key = (number) => JSON.stringify([number, state.removed.heads, state.removed.regions]);
const nothing = () => !state.removed.heads.length && !state.removed.regions.length;

/** The predictions of a view without what was taken out; null when nothing was, or the answer is on its way. */
export const found = (view) => (nothing() ? null : answers.get(key(view.number))?.predictions ?? null);

export const startAblation = () => {
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
  if (grid.cover) return explain("Patches of several sizes cannot be taken out: their embedding gives no grid.");
  const [top, left, bottom, right] = spanOf(grid, cellAt(grid, state.place));
  return add("regions", [[top / grid.rows, left / grid.columns, bottom / grid.rows, right / grid.columns]]);
};

export const restore = () => {
  explain("");
  change({ removed: { heads: [], regions: [] } });
};

const explain = (text) => {
  setText(problem, text);
  for (const [asked, answer] of answers) if (answer.problem) answers.delete(asked); // to be asked again
};

const add = (kind, items) => {
  explain("");
  const known = new Set(state.removed[kind].map(String));
  const fresh = items.filter((item) => !known.has(String(item)));
  if (fresh.length) change({ removed: { ...state.removed, [kind]: [...state.removed[kind], ...fresh] } });
};

const drop = (kind, item) => {
  explain("");
  change({ removed: { ...state.removed, [kind]: state.removed[kind].filter((other) => other !== item) } });
};

const draw = () => {
  const { view } = activePane();
  if (!view) return;
  refill(list, key(0), () => [
    ...state.removed.heads.map((item) => entry("heads", item, `layer ${item[0] + 1}, head ${item[1] + 1}`)),
    ...state.removed.regions.map((item) => entry("regions", item, patchName(item))),
  ]);
  const asked = key(view.number);
  const answer = nothing() ? {} : answers.get(asked);
  setText(waiting, answer && !answer.waiting ? "" : "Asking the model, as soon as it is free …");
  if (answer?.problem) setText(problem, answer.problem);
  if (answer) return;
  answers.set(asked, { waiting: true });
  ablate(view.number, state.removed.heads, state.removed.regions).then(
    (predictions) => answers.set(asked, { predictions }),
    (error) => answers.set(asked, { problem: error.message }),
  ).then(redraw);
};

const entry = (kind, item, name) =>
  make("li", {}, name, make("button", { type: "button", "aria-label": `Put back ${name}`, onclick: () => drop(kind, item) }, "×"));

const patchName = ([top, left, bottom, right]) =>
  `patch row ${Math.round(top / (bottom - top)) + 1} column ${Math.round(left / (right - left)) + 1}`;
