// The explorer: opens the first view, and joins the parts.

import { startAblation } from "explorer/ablation.js";
import { startControls } from "explorer/controls.js";
import { startKeys } from "explorer/keys.js";
import { startPredictions } from "explorer/predictions.js";
import { startSheets } from "explorer/sheet.js";
import { make } from "explorer/dom.js";
import { found, placeOf } from "explorer/maps.js";
import { openView, outline } from "explorer/source.js";
import { startStage } from "explorer/stage.js";
import { change, changePane, redraw, state } from "explorer/state.js";
import { viewName } from "explorer/words.js";

/** Show another view in a pane, without what is taken out; the old one stays, with all its words, until then. */
const openPane = async (pane, number) => {
  const { removed } = state;
  const asked = {};
  changePane({ number, asked, waiting: viewName(number, removed), problem: "" }, pane);
  try {
    const view = await openView(number, removed, redraw);
    if (pane.asked !== asked) return; // another was chosen meanwhile
    const first = !pane.view;
    const layer = first ? view.last : Math.min(pane.layer, view.metas.length - 1);
    const head = Math.min(pane.head, (view.metas[layer].heads ?? view.columns) - 1);
    changePane({ view, layer, head, waiting: "" }, pane);
    askAgain(view, first);
  } catch (error) {
    if (pane.asked !== asked) return;
    const problem = `${viewName(number, removed)} is not shown: ${error.message}`;
    changePane({ number: pane.view?.number ?? number, waiting: "", problem }, pane);
  }
};

/** The question for a view that has just come: the first is about the best object, and objects differ from image to image. */
const askAgain = (view, first) => {
  const { place } = state;
  const object = "query" in place || (first && place.read);
  if (object && view.objects.length) change({ place: placeOf(view, found(view)[0]) });
  else if (object || place.lead >= view.prefix.length) change({ place: { read: true } });
};

const listUnreadable = () => {
  const host = document.getElementById("unreadable");
  host.hidden = !outline.unreadable.length;
  host.querySelector("ul").append(...outline.unreadable.map(([name, reason]) => make("li", {}, `${name}: ${reason}`)));
};

listUnreadable();
startSheets();
startStage(openPane);
startControls(openPane);
startAblation(openPane);
startPredictions();
startKeys();
openPane(state.panes[0], 0);
