(() => {
  "use strict";

  const key = (row, column) => row.cells[column].dataset.sort ?? null;

  const compare = (one, other) => {
    const [a, b] = [Number(one), Number(other)];
    if (!Number.isNaN(a) && !Number.isNaN(b)) return a - b;
    return one < other ? -1 : one > other ? 1 : 0;
  };

  const sort = (header, column) => {
    const table = header.closest("table");
    const first = header.querySelector("button").dataset.first;
    const opposite = { ascending: "descending", descending: "ascending" };
    const now = header.getAttribute("aria-sort");
    const direction = now === "none" ? first : opposite[now];
    const sign = direction === "ascending" ? 1 : -1;
    const rows = [...table.tBodies[0].rows].map((row) => [key(row, column), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * compare(a, b);
    });
    table.tBodies[0].append(...rows.map(([, row]) => row));
    for (const other of header.parentElement.cells) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", direction);
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const row of table.tBodies[0].rows) {
      for (const cell of row.cells) {
        const plain = cell.textContent.trim();
        if (cell.dataset.sort === undefined && plain !== "–") {
          cell.dataset.sort = plain.toLowerCase();
        }
      }
    }
    [...table.tHead.rows[0].cells].forEach((header, column) => {
      header.querySelector("button").addEventListener("click", () => sort(header, column));
    });
  }

  const [protocol, structure, system] = ["protocol", "structure", "system"].map((id) =>
    document.getElementById(id),
  );

  const filter = () => {
    const wanted = system.value.trim().toLowerCase();
    let boards = 0;
    let lines = 0;
    for (const board of document.querySelectorAll("article.board")) {
      let some = false;
      for (const row of board.querySelectorAll("[data-system]")) {
        row.hidden = !row.dataset.system.toLowerCase().includes(wanted);
        some ||= row.matches("tr") && !row.hidden;
      }
      const named = (select, name) => !select.value || select.value === name;
      const { dataset } = board;
      board.hidden = !(
        some && named(protocol, dataset.protocol) && named(structure, dataset.structure)
      );
      if (board.hidden) continue;
      boards += 1;
      lines += board.querySelectorAll("tbody tr:not([hidden])").length;
    }
    const noun = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
    document.getElementById("shown").textContent =
      `${noun(boards, "table")}, ${noun(lines, "row")}`;
  };

  if ([...structure.options].some((option) => option.value === "lungs")) structure.value = "lungs";
  for (const control of [protocol, structure, system]) {
    control.addEventListener("input", filter);
    control.addEventListener("change", filter);
  }
  document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
  filter();
})();
