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

  // Filtering: what the table hides, the heat maps, details and plots hide.
  const find = document.getElementById("find");
  const role = document.getElementById("role");
  const most = document.getElementById("megabytes");
  const least = document.getElementById("speed");
  // A row without the figure that is asked for is not known to fit.
  const within = (input, figure, fits) => !input || !input.value || (figure !== "" && fits(Number(figure), Number(input.value)));
  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const kept = new Set();
    for (const row of body.rows) {
      const text = row.cells[0].textContent.toLowerCase();
      const fits = words.every((word) => text.includes(word)) && (!role.value || row.dataset.role === role.value)
        && within(most, row.dataset.megabytes, (one, limit) => one <= limit)
        && within(least, row.dataset.speed, (one, limit) => one >= limit);
      row.hidden = !fits;
      if (fits) kept.add(row.dataset.row);
    }
    all(".heat tr[data-row], details[data-row]").forEach((each) => { each.hidden = !kept.has(each.dataset.row); });
    all("svg.plot [data-key]").forEach((each) => each.classList.toggle("off", each.dataset.key && !kept.has(each.dataset.key)));
    all("svg.plot [data-keys]").forEach((each) => each.classList.toggle("off", !each.dataset.keys.split(" ").every((key) => kept.has(key))));
    // The tab key stops at one mark of each plot, which must be one that is shown.
    for (const plot of all("svg.plot")) {
      if (plot.querySelector(".point[tabindex='0']:not(.off)")) continue;
      const shown = plot.querySelector(".point:not(.off)");
      if (shown) all(".point", plot).forEach((each) => each.setAttribute("tabindex", each === shown ? "0" : "-1"));
    }
    document.getElementById("count").textContent = `${kept.size} of ${body.rows.length} rows`;
    document.querySelector(".empty").hidden = kept.size > 0;
  };
  [find, most, least].forEach((input) => input?.addEventListener("input", filter));
  role.addEventListener("change", filter);
  document.querySelector(".tools").addEventListener("submit", (event) => event.preventDefault());
  filter();

  // Copying: where a browser refuses its clipboard, the text is shown and selected instead.
  for (const button of all("[data-copy]")) {
    const area = document.getElementById(button.dataset.copy);
    const said = document.getElementById("copied");
    button.addEventListener("click", async () => {
      all(".copies textarea").forEach((each) => { each.hidden = true; });
      try {
        await navigator.clipboard.writeText(area.value);
        said.textContent = `${button.textContent} copied.`;
      } catch {
        area.hidden = false;
        area.select();
        said.textContent = "Selected: copy it with Ctrl+C or ⌘C.";
      }
    });
  }

  // A link to a row's details opens them, and shows them where a filter hid them.
  const unfold = () => {
    const details = /^#row-\d+$/.test(location.hash) && document.querySelector(location.hash);
    if (details) { details.hidden = false; details.open = true; details.scrollIntoView(); }
  };
  addEventListener("hashchange", unfold);
  all("a.name").forEach((link) => link.addEventListener("click", () => { if (link.hash === location.hash) unfold(); }));
  unfold();

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
        const shown = across.filter((each) => !each.classList.contains("off"));
        const next = shown[(shown.indexOf(point) + step + shown.length) % shown.length];
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
