// The page: files in, bars out. The model and its runtime are files beside it; nothing else is asked for.
import { decode, fit } from "./preprocess.js";

const facts = JSON.parse(document.getElementById("facts").textContent);
const preprocess = facts.preprocess, names = facts.class_names ?? [];
const [drop, input, state, results] = ["drop", "file", "state", "results"].map((id) => document.getElementById(id));
const SHOWN = 5;

function say(text, fault = false) {
  state.textContent = text;
  state.classList.toggle("fault", fault);
}

async function openModel() {
  let ort;
  try {
    ort = await import("./runtime/ort.wasm.bundle.min.mjs");
  } catch {
    throw new Error(
      "The runtime is missing. Serve this folder over HTTP (python -m http.server), with ort.wasm.bundle.min.mjs and " +
        "ort-wasm-simd-threaded.wasm of the npm package onnxruntime-web in its folder runtime.",
    );
  }
  // Only the place of the .wasm file: its script is part of the bundle.
  ort.env.wasm.wasmPaths = { wasm: new URL("./runtime/ort-wasm-simd-threaded.wasm", import.meta.url).href };
  ort.env.wasm.numThreads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
  const session = await ort.InferenceSession.create(new URL("./model.onnx", import.meta.url).href);
  return async (bytes) => {
    const shape = [1, preprocess.channels, ...preprocess.image_size];
    const given = new ort.Tensor("uint8", bytes, shape);
    const found = await session.run({ [session.inputNames[0]]: given });
    return Array.from(found[session.outputNames[0]].data);
  };
}

function element(kind, className, text) {
  const made = document.createElement(kind);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function bar(name, share, value, present = true) {
  const row = element("div", present ? "guess present" : "guess");
  const track = element("span", "whole"), fill = element("span", "share");
  fill.style.width = `${100 * share}%`;
  track.append(fill);
  row.append(element("span", "name", name), track, element("span", "value", value));
  return row;
}

/** What the numbers of the model mean, as rows of the page. */
function answer(numbers) {
  const rows = element("div", "guesses");
  if (facts.output === "probabilities") {
    const limits = facts.task.thresholds ?? [];
    const order = numbers.map((_, index) => index).sort((a, b) => numbers[b] - numbers[a]).slice(0, SHOWN);
    for (const index of order) {
      const present = facts.task.labels !== "many" || numbers[index] >= (limits[index] ?? 0.5);
      rows.append(bar(names[index], numbers[index], `${(100 * numbers[index]).toFixed(1)} %`, present));
    }
  } else if (facts.output === "values") {
    numbers.forEach((number, index) => rows.append(element("p", "", `${names[index]}: ${number.toPrecision(5)}`)));
  } else {
    const start = numbers.slice(0, SHOWN).map((number) => number.toPrecision(4));
    rows.append(element("p", "", `a vector of ${numbers.length} numbers: ${start.join(", ")} …`));
  }
  return rows;
}

async function show(file, run) {
  const card = element("article", "result"), words = element("div");
  const picture = element("img");
  picture.alt = file.name;
  picture.src = URL.createObjectURL(file);
  card.append(picture, words);
  words.append(element("h2", "", file.name));
  results.prepend(card);
  try {
    const began = performance.now();
    const bytes = fit(await decode(file), preprocess);
    const ready = performance.now();
    const numbers = await run(bytes);
    const took = [ready - began, performance.now() - ready].map((ms) => ms.toFixed(0));
    words.append(answer(numbers), element("p", "note", `${took[0]} ms to decode and resize, ${took[1]} ms for the model`));
    card.numbers = numbers;
  } catch (error) {
    picture.removeAttribute("src");
    words.append(element("p", "fault", `This image cannot be used: ${error.message ?? error}`));
  }
}

document.getElementById("about").textContent = [facts.architecture, facts.license && `licence ${facts.license}`]
  .filter(Boolean)
  .join(" · ");

// Files can be given while the model still loads: they wait for it.
const opening = openModel();
let waiting = Promise.resolve();
function take(files) {
  for (const file of files) waiting = waiting.then(async () => show(file, await opening)).catch(() => {});
}

input.addEventListener("change", () => {
  take([...input.files]);
  input.value = "";
});
for (const kind of ["dragover", "dragleave", "drop"])
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files);
  });
opening.then(() => say("Ready."), (error) => say(error.message ?? String(error), true));
