// The explorer: opens the first view, and joins the parts.

import { startAblation } from "explorer/ablation.js";
import { startControls } from "explorer/controls.js";
import { startKeys } from "explorer/keys.js";
import { startPredictions } from "explorer/predictions.js";
import { startSheets } from "explorer/sheet.js";
import { make } from "explorer/dom.js";
import { openView, outline } from "explorer/source.js";
import { startStage } from "explorer/stage.js";
import { change, changePane, redraw, state } from "explorer/state.js";

/** Show another view in a pane; the old one stays until the new one is there. */
const openPane = async (pane, number) => {
  changePane({ number, problem: "" }, pane);
  try {
    const view = await openView(number, redraw);
    if (pane.number !== number) return; // another was chosen meanwhile
    const first = !pane.view;
    const layer = first ? view.last : Math.min(pane.layer, view.metas.length - 1);
    const head = Math.min(pane.head, (view.metas[layer].heads ?? view.columns) - 1);
    changePane({ view, layer, head }, pane);
    if (first && !view.prefix.length) change({ place: { all: true } });
    else if ("lead" in state.place && state.place.lead >= view.prefix.length) change({ place: { all: true } });
  } catch (error) {
    changePane({ problem: error.message }, pane);
  }
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
startAblation();
startPredictions();
startKeys();
openPane(state.panes[0], 0);
