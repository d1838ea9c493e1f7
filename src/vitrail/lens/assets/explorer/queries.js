// The queries of a detector's decoder: a list of all, and the box of the one that is asked about.

import { make, refill, setAttribute } from "explorer/dom.js";
import { placeOf } from "explorer/maps.js";
import { change, state } from "explorer/state.js";
import { objectName } from "explorer/words.js";

/** The box of the query that is asked about, and a list of all queries. */
export const drawQueries = (parts, view) => {
  const { query } = state.place;
  const object = view.objects[query];
  parts.box.hidden = !object;
  if (object) {
    const { left, top, right, bottom } = object;
    const sides = { top, left, height: bottom - top, width: right - left };
    setAttribute(parts.box, "style", Object.entries(sides).map(([side, part]) => `${side}:${100 * part}%`).join(";"));
  }
  refill(parts.queries, view.served, () => {
    if (!view.objects.length) return [];
    const name = (one, index) => `query ${index + 1}: ${objectName(one)}${one.shown ? "" : ", below the threshold"}`;
    const choose = ({ target }) => change({ place: target.selectedIndex ? placeOf(view, target.selectedIndex - 1) : { all: true }, held: true });
    const options = ["all queries together", ...view.objects.map(name)].map((text) => make("option", {}, text));
    return [make("select", { "aria-label": "Query", onchange: choose }, ...options)];
  });
  const [select] = parts.queries.children;
  if (select) select.selectedIndex = object ? query + 1 : 0;
};
