"use strict";
document.documentElement.classList.add("js");

const percent = (value) => (100 * value).toFixed(1) + " %";

for (const section of document.querySelectorAll("section.picture")) {
  const peaks = JSON.parse(section.querySelector("script").textContent);
  const slider = section.querySelector("input[type=range]");
  const label = section.querySelector(".layer");
  const figure = section.querySelector(".chosen");
  const buttons = [...section.querySelectorAll(".heads button")];
  let head = 0;

  const show = () => {
    const layer = Number(slider.value) - 1;
    head = Math.min(head, peaks[layer].length - 1);
    section.style.setProperty("--layer", layer);
    label.textContent = `Layer ${layer + 1} of ${peaks.length}`;
    slider.setAttribute("aria-valuetext", label.textContent);
    buttons.forEach((button, index) => {
      button.hidden = index >= peaks[layer].length;
      button.setAttribute("aria-pressed", index === head);
    });
    const [top, row, column] = peaks[layer][head];
    const who = head ? `head ${head}` : "mean over heads";
    const text = `Layer ${layer + 1}, ${who}: brightest pane ${percent(top)}, row ${row}, column ${column}`;
    figure.querySelector(".view").style.setProperty("--head", head);
    figure.querySelector(".view").setAttribute("aria-label", text);
    figure.querySelector("figcaption").textContent = text;
  };

  slider.addEventListener("input", show);
  buttons.forEach((button, index) => {
    button.addEventListener("click", () => { head = index; show(); });
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const next = step && buttons[index + step];
      if (!next || next.hidden) return;
      event.preventDefault();
      next.focus();
      next.click();
    });
  });

  const all = section.querySelector(".all");
  all.addEventListener("click", (event) => {
    const box = all.getBoundingClientRect();
    const layer = Math.floor((event.clientY - box.top) / box.height * peaks.length);
    slider.value = Math.min(layer, peaks.length - 1) + 1;
    head = Math.floor((event.clientX - box.left) / box.width * buttons.length);
    show();
  });
  show();
}

const colour = document.getElementById("colour");
colour.addEventListener("input", () => document.body.style.setProperty("--colour", colour.value / 100));
