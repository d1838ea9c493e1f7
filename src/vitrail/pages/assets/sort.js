"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => {
        const text = row.cells[column].textContent;
        const number = Number.parseFloat(text);
        return head.classList.contains("text") ? text : Number.isNaN(number) ? -1 : number;
      };
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        return typeof x === "string" ? x.localeCompare(y, undefined, { numeric: true }) : x - y;
      });
      table.tBodies[0].append(...(down ? rows.reverse() : rows));
    });
  });
}
