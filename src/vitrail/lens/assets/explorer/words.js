// What a map shows as a sentence, below the image and for screen readers.

import { isScattered, MEAN, resolved, ROLLOUT, spanOf, tokenAt } from "explorer/maps.js";
import { outline, pairOf } from "explorer/source.js";

export const percent = (value) => {
  const hundred = 100 * Math.abs(value);
  if (!hundred) return "0\u00a0%";
  const sign = value < 0 ? "−" : "";
  if (hundred < 0.001) return `${sign}<0.001\u00a0%`;
  if (hundred < 0.995) return `${sign}${Number(hundred.toPrecision(2))}\u00a0%`; // one of a thousand patches has so much
  return `${sign}${hundred.toFixed(hundred < 9.95 ? 1 : 0)}\u00a0%`;
};

/** A probability in per cent; the cosine of a text; how much less it is without a word. */
export const valueWords = (value, kind) => {
  if (kind === "class") return percent(value);
  const sign = value < 0 ? "−" : kind === "word" ? "+" : "";
  return `${sign}${Math.abs(value).toFixed(2)}`;
};

const several = (count, name, names = `${name}s`) => `${count} ${count === 1 ? name : names}`;

/** "", or " without 2 heads and 1 patch". */
export const withoutWords = ({ heads, regions }) => {
  const parts = [...(heads.length ? [several(heads.length, "head")] : []), ...(regions.length ? [several(regions.length, "patch", "patches")] : [])];
  return parts.length ? ` without ${parts.join(" and ")}` : "";
};

export const imageName = (number) => outline.images[pairOf(number)[1]];

/** A model, an image and what is taken out, in words. */
export const viewName = (number, removed) =>
  `${outline.models.length > 1 ? `${outline.models[pairOf(number)[0]]} on ` : ""}${imageName(number)}${withoutWords(removed)}`;

export const headName = (head, layer) => {
  if (head === ROLLOUT) return `rollout of layers 1 to ${layer + 1}`;
  return head === MEAN ? "mean of heads" : `head ${head + 1}`;
};

export const whereName = (layer, head) =>
  head === ROLLOUT ? `Rollout of layers 1 to ${layer + 1}` : `Layer ${layer + 1}, ${headName(head)}`;

/** "", or " · 98 tokens on 196 cells" where patches are merged, removed or of several sizes. */
export const fewerWords = (layout) =>
  layout?.cover ? ` · ${several(layout.cells, "token")} on ${several(layout.rows * layout.columns, "cell")}` : "";

/** "frame 3", or "frames 5 to 6" where a token covers several. */
export const frameName = ({ each }, frame) => (each > 1 ? `frames ${frame * each + 1} to ${(frame + 1) * each}` : `frame ${frame + 1}`);

export const cellName = (layout, cell) => {
  if (layout.frames) {
    const { rows, columns } = layout.frames;
    const [high, wide] = [layout.rows / rows, layout.columns / columns];
    const [row, column] = [Math.floor(cell / layout.columns), cell % layout.columns];
    const frame = Math.floor(row / high) * columns + Math.floor(column / wide);
    return `${frameName(layout.frames, frame)} row ${(row % high) + 1} column ${(column % wide) + 1}`;
  }
  if (isScattered(layout, cell)) {
    const [first] = layout.members[cell];
    return `row ${Math.floor(first / layout.columns) + 1} column ${(first % layout.columns) + 1} and ${several(layout.members[cell].length - 1, "further cell")}`;
  }
  const [top, left, bottom, right] = spanOf(layout, cell);
  const size = bottom - top > 1 ? `, ${bottom - top} × ${right - left} cells` : "";
  return `row ${top + 1} column ${left + 1}${size}`;
};

/** "dog 81 %" */
export const objectName = ({ name, score }) => `${name} ${percent(score)}`;

const freeName = (view, { prefix }, index) => {
  if (prefix === 1) return "the learned query";
  return view.objects.length === prefix ? `query ${index + 1} (${objectName(view.objects[index])})` : `query ${index + 1} of ${prefix}`;
};

const leadName = (view, index) => {
  const name = view.prefix[index] ?? `prefix token ${index + 1}`;
  return name.startsWith("register") ? name : `the ${name}`;
};

const leadNames = (view, leads) => {
  const names = leads.map((lead) => leadName(view, lead));
  const [kind] = names[0].split(" of frame ");
  if (names.length > 2 && names.every((name) => name.startsWith(`${kind} of frame `))) return `${kind}s of ${names.length} frames`;
  return names.join(" and ");
};

export const placeName = (view, layout, place) => {
  if (layout.free && place.query < layout.prefix) return freeName(view, layout, place.query);
  if (layout.free) return layout.prefix === 1 ? "the learned query" : `the ${layout.prefix} queries together`;
  if (place.all) return "the patches together";
  if (place.area) return `the patches of ${frameName(view.frames, place.frame)} together`;
  if ("lead" in place) return leadName(view, place.lead);
  if (place.leads) return `${[leadNames(view, place.leads), ...(place.patches ? ["the patches"] : [])].join(" and ")} together`;
  return `patch ${cellName(layout, tokenAt({ ...layout, prefix: 0 }, place))}`;
};

/** "31 % to the class token, 4 % to register 2": at most three, of at least 1 %. */
const leadWords = (view, { lead, layout }, join) => {
  const worth = [...lead.entries()].filter(([, value]) => value >= 0.01 || layout.free).sort((a, b) => b[1] - a[1]).slice(0, 3);
  return worth.map(([index, value]) => join(percent(value), layout.free ? freeName(view, layout, index) : leadName(view, index))).join(", ");
};

/** Why a layer has no answer to a question. */
const nobody = (view, { prefix, cells }, place) => {
  if ("lead" in place) return `this layer has no ${leadName(view, place.lead).replace("the ", "")}`;
  if (place.leads) return "this layer does not have all of these tokens";
  if (cells) return "this patch has no token here: it was removed, or is hidden";
  return `in this layer only ${prefix > 1 ? "the tokens in front of the patches do" : `${leadName(view, 0)} does`}`;
};

/** "the class token looks": what the head reads, for the sentence at the top. */
export const readWords = (view) => {
  if (view.objects.length) return "the query of the chosen object looks";
  if (view.reads.weighted) return "the pool's learned query looks";
  const name = placeName(view, {}, resolved(view, { read: true }));
  return `${name} ${name.endsWith("together") ? "look" : "looks"}`;
};

/** The sentence of a map, or why there is none. */
export const sentence = (view, layer, head, weights, map, asking, direction) => {
  const place = resolved(view, asking);
  const where = whereName(layer, head);
  const meta = view.metas[layer];
  if (meta.unseen) return `Layer ${layer + 1} is not drawn: ${meta.unseen}.`;
  if (!weights) return head === ROLLOUT || view.layers[layer] ? `${where} is not there for this layer.` : `${where} is on its way.`;
  const from = direction === "from";
  const asked = from ? weights[0].queries : weights[0].keys;
  if (!map) return `${where}: ${nobody(view, asked, place)}.`;
  const name = placeName(view, asked, place);
  if (!map.top && !map.lead.some((value) => value)) return `${where}: ${name} ${from ? "does not look at anything" : "is not looked at"} here.`;
  const are = name.endsWith("together") ? "are" : "is";
  const best = map.patches.length ? `${cellName(map.layout, map.best)} (${percent(map.top)})` : "";
  if (from) {
    const verb = name.endsWith("together") ? "look" : "looks";
    const lead = leadWords(view, map, (value, token) => `${value} to ${token}`);
    return `${where}: ${name} ${verb} most at ${best}${lead ? `, ${lead}` : ""}.`;
  }
  const lead = leadWords(view, map, (value, token) => `${token} with ${value}`);
  if (map.layout.free) return `${where}: ${name} ${are} looked at by ${lead}.`;
  const patch = best ? `looked at most by patch ${best}` : "looked at by no patch";
  return `${where}: ${name} ${are} ${patch}${lead ? `, and by ${lead}` : ""}.`;
};
