"use strict";
// Tables that sort by a column when its head is pressed.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const worth = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    const number = parseFloat(text.replace(/,/g, "").replace("−", "-"));
    return cell.classList.contains("numeric") ? (Number.isNaN(number) ? null : number) : text;
  };
  const compare = (one, other) =>
    typeof one === "number" ? one - other : one.localeCompare(other, "en", { numeric: true });
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => [worth(row, column), row]);
      rows.sort(([one], [other]) => {
        if (one === null || other === null) return (one === null) - (other === null);
        return (down ? -1 : 1) * compare(one, other);
      });
      body.append(...rows.map(([, row]) => row)); // what is missing stays last
    });
  });
}

// The chart of the courses: what is chosen in the form becomes its data, its scales and its titles.
const form = document.getElementById("explore-form");
if (form) {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const data = read("course-data");
  const chart = read("course-spec");
  const field = (name) => document.getElementById("explore-" + name);
  const [quantity, time, chosen] = ["quantity", "time", "run"].map(field);
  const [xLog, yLog, status] = ["x-log", "y-log", "status"].map(field);
  const option = (value, text) => Object.assign(document.createElement("option"), { value, text });
  let view = null;

  const words = new Map([...data.quantities, ...data.times]);
  for (const [name] of data.quantities) quantity.add(option(name, words.get(name)));
  for (const [name] of data.times) time.add(option(name, words.get(name)));

  const experiments = [...new Map(data.runs.map((run) => [run.experiment, run.title]))];
  experiments.forEach(([experiment, title], place) => {
    const group = document.createElement("fieldset");
    const legend = document.createElement("legend");
    legend.textContent = title;
    group.append(legend);
    const colors = new Map(
      data.runs.filter((run) => run.experiment === experiment).map((run) => [run.n, run.color]),
    );
    for (const [n, color] of [...colors].sort((one, other) => one[0] - other[0])) {
      const label = document.createElement("label");
      const box = Object.assign(document.createElement("input"), {
        type: "checkbox", checked: place === 0, name: experiment, value: n,
      });
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = color;
      label.append(box, swatch, "N = " + n.toLocaleString("en"));
      group.append(label);
    }
    field("filters").append(group);
  });

  const boxOf = (run) =>
    [...field("filters").querySelectorAll("input")].find(
      (box) => box.name === run.experiment && Number(box.value) === run.n,
    );
  const shown = () => data.runs.filter((run) => boxOf(run).checked);
  // As in the figures: logarithmic where the longest run is over four times as long as the shortest.
  const uneven = () => {
    const ends = shown().map((run) => run.points[time.value].at(-1));
    return Math.max(...ends) > 4 * Math.min(...ends);
  };

  const pointsOf = (run) =>
    run.points[time.value].map((x, place) => {
      const y = run.points[quantity.value][place];
      return { run: run.run, experiment: run.title, n: run.n, init: run.init, subset: run.subset,
        color: run.color, x, y: yLog.checked && y <= 0 ? null : y };
    }).filter((point) => point.x !== null && !(xLog.checked && point.x <= 0));

  const tell = () => {
    const runs = shown();
    const run = runs.find((each) => each.run === chosen.value);
    let text = runs.length + " of " + data.runs.length + " runs are shown.";
    if (run) {
      const points = pointsOf(run).filter((point) => point.y !== null);
      const most = points.reduce((one, other) => (other.y > one.y ? other : one), points[0]);
      if (most) {
        text += " " + run.run + ": from " + points[0].y + " to " + points.at(-1).y + ", at most " +
          most.y + " at " + words.get(time.value) + " " + most.x + ".";
      }
    }
    status.textContent = text;
  };

  const draw = async () => {
    const runs = shown();
    const kept = runs.some((run) => run.run === chosen.value) ? chosen.value : "";
    chosen.replaceChildren(option("", "none"), ...runs.map((run) => option(run.run, run.run)));
    chosen.value = kept;
    const [yWords, xWords] = [words.get(quantity.value), words.get(time.value)];
    const spec = structuredClone(chart);
    spec.datasets = { points: runs.flatMap(pointsOf) };
    spec.description = "Line chart of " + yWords + " against " + xWords + ", " + runs.length + " runs.";
    spec.params.find((param) => param.name === "chosen").value = kept;
    for (const { encoding } of spec.layer) {
      const falls = time.value === "loss"; // so that training goes to the right
      Object.assign(encoding.x, { title: xWords + (falls ? ", falling to the right" : "") });
      encoding.x.scale = { nice: false, reverse: falls, ...(xLog.checked ? { type: "log" } : { zero: false }) };
      Object.assign(encoding.y, { title: yWords });
      encoding.y.scale = { nice: false, ...(yLog.checked ? { type: "log" } : { type: "linear", zero: false }) };
      for (const entry of encoding.tooltip) {
        if (entry.field === "x") entry.title = xWords;
        if (entry.field === "y") entry.title = yWords;
      }
    }
    const options = { renderer: "svg", actions: { export: true, source: false, compiled: false, editor: false } };
    view = (await vegaEmbed("#course-chart", spec, options)).view;
    tell();
  };

  xLog.checked = uneven();
  time.addEventListener("change", () => { xLog.checked = uneven(); });
  chosen.addEventListener("change", () => { view.signal("chosen", chosen.value).runAsync(); tell(); });
  form.addEventListener("change", (event) => { if (event.target !== chosen) draw(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const link of document.querySelectorAll("a.look")) {
    link.addEventListener("click", () => {
      const run = data.runs.find((each) => each.run === link.dataset.run);
      if (words.has(link.dataset.quantity)) quantity.value = link.dataset.quantity;
      if (run) boxOf(run).checked = true;
      draw().then(() => {
        if (run) { chosen.value = run.run; chosen.dispatchEvent(new Event("change")); }
      });
    });
  }
  document.getElementById("explore-chart").hidden = false;
  draw();
}
