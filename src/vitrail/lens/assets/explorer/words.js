// What is seen, in words: for the eye below the picture, and for those who hear the page.

import { MEAN, placeOf, ROLLOUT, tokenAt } from "explorer/maps.js";

export const percent = (value) => {
  const hundred = 100 * Math.abs(value);
  if (!hundred) return "0\u00a0%";
  const sign = value < 0 ? "−" : "";
  if (hundred < 0.1) return `${sign}<0.1\u00a0%`;
  return `${sign}${hundred.toFixed(hundred < 9.95 ? 1 : 0)}\u00a0%`;
};

export const headName = (head, layer) => {
  if (head === ROLLOUT) return `rollout of layers 1 to ${layer + 1}`;
  return head === MEAN ? "mean of heads" : `head ${head + 1}`;
};

export const whereName = (layer, head) =>
  head === ROLLOUT ? `Rollout of layers 1 to ${layer + 1}` : `Layer ${layer + 1}, ${headName(head)}`;

const cellName = (layout, cell) => {
  const [row, column] = placeOf(layout, cell);
  return `row ${row + 1} column ${column + 1}`;
};

const leadName = (view, index) => {
  const name = view.prefix[index] ?? `prefix token ${index + 1}`;
  return name.startsWith("register") ? name : `the ${name}`;
};

export const placeName = (view, layout, place) => {
  if (place.all) return "the patches together";
  if ("lead" in place) return leadName(view, place.lead);
  return `patch ${cellName(layout, tokenAt({ ...layout, prefix: 0 }, place))}`;
};

/** "31 % to the class token, 4 % to register 2": at most three, of at least 1 %. */
const leadWords = (view, lead, join) => {
  const worth = [...lead.entries()].filter(([, value]) => value >= 0.01).sort((a, b) => b[1] - a[1]).slice(0, 3);
  return worth.map(([index, value]) => join(percent(value), leadName(view, index))).join(", ");
};

/** The sentence of a map, or why there is none. */
export const sentence = (view, layer, head, weights, map, place, direction) => {
  const where = whereName(layer, head);
  const meta = view.metas[layer];
  if (meta.unseen) return `Layer ${layer + 1} is not drawn: ${meta.unseen}.`;
  if (!weights) return head === ROLLOUT || view.layers[layer] ? `${where} is not there for this layer.` : `${where} is on its way.`;
  const from = direction === "from";
  const asked = from ? weights[0].queries : weights[0].keys;
  const empty = map && !map.top && !map.lead.some((value) => value);
  if (!map || empty) {
    const who = map ? placeName(view, asked, place) : "lead" in place ? leadName(view, place.lead) : "a patch";
    return `${where}: ${who} ${from ? "does not look at anything" : "is not looked at"} here.`;
  }
  const name = placeName(view, asked, place);
  const best = map.patches.length ? `${cellName(map.layout, map.best)} (${percent(map.top)})` : "";
  if (from) {
    const verb = place.all ? "look" : "looks";
    const lead = leadWords(view, map.lead, (value, token) => `${value} to ${token}`);
    return `${where}: ${name} ${verb} most at ${best}${lead ? `, ${lead}` : ""}.`;
  }
  const lead = leadWords(view, map.lead, (value, token) => `${token} with ${value}`);
  const patch = best ? `is looked at most by patch ${best}` : "is looked at by no patch";
  return `${where}: ${name} ${place.all ? patch.replace("is ", "are ") : patch}${lead ? `, and by ${lead}` : ""}.`;
};
