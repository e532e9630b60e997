// The report: pictures and details when they are looked at, a table to sort and to filter, the map of a pair.
const $ = id => document.getElementById(id), table = $("pairs"), cards = $("cards"), look = $("look");
const rows = [...table.tBodies[0].rows].map(row => {
  const card = document.querySelector(row.cells[0].firstChild.getAttribute("href"));
  const words = [...card.querySelectorAll("header, .error, .remark")].map(one => one.textContent).join(" ");
  return { row, card, status: row.cells[1].textContent, words: `${row.textContent} ${words}`.toLowerCase() };
});

function showPicture(picture) { if (picture.dataset.src) { picture.src = picture.dataset.src; delete picture.dataset.src; } }
function showDetails(details) { const left = details.querySelector("template"); if (left) left.replaceWith(left.content); }
const seen = new IntersectionObserver(entries => entries.forEach(entry => {
  if (entry.isIntersecting) { entry.target.querySelectorAll("img").forEach(showPicture); seen.unobserve(entry.target); }
}), { rootMargin: "800px" });
rows.forEach(one => seen.observe(one.card));
cards.addEventListener("toggle", event => showDetails(event.target), true);
addEventListener("beforeprint", () => { cards.querySelectorAll("img").forEach(showPicture); cards.querySelectorAll("details").forEach(one => { showDetails(one); one.open = true; }); });

function filter() {
  const wanted = $("find").value.toLowerCase().split(/\s+/).filter(Boolean), status = $("status").value;
  let count = 0;
  for (const one of rows) {
    const hide = !wanted.every(word => one.words.includes(word)) || status && one.status !== status;
    one.row.hidden = one.card.hidden = hide; count += !hide;
  }
  $("count").textContent = `${count} of ${rows.length} pairs`;
}
$("find").addEventListener("input", filter);
$("status").addEventListener("change", filter);

function readKey(text) {
  const number = parseFloat(text.replace("−", "-"));
  const unit = { kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 }[text.split(" ")[1]] || 1, times = [...text.matchAll(/([\d.]+) (d|h|min|s)\b/g)];
  if (times.length) return times.reduce((sum, [, value, of]) => sum + value * { d: 86400, h: 3600, min: 60, s: 1 }[of], 0);
  return Number.isNaN(number) || /\d-\d/.test(text) ? null : number * unit;
}
function sort(column, sign) {
  const keys = new Map(rows.map(one => [one, readKey(one.row.cells[column].textContent)])), text = one => one.row.cells[column].textContent;
  const isNumber = [...keys.values()].some(key => key !== null);
  const order = (a, b) => !isNumber ? sign * text(a).localeCompare(text(b))
    : (keys.get(a) === null) - (keys.get(b) === null) || sign * (keys.get(a) - keys.get(b));
  rows.sort(order);
  table.tBodies[0].append(...rows.map(one => one.row)); cards.append(...rows.map(one => one.card));
}
[...table.tHead.rows[0].cells].forEach((head, column) => {
  if (head.textContent === "Products") return;
  const button = make("button", { type: "button", title: "Sort" }, head.textContent);
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    [...head.parentElement.cells].forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    sort(column, sign);
  });
});

let viewer = null;
function takeScene(scene) {
  $("viewer").replaceChildren();
  viewer = new Viewer($("viewer"), scene, { pick: readValues, plot });
  $("area").textContent = `A pixel of the map is ${viewer.pixelAt(0)} m; the GeoTIFFs hold all of them.`;
}
function plot(found, raster, range) {
  $("plotname").textContent = found.counts ? "Histogram" : "Profile";
  if (found.counts) drawHistogram("plot", found, raster, range); else drawProfile("plot", found, raster);
}
async function readValues(place) {
  const texts = await Promise.all(viewer.names.map(async name => {
    const raster = viewer.rasters[name], value = await raster.read(place), digits = digitsFor((raster.high - raster.low) / 10);
    return `${raster.title}: ${Number.isFinite(value) ? `${say(value, digits)} ${raster.unit}` : "no value"}`;
  }));
  $("values").replaceChildren(make("b", {}, viewer.name(place)), ...texts.map(text => make("span", {}, text)));
}
function openLayers(button) {
  $("looktitle").textContent = button.dataset.title; $("values").replaceChildren("Click the map."); $("plot").replaceChildren();
  $("viewer").replaceChildren("Loading …");
  look.showModal();
  const script = make("script", { src: button.dataset.scene });
  script.onload = () => script.remove();
  script.onerror = () => { script.remove(); $("viewer").replaceChildren(make("div", { class: "error" }, `cannot read ${decodeURIComponent(button.dataset.scene)}, which this page shows: it must lie beside this page, where the run put both`)); };
  document.head.append(script);
}
cards.addEventListener("click", event => { if (event.target.matches("button.look")) openLayers(event.target); });
$("close").addEventListener("click", () => look.close());
look.addEventListener("close", () => { viewer?.end(); viewer = null; $("viewer").replaceChildren(); });
