// Charts of a page, in SVG elements of a given id; after viewer.js.
function add(id, name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  document.getElementById(id).append(made);
  return made;
}
function makeAxes(id, height, across, along, name, unit, title) {
  document.getElementById(id).replaceChildren();
  const x = value => 56 + (value - across[0]) / (across[1] - across[0] || 1) * 410, bottom = height - 38;
  const y = value => bottom - (value - along[0]) / (along[1] - along[0] || 1) * (bottom - 22);
  const step = roundStep((along[1] - along[0]) / 5);
  for (let tick = Math.ceil(along[0] / step) * step; tick <= along[1] + step / 1e6; tick += step) {
    add(id, "path", { d: `M56 ${y(tick)}H466`, class: "grid" });
    add(id, "text", { x: 50, y: y(tick) + 4, "text-anchor": "end" }, `${+tick.toPrecision(6)}`.replace("-", "−"));
  }
  add(id, "text", { x: 4, y: 12 }, unit);
  [0, 0.5, 1].forEach((part, k) => add(id, "text", { x: 56 + 410 * part, y: bottom + 16, "text-anchor": ["start", "middle", "end"][k] }, name(across[0] + part * (across[1] - across[0]))));
  add(id, "text", { x: 261, y: height - 4, "text-anchor": "middle" }, title);
  return { x, y };
}
function drawHistogram(id, { counts, pixel }, raster, [low, high]) {
  const digits = digitsFor(high - low), axes = makeAxes(id, 190, [low, high], [0, Math.max(...counts, 1)], value => say(value, digits), `number of pixels of ${pixel} m`, `${raster.title} ${raster.unit && `(${raster.unit})`}`);
  counts.forEach((count, k) => add(id, "rect", { x: 56 + 410 * k / 60, width: 410 / 60 - 0.5, y: axes.y(count), height: Math.max(axes.y(0) - axes.y(count), 0), class: "count" }));
}
function drawProfile(id, { values, length }, raster) {
  const known = values.filter(Number.isFinite);
  if (!known.length) { document.getElementById(id).replaceChildren(); add(id, "text", { x: 56, y: 60 }, "No value along this line"); return; }
  const low = Math.min(...known), high = Math.max(...known), gap = (high - low) * 0.08 || 1;
  const axes = makeAxes(id, 190, [0, length], [low - gap, high + gap], x => `${say(x, digitsFor(length))}`, `${raster.title} ${raster.unit && `(${raster.unit})`}`, "distance along the line (km)");
  let path = "";
  values.forEach((value, k) => { if (Number.isFinite(value)) path += `${path && Number.isFinite(values[k - 1]) ? "L" : "M"}${axes.x(length * k / (values.length - 1))} ${axes.y(value)}`; });
  add(id, "path", { d: path, class: "line" });
}
