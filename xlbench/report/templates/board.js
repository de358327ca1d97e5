"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const table = document.getElementById("main");
  const body = table.tBodies[0];

  // Sorting: numbers by data-v, the first column by its text; cells without a value stay last either way.
  const heads = all("thead th[scope=col]", table);
  const value = (row, column) => {
    const cell = row.cells[column];
    if (column === 0) return cell.querySelector(".name").textContent;
    return "v" in cell.dataset ? Number(cell.dataset.v) : null;
  };
  const sort = (head) => {
    const button = head.querySelector("button");
    const column = heads.indexOf(head);
    const first = button.dataset.first || "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    const sign = order === "ascending" ? 1 : -1;
    heads.forEach((each) => each.setAttribute("aria-sort", each === head ? order : "none"));
    const rows = [...body.rows].map((row) => [value(row, column), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
    });
    rows.forEach(([, row]) => body.append(row));
  };
  heads.forEach((head) => head.querySelector("button").addEventListener("click", () => sort(head)));

  // Filtering: what the table hides, the heat maps and details hide, and the plots fade.
  const find = document.getElementById("find");
  const role = document.getElementById("role");
  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const kept = new Set();
    for (const row of body.rows) {
      const text = row.cells[0].textContent.toLowerCase();
      const fits = words.every((word) => text.includes(word)) && (!role.value || row.dataset.role === role.value);
      row.hidden = !fits;
      if (fits) kept.add(row.dataset.row);
    }
    all(".heat tr[data-row], details[data-row]").forEach((each) => { each.hidden = !kept.has(each.dataset.row); });
    all("svg.plot [data-key]").forEach((each) => each.classList.toggle("off", each.dataset.key && !kept.has(each.dataset.key)));
    all("svg.plot [data-keys]").forEach((each) => each.classList.toggle("off", !each.dataset.keys.split(" ").every((key) => kept.has(key))));
    document.getElementById("count").textContent = `${kept.size} of ${body.rows.length} rows`;
    document.querySelector(".empty").hidden = kept.size > 0;
  };
  find.addEventListener("input", filter);
  role.addEventListener("change", filter);
  document.querySelector(".tools").addEventListener("submit", (event) => event.preventDefault());
  filter();

  // Tooltips of marks, for pointer and keyboard; the row lights up with its marks.
  const tip = document.getElementById("tip");
  const light = (key) => all("tr.hot, .point.hot").concat(key ? all(`#main tr[data-row="${key}"], .point[data-key="${key}"]`) : [])
    .forEach((each) => each.classList.toggle("hot", (each.dataset.row ?? each.dataset.key) === key));
  const show = (point) => {
    const [name, ...rest] = point.getAttribute("aria-label").split("\n");
    const bold = document.createElement("b");
    bold.textContent = name;
    tip.replaceChildren(bold, `\n${rest.join("\n")}`);
    tip.hidden = false;
    const mark = point.getBoundingClientRect();
    const box = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, mark.left + mark.width / 2 - box.width / 2), innerWidth - box.width - 8);
    const above = mark.top - box.height - 6;
    tip.style.left = `${left}px`;
    tip.style.top = `${above < 4 ? mark.bottom + 6 : above}px`;
    light(point.dataset.key);
  };
  const hide = () => { tip.hidden = true; light(null); };
  for (const plot of all("svg.plot")) {
    const points = all(".point", plot);
    const left = (point) => Number(point.querySelector(".target").getAttribute("cx"));
    const across = [...points].sort((a, b) => left(a) - left(b));
    for (const point of points) {
      // The title names a mark where no script runs; here it would be a second tooltip.
      const title = point.querySelector("title");
      point.setAttribute("aria-label", title.textContent);
      title.remove();
      point.addEventListener("pointerenter", () => show(point));
      point.addEventListener("pointerleave", hide);
      point.addEventListener("focus", () => show(point));
      point.addEventListener("blur", hide);
      point.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const next = across[(across.indexOf(point) + step + across.length) % across.length];
        points.forEach((each) => each.setAttribute("tabindex", each === next ? "0" : "-1"));
        next.focus();
      });
    }
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
  for (const row of body.rows) {
    row.addEventListener("pointerenter", () => light(row.dataset.row));
    row.addEventListener("pointerleave", () => light(null));
  }
})();
