"use strict";
// The map of a page. formats/viewer/__init__.py packs the scene that it shows; a place is [u, v], 0 to 1 from the north-west.
const TILE = 256, MESH = 17, KEPT_TILES = 240, MOST_BINNED = 600000;
const TABLES = {};

function make(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const key in attributes) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), attributes[key]);
    else made.setAttribute(key, attributes[key]);
  }
  made.append(...children);
  return made;
}
function say(value, digits) { return value.toFixed(digits).replace(/^-(?=0(\.0*)?$)/, "").replace("-", "−"); }
function digitsFor(span) { return Math.min(Math.max(1 - Math.floor(Math.log10(Math.max(span, 1e-9) / 2)), 0), 6); }
function roundStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].find(n => n * power >= rough * (1 - 1e-9)) * power;
}
function save(name, blob) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link); link.click(); link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

async function unpack(text, rows, columns, step) {
  const size = rows * columns, values = new Float32Array(size);
  if (!text) return values.fill(NaN);
  const packed = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer()), mask = Math.ceil(size / 8);
  const whole = new Int32Array(size);
  for (let at = 0; at < size; at++) {
    const folded = bytes[mask + at] | bytes[mask + size + at] << 8, rest = folded >>> 1 ^ -(folded & 1);
    const left = at % columns ? whole[at - 1] : null, up = at >= columns ? whole[at - columns] : null;
    whole[at] = rest + (left === null ? up ?? 0 : up === null ? left : left + up >> 1);
    values[at] = bytes[at >> 3] >> 7 - (at & 7) & 1 ? whole[at] * step : NaN;
  }
  return values;
}

class Raster {
  constructor(scene, packed) { Object.assign(this, packed); this.scene = scene; this.kept = new Map(); }
  sizeAt(level) { return [this.scene.rows, this.scene.columns].map(n => Math.ceil(n / 2 ** level)); }
  shapeOf(level, row, column) { const [rows, columns] = this.sizeAt(level); return [Math.min(rows - row * TILE, TILE), Math.min(columns - column * TILE, TILE)]; }
  ready(level, row, column) { const tile = this.kept.get(`${level} ${row} ${column}`); return tile instanceof Float32Array ? tile : null; }
  load(level, row, column) {
    const key = `${level} ${row} ${column}`;
    if (!this.kept.has(key)) {
      if (this.kept.size > KEPT_TILES) this.kept.delete(this.kept.keys().next().value);
      const job = (level < this.first ? this.enlarge(level, row, column) : this.unpackTile(level, row, column));
      this.kept.set(key, job.then(values => { this.kept.set(key, values); return values; }));
    }
    return Promise.resolve(this.kept.get(key));
  }
  unpackTile(level, row, column) {
    const across = Math.ceil(this.sizeAt(level)[1] / TILE), text = this.levels[level - this.first][row * across + column];
    return unpack(text, ...this.shapeOf(level, row, column), this.step);
  }
  async enlarge(level, row, column) {
    const parent = await this.load(level + 1, row >> 1, column >> 1), [, wide] = this.shapeOf(level + 1, row >> 1, column >> 1);
    const [rows, columns] = this.shapeOf(level, row, column), values = new Float32Array(rows * columns);
    const top = (row & 1) * TILE, left = (column & 1) * TILE;
    for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) values[r * columns + c] = parent[(r + top >> 1) * wide + (c + left >> 1)];
    return values;
  }
  async read([u, v]) {
    const level = this.first, [rows, columns] = this.sizeAt(0);
    const row = Math.floor(v * rows) >> level, column = Math.floor(u * columns) >> level;
    if (!(u >= 0 && u < 1 && v >= 0 && v < 1)) return NaN;
    const tile = await this.load(level, row >> 8, column >> 8);
    return tile[(row & 255) * this.shapeOf(level, row >> 8, column >> 8)[1] + (column & 255)];
  }
  async readAll(level) {
    const [rows, columns] = this.sizeAt(level), jobs = [];
    for (let r = 0; r * TILE < rows; r++) for (let c = 0; c * TILE < columns; c++) jobs.push(this.load(level, r, c));
    return Promise.all(jobs);
  }
}

function tableOf(stops) {
  return TABLES[stops] ||= Uint8ClampedArray.from({ length: 768 }, (_, at) => {
    const place = Math.floor(at / 3) / 255 * (stops.length - 1), low = Math.min(Math.floor(place), stops.length - 2);
    const [one, two] = [low, low + 1].map(k => parseInt(stops[k].slice(1 + at % 3 * 2, 3 + at % 3 * 2), 16));
    return one + (place - low) * (two - one);
  });
}

class Viewer {
  // tools: { pick(place), overlay(pen, toScreen), drawPlot(axes) }; scene.mask names the layer of "Coherence from"
  constructor(root, scene, tools = {}) {
    Object.assign(this, { root, scene, tools, sheets: new Map(), other: "", split: 0.5, profile: null, moved: 0 });
    this.rasters = Object.fromEntries(Object.entries(scene.layers).map(([name, packed]) => [name, new Raster(scene, packed)]));
    this.names = Object.keys(scene.layers).filter(name => name !== "relief");
    this.layer = this.names[0];
    this.ranges = Object.fromEntries(this.names.map(name => [name, [this.rasters[name].low, this.rasters[name].high]]));
    this.build(); this.listen(); this.resize();
    this.watcher = new ResizeObserver(() => this.resize()); this.watcher.observe(this.canvas);
    this.setLayer(this.layer);
  }

  end() { this.watcher.disconnect(); cancelAnimationFrame(this.waiting); }

  build() {
    const choices = () => this.names.map(name => make("option", { value: name }, this.rasters[name].title));
    this.select = make("select", { "aria-label": "Layer" }, ...choices());
    this.second = make("select", { "aria-label": "Layer to the right of the swipe" }, make("option", { value: "" }, "nothing"), ...choices());
    this.low = make("input", { type: "number", "aria-label": "Lower end of the colours" });
    this.high = make("input", { type: "number", "aria-label": "Upper end of the colours" });
    this.opacity = make("input", { type: "range", min: 0, max: 100, value: 85 });
    this.least = make("input", { type: "range", min: 0, max: 100, value: 0 });
    this.drawing = make("button", { type: "button", "aria-pressed": "false", title: "Drag a line across the map" }, "Profile");
    this.bar = make("div", { class: "tools" },
      make("label", {}, "Layer ", this.select), make("label", {}, "Swipe with ", this.second),
      this.lowLabel = make("label", {}, "Colours from ", this.low), make("label", {}, this.highText = make("span"), this.high),
      make("label", {}, "Opacity ", this.opacity), ...(this.scene.mask ? [make("label", {}, "Coherence from ", this.least)] : []),
      this.drawing, make("button", { type: "button", onclick: () => this.fit() }, "Whole map"),
      make("button", { type: "button", onclick: () => this.savePicture() }, "Map (PNG)"));
    this.canvas = make("canvas", { tabindex: 0, role: "application", "aria-label": "Map. Arrows move it, plus and minus zoom, 0 shows all, Enter reads the middle." });
    this.swiper = make("input", { type: "range", min: 0, max: 1000, value: 500, class: "swiper", "aria-label": "Swipe between the two layers" });
    this.status = make("div", { class: "status" }, "Point at the map to read values.");
    this.legends = make("div", { class: "legends" });
    this.root.append(this.bar, make("div", { class: "frame" }, this.canvas, this.swiper), this.status, this.legends);
  }

  setLayer(name) {
    const raster = this.rasters[this.layer = name], cyclic = raster.style === "cyclic", symmetric = raster.style === "symmetric";
    this.select.value = name;
    this.lowLabel.hidden = symmetric || cyclic;
    this.high.parentElement.hidden = cyclic;
    this.highText.textContent = symmetric ? "Colours to ± " : "to ";
    [this.low.value, this.high.value] = this.ranges[name].map(value => +value.toPrecision(6));
    this.low.step = this.high.step = roundStep((raster.high - raster.low) / 40);
    this.paint();
  }
  setRange() {
    const raster = this.rasters[this.layer], high = parseFloat(this.high.value);
    const low = raster.style === "symmetric" ? -high : parseFloat(this.low.value);
    if (high > low) { this.ranges[this.layer] = [low, high]; this.paint(); }
  }
  paint() { this.sheets.clear(); this.showLegends(); this.draw(); this.plot(); }

  resize() {
    const box = this.canvas.getBoundingClientRect();
    if (!box.width) return;
    const before = this.view && this.fromScreen(this.canvas.width / 2, this.canvas.height / 2), dot = devicePixelRatio;
    this.canvas.width = box.width * dot; this.canvas.height = box.height * dot;
    if (!this.view) return this.fit();
    this.view.x = this.canvas.width / 2 - before[0] * this.scene.columns * this.view.zoom;
    this.view.y = this.canvas.height / 2 - before[1] * this.scene.rows * this.view.zoom;
    this.draw();
  }
  fit() {
    const { width, height } = this.canvas, { rows, columns } = this.scene, zoom = Math.min(width / columns, height / rows) * 0.97;
    this.least_zoom = zoom / 2;
    this.view = { zoom, x: (width - columns * zoom) / 2, y: (height - rows * zoom) / 2 };
    this.draw();
  }
  toScreen([u, v]) { return [this.view.x + u * this.scene.columns * this.view.zoom, this.view.y + v * this.scene.rows * this.view.zoom]; }
  fromScreen(x, y) { return [(x - this.view.x) / this.view.zoom / this.scene.columns, (y - this.view.y) / this.view.zoom / this.scene.rows]; }
  zoomAt(x, y, factor) {
    const view = this.view, now = Math.min(Math.max(view.zoom * factor, this.least_zoom), 60) / view.zoom;
    view.x = x - (x - view.x) * now; view.y = y - (y - view.y) * now; view.zoom *= now; this.draw();
  }

  toDegrees([u, v]) {
    const [a, b] = [u, v].map(x => Math.min(Math.max(Math.floor(x * (MESH - 1)), 0), MESH - 2));
    const s = u * (MESH - 1) - a, t = v * (MESH - 1) - b, at = b * MESH + a;
    return this.scene.mesh.map(m => (1 - t) * ((1 - s) * m[at] + s * m[at + 1]) + t * ((1 - s) * m[at + MESH] + s * m[at + MESH + 1]));
  }
  fromDegrees([lat, lon]) {
    let u = 0.5, v = 0.5;
    for (let n = 0; n < 30; n++) {
      const at = this.toDegrees([u, v]), e = 1e-5, pu = this.toDegrees([u + e, v]), pv = this.toDegrees([u, v + e]);
      const [a, b, c, d] = [pu[0] - at[0], pu[1] - at[1], pv[0] - at[0], pv[1] - at[1]].map(x => x / e);
      const det = a * d - b * c, y = lat - at[0], x = lon - at[1];
      u += (d * y - c * x) / det; v += (a * x - b * y) / det;
    }
    return [u, v];
  }
  name(place) { return this.toDegrees(place).map(x => x.toFixed(5)).join(", "); }
  metresBetween([a, b], [c, d]) { return Math.hypot((c - a) * this.scene.metres[0], (d - b) * this.scene.metres[1]); }

  // Drawing: tiles of the level whose pixels are about those of the screen; the coarsest stands in for those not unpacked.
  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.render(); });
  }
  render() {
    if (!this.view) return;
    const { canvas, view } = this, pen = canvas.getContext("2d"), edge = canvas.width * this.split;
    pen.setTransform(1, 0, 0, 1, 0, 0); pen.clearRect(0, 0, canvas.width, canvas.height);
    this.missing = 0;
    this.drawLayer(pen, this.layer, 0, this.other ? edge : canvas.width);
    if (this.other) {
      this.drawLayer(pen, this.other, edge, canvas.width);
      pen.fillStyle = "#fff"; pen.fillRect(edge - 2, 0, 4, canvas.height); pen.fillStyle = "#111"; pen.fillRect(edge - 1, 0, 2, canvas.height);
    }
    this.drawOverlay(pen);
    this.root.dataset.ready = this.missing ? "" : "1";
  }
  drawLayer(pen, name, from, to) {
    const { view, scene } = this, level = Math.min(Math.max(Math.floor(-Math.log2(view.zoom)), 0), scene.count - 1);
    const size = TILE * 2 ** level * view.zoom, [rows, columns] = this.rasters[name].sizeAt(level), clip = [from, 0, to - from, this.canvas.height];
    pen.save(); pen.beginPath(); pen.rect(...clip); pen.clip();
    pen.imageSmoothingEnabled = view.zoom * 2 ** level < 1;
    const first = x => Math.max(Math.floor(x / size), 0);
    for (let r = first(-view.y); r * TILE < rows && view.y + r * size < this.canvas.height; r++)
      for (let c = first(from - view.x); c * TILE < columns && view.x + c * size < to; c++) this.drawTile(pen, name, level, r, c, size);
    pen.restore();
  }
  drawTile(pen, name, level, row, column, size) {
    const [rows, columns] = this.rasters[name].shapeOf(level, row, column), { view, scene } = this, top = scene.count - 1;
    const at = (start, n) => Math.round(start + n * size), x = at(view.x, column), y = at(view.y, row);
    const place = [x, y, at(view.x, column + columns / TILE) - x, at(view.y, row + rows / TILE) - y];
    const sheet = this.sheetOf(name, level, row, column);
    if (sheet) return pen.drawImage(sheet, 0, 0, columns, rows, ...place);
    this.missing++;
    const coarse = this.sheetOf(name, top, 0, 0), part = 2 ** (level - top);
    if (coarse) pen.drawImage(coarse, column * TILE * part, row * TILE * part, columns * part, rows * part, ...place);
  }
  sheetOf(name, level, row, column) {
    const key = `${name} ${level} ${row} ${column}`, tile = [level, row, column];
    if (this.sheets.has(key)) return this.sheets.get(key);
    const needed = [name, "relief", ...(this.least.value > 0 && this.scene.mask ? [this.scene.mask] : [])].map(one => this.rasters[one]);
    const values = needed.map(raster => raster.ready(...tile));
    if (values.includes(null)) { Promise.all(needed.map(raster => raster.load(...tile))).then(() => this.draw()); return null; }
    if (this.sheets.size > KEPT_TILES) this.sheets.delete(this.sheets.keys().next().value);
    const sheet = this.colour(name, this.rasters[name].shapeOf(...tile), ...values);
    this.sheets.set(key, sheet);
    return sheet;
  }
  colour(name, [rows, columns], values, relief, coherence) {
    const raster = this.rasters[name], [low, high] = this.ranges[name], table = tableOf(this.scene.palettes[raster.style]);
    const image = new ImageData(columns, rows), data = image.data, opacity = this.opacity.value / 100, least = this.least.value / 100;
    for (let at = 0; at < values.length; at++) {
      const value = values[at], lit = Number.isNaN(relief[at]) ? 127 : relief[at], shade = 90 + lit * 0.6, light = 0.75 + lit / 510;
      if (value !== value || coherence && !(coherence[at] >= least)) {
        data[4 * at] = data[4 * at + 1] = data[4 * at + 2] = shade; data[4 * at + 3] = 70;
        continue;
      }
      const share = (value - low) / (high - low), index = 3 * Math.round(255 * (raster.style === "cyclic" ? share - Math.floor(share) : Math.min(Math.max(share, 0), 1)));
      for (let k = 0; k < 3; k++) data[4 * at + k] = opacity * Math.min(table[index + k] * light, 255) + (1 - opacity) * shade;
      data[4 * at + 3] = 255;
    }
    const sheet = make("canvas", { width: columns, height: rows });
    sheet.getContext("2d").putImageData(image, 0, 0);
    return sheet;
  }
  drawOverlay(pen) {
    const dot = devicePixelRatio, { canvas, scene } = this;
    pen.strokeStyle = "#111"; pen.lineWidth = 2 * dot;
    if (this.profile) { pen.beginPath(); this.profile.forEach(end => pen.lineTo(...this.toScreen(end))); pen.stroke(); }
    this.tools.overlay?.(pen, place => this.toScreen(place), dot);
    if (this.keyed) {
      const [x, y] = [canvas.width / 2, canvas.height / 2];
      pen.beginPath(); pen.moveTo(x - 12 * dot, y); pen.lineTo(x + 12 * dot, y); pen.moveTo(x, y - 12 * dot); pen.lineTo(x, y + 12 * dot); pen.stroke();
    }
    const perMetre = scene.columns * this.view.zoom / scene.metres[0], length = roundStep(canvas.width * 0.22 / perMetre) / (canvas.width < 700 * dot ? 2 : 1);
    const wide = length * perMetre, left = canvas.width - wide - 14 * dot, bottom = canvas.height - 14 * dot;
    pen.fillStyle = "rgba(255,255,255,.85)"; pen.fillRect(left - 8 * dot, bottom - 20 * dot, wide + 16 * dot, 28 * dot);
    pen.fillStyle = "#111"; pen.fillRect(left, bottom - 2 * dot, wide, 3 * dot);
    pen.font = `${12 * dot}px system-ui, sans-serif`; pen.textAlign = "center";
    pen.fillText(length < 1000 ? `${+length.toPrecision(3)} m` : `${+(length / 1000).toPrecision(3)} km`, left + wide / 2, bottom - 6 * dot);
  }

  // Legends
  showLegends() {
    this.swiper.hidden = !this.other;
    this.legends.replaceChildren(...[this.layer, this.other].filter(Boolean).map((name, k) => this.makeLegend(name, this.other ? ["Left: ", "Right: "][k] : "")));
  }
  ticks(name) {
    const [low, high] = this.ranges[name], raster = this.rasters[name], digits = digitsFor(high - low);
    const middle = (low + high) / 2, unit = raster.unit ? ` ${raster.unit}` : "";
    return [`${say(low, digits)}${unit}${raster.ends[0] && `, ${raster.ends[0]}`}`, say(middle, digits), `${raster.ends[1] && `${raster.ends[1]}, `}${say(high, digits)}${unit}`];
  }
  makeLegend(name, side) {
    const raster = this.rasters[name], stops = this.scene.palettes[raster.style], head = make("div", {}, make("b", {}, side + raster.title), ` ${raster.unit && `(${raster.unit})`}${raster.note && `: ${raster.note}`}`);
    if (raster.style === "cyclic") return make("div", { class: "legend" }, head, this.makeWheel(stops));
    const ends = make("div", { class: "ends" }, ...this.ticks(name).map(text => make("span", {}, text)));
    const bar = make("div", { class: "bar", style: `background:linear-gradient(to right,${stops.join(",")})` });
    return make("div", { class: "legend" }, head, bar, ends, make("div", { class: "none" }, make("i"), "no reliable value"));
  }
  makeWheel(stops) {
    const wheel = make("canvas", { width: 240, height: 180, class: "wheel", role: "img", "aria-label": "Colour wheel: phase from −π to π, anticlockwise from the left" });
    drawWheel(wheel.getContext("2d"), stops, 120, 90, 60);
    return wheel;
  }
  savePicture() {
    const shown = [this.layer, this.other].filter(Boolean), dot = devicePixelRatio, { canvas } = this, line = 58 * dot;
    const sheet = make("canvas", { width: canvas.width, height: canvas.height + line * shown.length + 40 * dot }), pen = sheet.getContext("2d");
    pen.fillStyle = "#fff"; pen.fillRect(0, 0, sheet.width, sheet.height);
    pen.fillStyle = "#111"; pen.font = `bold ${15 * dot}px system-ui, sans-serif`;
    pen.fillText(this.scene.title || document.title, 12 * dot, 25 * dot);
    pen.drawImage(canvas, 0, 40 * dot);
    shown.forEach((name, k) => this.printLegend(pen, name, canvas.height + 40 * dot + k * line, sheet.width, dot, shown.length > 1 ? ["Left: ", "Right: "][k] : ""));
    sheet.toBlob(blob => save(`${shown.join("_")}.png`, blob));
  }
  printLegend(pen, name, top, width, dot, side) {
    const raster = this.rasters[name], stops = this.scene.palettes[raster.style], shade = pen.createLinearGradient(12 * dot, 0, width - 12 * dot, 0);
    stops.forEach((stop, k) => shade.addColorStop(k / (stops.length - 1), stop));
    pen.fillStyle = "#111"; pen.font = `${12 * dot}px system-ui, sans-serif`; pen.textAlign = "left";
    pen.fillText(`${side}${raster.title} ${raster.unit && `(${raster.unit})`}${raster.note && `: ${raster.note}`}`, 12 * dot, top + 17 * dot);
    pen.fillStyle = shade; pen.fillRect(12 * dot, top + 23 * dot, width - 24 * dot, 10 * dot);
    pen.fillStyle = "#111";
    const ticks = raster.style === "cyclic" ? ["−π", "0", "π"] : this.ticks(name);
    ticks.forEach((text, k) => { pen.textAlign = ["left", "center", "right"][k]; pen.fillText(text, [12 * dot, width / 2, width - 12 * dot][k], top + 48 * dot); });
  }

  // Plots of what is shown
  async plot() {
    if (!this.tools.plot) return;
    const turn = this.turn = (this.turn || 0) + 1, found = await (this.profile ? this.readProfile() : this.readHistogram());
    if (turn === this.turn) this.tools.plot(found, this.rasters[this.layer], this.ranges[this.layer]);
  }
  async readHistogram() {
    const raster = this.rasters[this.layer], [low, high] = this.ranges[this.layer], counts = new Array(60).fill(0), least = this.least.value / 100;
    let level = 0;
    while (raster.sizeAt(level).reduce((a, b) => a * b) > MOST_BINNED) level++;
    level = Math.max(level, raster.first);
    const tiles = await raster.readAll(level), masks = least > 0 && this.scene.mask ? await this.rasters[this.scene.mask].readAll(level) : null;
    tiles.forEach((tile, n) => tile.forEach((value, at) => {
      const spread = raster.step * (at * 0.6180339 % 1 - 0.5);  // values are rounded: bins would fill like a comb
      const bin = Math.floor((value + spread - low) / (high - low) * 60);
      if (bin >= 0 && bin < 60 && !(masks && !(masks[n][at] >= least))) counts[bin]++;
    }));
    return { counts, pixel: this.pixelAt(level) };
  }
  async readProfile() {
    const [one, two] = this.profile, raster = this.rasters[this.layer], many = 400;
    const at = k => [one[0] + (two[0] - one[0]) * k / many, one[1] + (two[1] - one[1]) * k / many], values = [];
    for (let k = 0; k <= many; k++) values.push(await raster.read(at(k)));
    const length = this.metresBetween(one, two) / 1000;
    return { values, length, places: values.map((_, k) => this.toDegrees(at(k))) };
  }
  pixelAt(level) { return Math.round(this.scene.metres[0] / this.scene.columns * 2 ** level); }

  listen() {
    const { canvas } = this, held = new Map();
    const at = event => { const box = canvas.getBoundingClientRect(); return [(event.clientX - box.left) * devicePixelRatio, (event.clientY - box.top) * devicePixelRatio]; };
    const far = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
    canvas.addEventListener("pointerdown", event => { canvas.setPointerCapture(event.pointerId); held.set(event.pointerId, at(event)); this.moved = 0; this.start = this.fromScreen(...at(event)); this.keyed = false; });
    canvas.addEventListener("pointermove", event => {
      const now = at(event), before = held.get(event.pointerId);
      if (!before) return this.readOut(this.fromScreen(...now));
      this.moved += far(now, before);
      held.set(event.pointerId, now);
      if (held.size === 2) {
        const other = [...held].find(([id]) => id !== event.pointerId)[1];
        this.zoomAt(...other, far(now, other) / Math.max(far(before, other), 1));
      } else if (this.isDrawing) { this.profile = [this.start, this.fromScreen(...now)]; this.draw(); }
      else { this.view.x += now[0] - before[0]; this.view.y += now[1] - before[1]; this.draw(); }
    });
    canvas.addEventListener("pointerup", event => {
      held.delete(event.pointerId);
      if (this.isDrawing && this.profile) this.plot();
      else if (this.moved < 6 * devicePixelRatio) this.pick(this.fromScreen(...at(event)));
    });
    canvas.addEventListener("pointercancel", event => held.delete(event.pointerId));
    canvas.addEventListener("wheel", event => { event.preventDefault(); this.zoomAt(...at(event), Math.exp(-event.deltaY / 400)); }, { passive: false });
    canvas.addEventListener("keydown", event => this.press(event));
    canvas.addEventListener("blur", () => { this.keyed = false; this.draw(); });
    this.select.addEventListener("change", () => this.setLayer(this.select.value));
    this.second.addEventListener("change", () => { this.other = this.second.value; this.paint(); });
    this.swiper.addEventListener("input", () => { this.split = this.swiper.value / 1000; this.draw(); });
    for (const input of [this.low, this.high]) input.addEventListener("change", () => this.setRange());
    for (const input of [this.opacity, this.least]) input.addEventListener("input", () => this.paint());
    this.drawing.addEventListener("click", () => {
      this.isDrawing = !this.isDrawing; this.drawing.setAttribute("aria-pressed", this.isDrawing);
      if (!this.isDrawing) { this.profile = null; this.plot(); this.draw(); }
    });
  }
  press(event) {
    const step = 60 * devicePixelRatio, { canvas, view } = this, middle = [canvas.width / 2, canvas.height / 2];
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (moves[event.key]) { view.x += moves[event.key][0]; view.y += moves[event.key][1]; }
    else if ("+=-".includes(event.key)) this.zoomAt(...middle, event.key === "-" ? 1 / 1.5 : 1.5);
    else if (event.key === "0") this.fit();
    else if (event.key === "Enter") this.pick(this.fromScreen(...middle));
    else return;
    event.preventDefault(); this.keyed = true; this.draw(); this.readOut(this.fromScreen(...middle));
  }
  pick(place) { this.readOut(place); this.tools.pick?.(place); }
  async readOut(place) {
    const turn = this.reading = (this.reading || 0) + 1, shown = [this.layer, this.other].filter(Boolean);
    const values = await Promise.all(shown.map(name => this.rasters[name].read(place)));
    if (turn !== this.reading) return;
    const texts = shown.map((name, k) => { const raster = this.rasters[name]; return `${raster.title} ${Number.isFinite(values[k]) ? `${say(values[k], digitsFor((raster.high - raster.low) / 10))} ${raster.unit}` : "no value"}`; });
    this.status.textContent = `${this.name(place)} (latitude, longitude): ${texts.join("; ")}`;
  }
}

function drawWheel(pen, stops, x, y, radius) {
  const table = tableOf(stops), style = getComputedStyle(document.documentElement);
  for (let n = 0; n < 360; n++) {
    const index = 3 * Math.round(n / 359 * 255), from = Math.PI - n * Math.PI / 180;  // −π lies to the left, phase grows anticlockwise
    pen.beginPath(); pen.arc(x, y, radius, from - 0.02, from + 0.02); pen.lineWidth = 26;
    pen.strokeStyle = `rgb(${table[index]},${table[index + 1]},${table[index + 2]})`; pen.stroke();
  }
  pen.fillStyle = style.getPropertyValue("--ink"); pen.font = "15px system-ui, sans-serif"; pen.textAlign = "center";
  for (const [text, dx, dy] of [["±π", -1, 0], ["0", 1, 0], ["π/2", 0, -1], ["−π/2", 0, 1]]) pen.fillText(text, x + dx * (radius + 34), y + dy * (radius + 24) + 5);
}
