// The large panes: an image, the map over it, the tokens in front of the patches, and a sentence.

import { make, refill, setAttribute, setText } from "explorer/dom.js";
import { cellAt, cellsIn, chosen, found, framesOf, isScattered, mapOf, middleAt, middleOf, placeOf, resolved, sidesAt, spanOf } from "explorer/maps.js";
import { LIGHT, paintCanvas, rampStyle, TINT } from "explorer/paint.js";
import { drawQueries } from "explorer/queries.js";
import { outline, pairOf, viewNumber } from "explorer/source.js";
import { change, onChange, state } from "explorer/state.js";
import { cellName, fewerWords, frameName, headName, imageName, objectName, percent, sentence, viewName, withoutWords } from "explorer/words.js";

const host = document.getElementById("stage");
const spoken = document.getElementById("spoken");
const built = [];
let open;

/** `openPane(pane)` loads the view of a pane's number. */
export const startStage = (openPane) => {
  open = openPane;
  onChange(draw);
};

/** The most of the sheet's maps, where they share one scale; the sheet sets it. */
export const shared = { most: 0 };

/** What a pane shows: { weights, map }, either of which may be null. */
export const shownIn = (pane) => {
  const weights = pane.view && chosen(pane.view, pane.layer, pane.head);
  return { weights, map: weights ? mapOf(weights, resolved(pane.view, state.place), state.direction) : null };
};

const draw = () => {
  while (built.length > state.panes.length) built.pop().root.remove();
  while (built.length < state.panes.length) host.append(built[built.push(build(built.length)) - 1].root);
  setAttribute(host, "data-panes", state.panes.length);
  const sentences = state.panes.map((pane, index) => drawPane(built[index], pane, index));
  speak(sentences.join(" "));
};

const build = (index) => {
  const parts = {
    image: make("img", { alt: "" }),
    canvas: make("canvas", { class: "map", "aria-hidden": "true" }),
    lead: make("div", { class: "lead" }),
    seams: make("div", { class: "seams", hidden: true }),
    best: make("div", { class: "spot best", hidden: true }),
    here: make("div", { class: "spot here", hidden: true }),
    box: make("div", { class: "spot box", hidden: true }),
    gone: make("div", { class: "gone" }),
    label: make("button", { type: "button", class: "label", onclick: () => change({ active: index }) }),
    tokens: make("div", { class: "tokens", role: "group", "aria-label": "Tokens that are no patches" }),
    queries: make("div", { class: "queries" }),
    said: make("p", { class: "said" }),
    least: make("span"),
    most: make("span"),
    picks: make("div", { class: "picks" }),
    waiting: make("p", { class: "note", role: "status", hidden: true }),
    problem: make("p", { class: "problem", role: "alert", hidden: true }),
  };
  const role = { tabindex: 0, role: "application", "aria-roledescription": "image cut into patches" };
  parts.glass = make("div", { class: "panes glass", ...role }, parts.image, parts.canvas, parts.lead, parts.seams, parts.gone, parts.box, parts.best, parts.here);
  listen(parts.glass, index);
  const legend = make("div", { class: "legend" }, parts.least, make("i", { style: `background:${rampStyle()}` }), parts.most);
  const head = make("div", { class: "head" }, parts.label, parts.picks);
  parts.root = make("figure", { class: "pane" }, head, parts.waiting, parts.problem, parts.glass, legend, parts.tokens, parts.queries, make("figcaption", {}, parts.said));
  return parts;
};

const listen = (glass, index) => {
  const placed = (event) => {
    const box = glass.getBoundingClientRect();
    const inset = glass.clientLeft;
    const part = (at, start, length) => Math.min(0.9999, Math.max(0, (at - start - inset) / (length - 2 * inset)));
    return centre(state.panes[index], part(event.clientY, box.top, box.height), part(event.clientX, box.left, box.width));
  };
  glass.addEventListener("pointermove", (event) => {
    const place = placed(event);
    const name = state.held && event.pointerType === "mouse" ? "under" : "place";
    if (!same(state[name], place)) change({ [name]: place });
  });
  glass.addEventListener("pointerdown", (event) => {
    const place = placed(event);
    const again = state.held && same(state.place, place) && state.active === index;
    change({ place, active: index, held: event.pointerType === "mouse" ? !again : true, under: null });
  });
  glass.addEventListener("pointerleave", () => state.under && change({ under: null }));
  glass.addEventListener("focus", () => state.active !== index && change({ active: index }));
};

/** The middle of the patch at a place, in the layer that the pane shows; of its cell there, if it is scattered. */
export const centre = (pane, y, x) => {
  const grid = gridOf(pane);
  if (!grid) return { y, x };
  return middleAt(grid, { y, x });
};

/** The grid over which a pane's question moves. */
export const gridOf = (pane) => {
  const weights = pane.view?.layers[pane.layer];
  if (!weights) return null;
  const { queries, keys } = weights;
  const asked = state.direction === "from" ? queries : keys;
  return asked.cells ? asked : keys;
};

export const same = (a, b) => a && b && a.y === b.y && a.x === b.x && a.lead === b.lead && a.query === b.query && a.all === b.all;

const drawPane = (parts, pane, index) => {
  const { view } = pane;
  parts.root.classList.toggle("active", state.panes.length > 1 && state.active === index);
  drawPicks(parts, pane);
  parts.problem.hidden = !pane.problem;
  const shown = view ? ` Shown is ${viewName(view.number, view.removed)}.` : "";
  setText(parts.problem, pane.problem && `${pane.problem}${shown}`);
  parts.waiting.hidden = !view || !pane.waiting;
  setText(parts.waiting, view && pane.waiting ? `${pane.waiting} is on its way.${shown}` : "");
  if (!view) {
    setText(parts.said, pane.problem ? "" : "Running the model …");
    return "";
  }
  const { weights, map } = shownIn(pane);
  const name = state.panes.length > 1 ? `${"AB"[index]} · ` : "";
  setText(parts.label, `${name}Layer ${pane.layer + 1}, ${headName(pane.head, pane.layer)}${withoutWords(view.removed)}${fewerWords(weights?.[0].queries)}`);
  setAttribute(parts.label, "aria-pressed", state.panes.length > 1 && state.active === index);
  const image = state.glass === "light" ? view.image : view.grey;
  if (parts.image.src !== image) parts.image.src = image;
  setAttribute(parts.glass, "style", glassStyle(view, weights));
  parts.glass.classList.toggle("small", Math.min(...view.size) <= 128);
  parts.glass.classList.toggle("held", state.held);
  parts.root.classList.toggle("lit", state.glass === "light");
  parts.canvas.hidden = !map?.patches.length;
  if (!parts.canvas.hidden) paintCanvas(parts.canvas, map, mostOf(map), state.glass === "light" ? LIGHT : TINT);
  setText(parts.least, map?.low ? percent(map.low) : "0");
  setText(parts.most, map?.patches.length ? percent(mostOf(map)) : "");
  drawLead(parts.lead, weights?.[0].keys);
  mark(parts.here, weights && (state.direction === "from" ? weights[0].queries : weights[0].keys), state.place);
  mark(parts.best, map?.patches.length ? map.layout : null, map?.patches.length && middleOf(map.layout, map.best));
  drawTokens(parts, pane, map);
  drawQueries(parts, view);
  parts.seams.hidden = !view.frames;
  if (view.frames) setAttribute(parts.seams, "style", `--h:${view.frames.rows};--w:${view.frames.columns}`);
  drawGone(parts.gone, view.removed.regions);
  const said = sentence(view, pane.layer, pane.head, weights, map, state.place, state.direction);
  setText(parts.said, said + underWords(map));
  setAttribute(parts.glass, "aria-label", `${imageName(view.number)}${withoutWords(view.removed)}, cut into patches. Arrow keys move over them.`);
  return said;
};

const mostOf = (map) => (state.shared && !map.low && shared.most ? shared.most : map.top);

const glassStyle = (view, weights) => {
  const grid = weights ? weights[0].keys : { rows: 1, columns: 1 };
  return `--aspect:${view.size[1]}/${view.size[0]};--h:${grid.rows};--w:${grid.columns}`;
};

/** The lead between the panes: a grid, or round patches of several cells; cells without a token are covered. */
const drawLead = (lead, layout) => {
  const spans = layout?.spans;
  lead.classList.toggle("uneven", Boolean(spans));
  const key = spans ? layout.cover.join() : "";
  if (lead.drawn !== key) lead.innerHTML = spans ? `<svg viewBox="0 0 ${layout.columns} ${layout.rows}" preserveAspectRatio="none">${absent(layout)}<path d="${borders(layout)}"/></svg>` : "";
  lead.drawn = key;
};

/** Lines between the cells of different patches; with a patch, those around its cells alone. */
const borders = ({ rows, columns, cover }, patch = null) => {
  const of = (row, column) => (row < 0 || column < 0 || row >= rows || column >= columns ? -1 : cover[row * columns + column]);
  const parts = [];
  for (let row = 0; row <= rows; row += 1) {
    for (let column = 0; column <= columns; column += 1) {
      const [here, above, before] = [of(row, column), of(row - 1, column), of(row, column - 1)];
      const apart = (one, two) => one !== two && (patch === null ? one >= 0 && two >= 0 : one === patch || two === patch);
      if (column < columns && apart(here, above)) parts.push(`M${column} ${row}h1`);
      if (row < rows && apart(here, before)) parts.push(`M${column} ${row}v1`);
    }
  }
  return parts.join("");
};

const absent = ({ columns, cover, cells }) => {
  const parts = cover.map((patch, cell) => (patch < cells ? "" : `M${cell % columns} ${Math.floor(cell / columns)}h1v1h-1z`));
  return parts.some(Boolean) ? `<path class="absent" d="${parts.join("")}"/>` : "";
};

/** The outline of a scattered patch in its marker. */
const outlineOf = (spot, layout, patch) => {
  const scattered = isScattered(layout, patch);
  const key = scattered ? `${patch} ${layout.cover.join()}` : "";
  spot.classList.toggle("scattered", scattered);
  if (spot.drawn === key) return;
  const path = scattered && borders(layout, patch);
  const [top, left, bottom, right] = spanOf(layout, patch);
  spot.innerHTML = scattered ? `<svg viewBox="${left} ${top} ${right - left} ${bottom - top}" preserveAspectRatio="none"><path d="${path}"/><path d="${path}"/></svg>` : "";
  spot.drawn = key;
};

const mark = (spot, layout, place) => {
  spot.hidden = !layout?.cells || !place || !("y" in place);
  if (spot.hidden) return;
  const patch = cellAt(layout, place);
  const best = spot.classList.contains("best"); // a dot in the middle, and thus in one cell
  const [top, left, bottom, right] = best ? sidesAt(layout, place) : spanOf(layout, patch);
  if (!best) outlineOf(spot, layout, patch);
  const part = (number, count) => `${((100 * number) / count).toFixed(4)}%`;
  const [y, x] = [part(top, layout.rows), part(left, layout.columns)];
  const [height, width] = [part(bottom - top, layout.rows), part(right - left, layout.columns)];
  setAttribute(spot, "style", `top:${y};left:${x};height:${height};width:${width}`);
};

/** The patches that were taken out. */
const drawGone = (host, regions) =>
  refill(host, JSON.stringify(regions), () =>
    regions.map(([top, left, bottom, right]) => {
      const sides = { top, left, height: bottom - top, width: right - left };
      const style = Object.entries(sides).map(([side, part]) => `${side}:${100 * part}%`).join(";");
      return make("div", { class: "spot", style });
    }),
  );

const underWords = (map) => {
  if (!state.under || !map?.patches.length) return "";
  const cell = cellAt(map.layout, state.under);
  return ` Below the pointer, ${cellName(map.layout, cell)}: ${percent(map.patches[cell] ?? 0)}.`;
};

const drawTokens = (parts, pane, map) => {
  const read = resolved(pane.view, { read: true });
  const objects = found(pane.view);
  const frames = framesOf(pane.view);
  const places = [...pane.view.prefix.map((_, lead) => ({ lead })), { all: true }, ...(read.leads ? [{ read: true }] : []), ...objects.map((query) => placeOf(pane.view, query)), ...frames];
  const names = [...pane.view.prefix, "all patches", ...(read.leads ? ["read by the head"] : []), ...objects.map((query) => objectName(pane.view.objects[query])), ...frames.map(({ frame }) => frameName(pane.view.frames, frame))];
  const current = JSON.stringify(resolved(pane.view, state.place));
  refill(parts.tokens, JSON.stringify([names, places]), () =>
    names.map((name, index) =>
      make(
        "button",
        { type: "button", onclick: () => change({ place: places[index], held: true }) },
        make("span", {}, name.replace(" token", "")),
        make("b"),
        make("i"),
      ),
    ),
  );
  [...parts.tokens.children].forEach((chip, lead) => {
    const { area } = places[lead];
    const sum = area && map?.layout.frames ? cellsIn(map.layout, area).reduce((total, cell) => total + map.patches[cell], 0) : null;
    const value = map && !map.layout.free && lead < map.layout.prefix ? map.lead[lead] : sum;
    setAttribute(chip, "aria-pressed", JSON.stringify(resolved(pane.view, places[lead])) === current);
    setText(chip.children[1], value == null ? "" : percent(value));
    setAttribute(chip.children[2], "style", `width:${100 * Math.min(1, Math.max(0, value ?? 0))}%`);
  });
};

const drawPicks = (parts, pane) => {
  if (outline.models.length * outline.images.length < 2) return;
  const [model, image] = pairOf(pane.number);
  refill(parts.picks, pane.number, () => {
    const choose = (label, names, at, number) =>
      names.length < 2 ? [] : [
        make(
          "select",
          { "aria-label": label, onchange: (event) => open(pane, number(event.target.selectedIndex)) },
          ...names.map((name, index) => make("option", { selected: index === at }, name)),
        ),
      ];
    return [
      ...choose("Model", outline.models, model, (index) => viewNumber(index, image)),
      ...choose("Image", outline.images, image, (index) => viewNumber(model, index)),
    ];
  });
  // A choice that failed before it was drawn has left its words in the list.
  const indices = { Model: model, Image: image };
  for (const select of parts.picks.querySelectorAll("select")) {
    const index = indices[select.getAttribute("aria-label")];
    if (select.selectedIndex !== index) select.selectedIndex = index;
  }
};

// What is heard waits until the eye has settled.
let last = 0;
const speak = (text) => {
  clearTimeout(last);
  last = setTimeout(() => setText(spoken, text), 300);
};

/** Move the question by whole patches, for the arrow keys. */
export const step = (down, right) => {
  const pane = state.panes[state.active];
  const grid = gridOf(pane);
  if (!grid) return;
  const from = "y" in state.place ? state.place : { y: 0.5, x: 0.5 };
  const [top, left, under, beside] = sidesAt(grid, from);
  const next = (move, at, low, high, count) => {
    const cell = !move || !("y" in state.place) ? Math.floor(at * count) : move > 0 ? high : low - 1;
    return (Math.min(count - 1, Math.max(0, cell)) + 0.5) / count;
  };
  const [y, x] = [next(down, from.y, top, under, grid.rows), next(right, from.x, left, beside, grid.columns)];
  change({ place: centre(pane, y, x), held: true });
};
