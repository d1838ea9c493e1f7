// What is being looked at, and one drawing for all changes between two frames.

import { MEAN } from "explorer/maps.js";

export const state = {
  // `number` and `waiting` are of the view that was asked for; everything on the page is of `view`, which is shown
  panes: [{ number: 0, view: null, waiting: "", problem: "", layer: 0, head: MEAN }],
  active: 0,
  place: { read: true }, // what the head reads
  under: null, // the place below the pointer while `place` is held
  held: false,
  direction: "from", // where it looks; "to": who looks at it
  shared: false, // one scale for all maps
  glass: "colour", // or "light"
  method: null, // its number; the first that has a map
  classIndex: null,
  playing: false,
  removed: { heads: [], regions: [] }, // what was asked to be taken out; view.removed is what is
};

export const activePane = () => state.panes[state.active];

const drawers = [];
let waiting = false;

/** `draw` is called before the next frame after every change. */
export const onChange = (draw) => drawers.push(draw);

export const redraw = () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    for (const draw of drawers) draw();
  });
};

export const change = (values) => {
  Object.assign(state, values);
  redraw();
};

/** Change the active pane, or another. */
export const changePane = (values, pane = activePane()) => {
  Object.assign(pane, values);
  redraw();
};
