"use strict";
// Without this script the page is whole; with it, cases can be filtered and the table sorted.
const form = document.querySelector("[data-filter]");
if (form) {
  const cases = [...document.querySelectorAll("[data-case]")];
  const name = form.querySelector("[data-name]");
  const above = form.querySelector("[data-above]");
  const shown = form.querySelector("[data-shown]");
  const filter = () => {
    const wanted = name.value.toLowerCase();
    for (const one of cases) {
      const named = one.dataset.case.toLowerCase().includes(wanted);
      one.hidden = !named || (above.checked && !one.classList.contains("above"));
    }
    const left = cases.filter((one) => !one.hidden).length;
    shown.value = left === cases.length ? "" : `${left} of ${cases.length} shown`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
}
for (const table of document.querySelectorAll("[data-sortable]")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      const numeric = head.classList.contains("number");
      const key = (row) => {
        const text = row.cells[column].textContent;
        return numeric ? (Number.isNaN(Number.parseFloat(text)) ? -Infinity : Number.parseFloat(text)) : text;
      };
      const order = (a, b) => (numeric ? (a > b) - (a < b) : a.localeCompare(b, "en", { numeric: true }));
      const rows = [...body.rows].map((row) => [key(row), row]);
      rows.sort((a, b) => (down ? order(b[0], a[0]) : order(a[0], b[0])));
      body.append(...rows.map((pair) => pair[1]));
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
    });
  });
}
