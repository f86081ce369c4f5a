// The viewer itself. Runs once per component, after labels.js, certainty.js, zoom.js and look.js; Gradio hands in `element`, `props`, `watch`.
const root = element.querySelector(".viewer");
const [toolbar, stage, message, legends] = ["toolbar", "stage", "message", "legends"].map((name) =>
  root.querySelector(`.${name}`),
);
const WHAT_IS_DRAWN = { overlay: "Overlay", compare: "Photograph on the left, overlay on the right", mask: "Mask", confidence: "How sure the model is" };
const MAX_PHOTOS = 8;
const MAX_OUTLINE_WIDTH = 4096; // pixels
const ZOOM_STEP = 1.5; // factor of a button or a key
const KEY_PAN = 0.15; // share of the visible part
const GRIP_REACH = 28; // CSS pixels: the divider can be dragged within this distance
const EXACT_FROM = 4; // from this scale on, pixels are shown as squares

// Photographs by key; on `window`, so that they stay when Gradio removes a component and mounts it again.
const photos = (window.segcorePhotos ??= new Map());
const ownName = element.parentElement.closest("[id]").id; // element's own id is Gradio's
const { look, hidden, solo } = lookIn(window.segcoreLinks?.lookOf(ownName)); // of the link by which the page was opened
const state = { ...look, divider: 50, enlarged: null, highlight: null };
let inView = {}; // the shown photograph; it stays even if the other viewer has shown many others since
let panels = [];
let groups = new Map(); // group -> Map of id -> legend entry
const namedBefore = new Map(); // name of a label for link.js -> its name in the last legend that had it
let zoom = WHOLE; // the same in all panels
const fingers = new Map(); // pointer id -> position as fractions of the visible part, for pointers that are down on a picture
let isPanning = false;
let latestTurn = 0;
let version = 0;

const clamp = (number, low, high) => Math.max(low, Math.min(high, number));
const within = (node, name) => (node instanceof Element ? node.closest(name) : null);

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, text] of Object.entries(attributes)) node.setAttribute(name, text);
  node.append(...children); // strings become text nodes, so names are never interpreted as HTML
  return node;
}

function makeSwatch(color) {
  const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
  swatch.style.setProperty("--swatch", color);
  return swatch;
}

// ---- which labels are shown

function soloOf(group) {
  const id = solo.get(group);
  return groups.get(group)?.has(id) ? id : null; // a class that is not in this picture cannot be shown alone
}

function isShown(group, id) {
  const alone = soloOf(group);
  return alone === null ? !hidden.get(group)?.has(id) : alone === id;
}

function shownEntries(group) {
  return [...groups.get(group).values()].filter(({ id }) => isShown(group, id));
}

function hiddenNames(isWanted = () => true) {
  return [...groups].filter(([group]) => isWanted(group)).flatMap(([group, entries]) => {
    return [...entries.keys()].filter((id) => !isShown(group, id)).map((id) => nameOf(group, id));
  });
}

// Tells link.js what the picture shows now.
let told = null;
function tellLook() {
  const alone = [...groups.keys()].filter((group) => soloOf(group) !== null);
  const only = alone.map((group) => nameOf(group, soloOf(group)));
  const query = queryOf(state, only, hiddenNames((group) => !alone.includes(group)));
  if (query === told) return;
  told = query;
  root.dispatchEvent(new CustomEvent("segcore-look", { bubbles: true, detail: { viewer: ownName, query } }));
}

function toggleShown(group, id) {
  if (soloOf(group) !== null) {
    hidden.set(group, new Set([...groups.get(group).keys()].filter((each) => !isShown(group, each))));
    solo.delete(group);
  }
  const ids = hidden.get(group) ?? new Set();
  if (!ids.delete(id)) ids.add(id);
  hidden.set(group, ids);
}

function toggleSolo(group, id) {
  const wasAlone = soloOf(group) === id;
  solo.delete(group);
  hidden.delete(group);
  if (!wasAlone) solo.set(group, id);
}

// Label 1 is a class in one task and the object in another: what was hidden or alone by another name is so no longer.
function forgetRenamed() {
  for (const [group, entries] of groups) {
    for (const { id, name } of entries.values()) {
      const before = namedBefore.get(nameOf(group, id)) ?? name;
      namedBefore.set(nameOf(group, id), name);
      if (before === name) continue;
      hidden.get(group)?.delete(id);
      if (solo.get(group) === id) solo.delete(group);
    }
  }
}

// ---- showing a value

async function loadPhoto({ key, src }) {
  const known = src ?? photos.get(key) ?? (inView.key === key ? inView.src : null);
  if (!known) return null;
  inView = { key, src: known };
  photos.delete(key);
  photos.set(key, known); // the most recently shown comes last
  while (photos.size > MAX_PHOTOS) photos.delete(photos.keys().next().value);
  const image = make("img", { class: "photo", alt: "", draggable: "false", decoding: "sync", src: known });
  await image.decode();
  return image;
}

async function show(value) {
  const turn = ++latestTurn;
  root.dataset.ready = "false";
  root.setAttribute("aria-busy", "true");
  const described = (value ? (value.layout === "grid" ? value.panels : value.panels.slice(0, 1)) : []).map(translated);
  let drawn = { described: [], maps: [], certainties: [], photo: null };
  let sentence = value ? value.message : segcoreText(props.placeholder);
  try {
    const decoding = described.map(({ labels }) => labels && decodeLabels(labels));
    const deciding = described.map(({ certainty }) => certainty && decodeCertainty(certainty));
    const all = [value && loadPhoto(value.photo), Promise.all(decoding), Promise.all(deciding)];
    const [photo, maps, certainties] = await Promise.all(all);
    drawn = { described, maps, certainties, photo };
    if (value && !photo) sentence = segcoreText("The photograph is no longer kept in this page: please choose it again.");
  } catch (error) {
    console.error(error);
    sentence = segcoreText("This picture could not be shown: please choose it again.");
  }
  if (turn !== latestTurn) return; // there is a newer value
  const isNew = root.dataset.photo !== (value?.photo.key ?? "");
  if (isNew) zoom = WHOLE;
  root.dataset.photo = value?.photo.key ?? "";
  root.dataset.layout = value?.layout ?? "single";
  root.dataset.empty = drawn.described.length === 0;
  build(drawn);
  for (const { figure } of panels) figure.classList.toggle("arrives", isNew);
  message.textContent = sentence;
  refresh();
  root.dataset.version = ++version;
  root.dataset.ready = "true";
  root.setAttribute("aria-busy", "false");
}

// Returns a panel with its names in the visitor's language.
function translated(panel) {
  const unpainted = Object.entries(panel.unpainted).map(([id, name]) => [id, segcoreText(name)]);
  const certainty = panel.certainty && { ...panel.certainty, names: panel.certainty.names.map((name) => segcoreText(name)) };
  const legend = panel.legend.map((entry) => ({ ...entry, name: segcoreText(entry.name), note: segcoreText(entry.note) }));
  return { ...panel, title: segcoreText(panel.title), legend, unpainted: Object.fromEntries(unpainted), certainty };
}

function build({ described, maps, certainties, photo }) {
  groups = new Map();
  for (const { group, legend } of described) {
    if (!groups.has(group)) groups.set(group, new Map());
    for (const entry of legend) if (!groups.get(group).has(entry.id)) groups.get(group).set(entry.id, entry);
  }
  forgetRenamed();
  resizes.disconnect();
  state.highlight = null;
  panels = described.map((panel, index) => buildPanel(panel, maps[index], certainties[index], photo));
  root.dataset.judged = certainties.some(Boolean);
  stage.replaceChildren(...panels.map(({ figure }) => figure));
  stage.dataset.panels = panels.length;
  legends.replaceChildren();
  for (const [group, entries] of groups) {
    if (entries.size === 0) continue;
    const users = panels.filter((panel) => panel.group === group && panel.map).map(({ title }) => title);
    legends.append(buildLegend(group, entries, root.dataset.layout === "grid" ? users.join(" · ") : ""));
  }
  legends.append(make("button", { type: "button", class: "show-all", "data-action": "show-all" }, segcoreText("Show all")));
  panels.forEach(({ picture }) => resizes.observe(picture));
}

function buildPanel({ title, group, legend, unpainted, named }, whole, certainty, photo) {
  const map = whole;
  const image = photo?.cloneNode() ?? "";
  if (image && !map) image.alt = title;
  const fill = make("canvas", { class: "fill", role: "img" });
  const outline = make("canvas", { class: "outline", "aria-hidden": "true" });
  Object.assign(fill, { width: map?.width ?? 1, height: map?.height ?? 1 });
  const painted = named ? legend.filter(({ id }) => map?.anchors.has(id)) : [];
  const makePill = ({ id, name, color }) =>
    make("span", { class: "pill", "data-id": id, "aria-hidden": "true" }, makeSwatch(color), make("span", {}, name));
  const pills = new Map(painted.map((entry) => [entry.id, makePill(entry)]));
  const layer = make("div", { class: "layer" }, fill, outline, ...pills.values());
  const divider = make("div", { class: "divider" }, make("span", { class: "grip" }));
  const range = make("input", { type: "range", class: "divider-range", "data-control": "divider", min: 0, max: 100 });
  range.setAttribute("aria-label", segcoreText("Divider: photograph on the left, overlay on the right"));
  range.value = state.divider;
  const cross = make("div", { class: "cross", hidden: "" });
  const tip = make("div", { class: "tip", hidden: "" });
  const about = { tabindex: 0, role: "group", "aria-label": segcoreText("{title}: + and − zoom, arrow keys move, 0 shows all", { title }) };
  const drawn = map ? [layer, range, divider] : [];
  const picture = make("div", { class: "picture", ...about }, image, ...drawn, cross, tip);
  const enlarge = make("button", { type: "button", class: "enlarge", "data-action": "enlarge", "data-title": title });
  enlarge.setAttribute("aria-label", segcoreText("Enlarge {title}", { title }));
  Object.assign(enlarge.dataset, { enlarge: segcoreText("Enlarge"), smaller: segcoreText("Smaller") });
  const figure = make("figure", { class: "panel" }, make("figcaption", {}, make("span", {}, title), enlarge), picture);
  const size = map ?? { width: photo?.naturalWidth ?? 4, height: photo?.naturalHeight ?? 3 };
  figure.style.setProperty("--aspect", size.width / size.height);
  const parts = { fill, outline, pills, cross, tip, picture, figure };
  return { title, group, unpainted, named, whole, map, certainty, minimum: 0, ...parts };
}

function buildLegend(group, entries, title) {
  const list = make("ul", { class: "legend", "aria-label": segcoreText("Legend {title}", { title }).trim() });
  for (const { id, name, color, note } of entries.values()) {
    const data = { "data-group": group, "data-id": id };
    const button = (action, ...children) =>
      make("button", { ...data, type: "button", class: action, "data-action": action }, ...children);
    const toggle = button("toggle", makeSwatch(color), make("span", { class: "name" }, name));
    if (note) toggle.append(" ", make("span", { class: "note" }, note));
    const only = button("only", segcoreText("Only"));
    only.setAttribute("aria-label", segcoreText("Only {name}", { name }));
    list.append(make("li", { ...data, class: "chip" }, toggle, only));
  }
  const heading = title ? [make("p", { class: "legend-title", "aria-hidden": "true" }, title)] : [];
  return make("div", { class: "legend-row" }, ...heading, list);
}

// ---- drawing

function refresh(group) {
  applyControls();
  drawGroups(group);
}

function drawGroups(...wanted) {
  panels.filter(({ group }) => wanted.includes(group) || wanted.includes(undefined)).forEach(draw);
}

// At most once per frame.
let isRefreshDue = false;
function refreshSoon() {
  if (isRefreshDue) return;
  isRefreshDue = true;
  requestAnimationFrame(() => {
    isRefreshDue = false;
    refresh();
  });
}

// Applies opacity, view and divider by CSS, without painting again.
function applyControls() {
  if (root.dataset.layout === "grid" && state.view === "compare") state.view = "overlay";
  if (panels.length > 0 && !panels.some(({ certainty }) => certainty)) {
    if (state.view === "confidence") state.view = "overlay";
    state.minimum = 0;
  }
  const hiddenList = hiddenNames();
  Object.assign(root.dataset, {
    view: state.view,
    names: state.names,
    opacity: state.opacity,
    minimum: state.minimum,
    hidden: hiddenList.join(","),
  });
  applyZoom();
  root.style.setProperty("--overlay-opacity", state.opacity / 100);
  root.style.setProperty("--divider", `${state.divider}%`);
  for (const radio of toolbar.querySelectorAll("[data-control=view]")) radio.checked = radio.value === state.view;
  const slider = toolbar.querySelector("[data-control=opacity]");
  slider.disabled = state.view === "mask" || (state.view === "confidence" && root.dataset.layout === "single");
  slider.value = state.opacity;
  slider.nextElementSibling.textContent = `${state.opacity} %`;
  toolbar.querySelector("[data-control=names]").checked = state.names;
  toolbar.querySelector("[data-control=minimum]").value = state.minimum;
  toolbar.querySelector(".minimum output").textContent = `${state.minimum} %`;
  root.style.setProperty("--minimum", state.minimum / 100);
  root.querySelector(".show-all").hidden = hiddenList.length === 0;
  for (const chip of root.querySelectorAll(".chip")) {
    const { group, id } = chip.dataset;
    chip.querySelector(".toggle").setAttribute("aria-pressed", isShown(group, Number(id)));
    chip.querySelector(".only").setAttribute("aria-pressed", soloOf(group) === Number(id));
  }
  for (const { title, group, map, fill, figure } of panels) {
    figure.classList.toggle("enlarged", title === state.enlarged);
    figure.querySelector(".enlarge").setAttribute("aria-pressed", title === state.enlarged);
    const present = shownEntries(group).filter(({ id }) => map?.anchors.has(id));
    const list = present.map(({ name, note }) => `${name} ${note}`.trim()).join(", ");
    const what = root.dataset.layout === "grid" ? title : segcoreText(WHAT_IS_DRAWN[state.view]);
    fill.setAttribute("aria-label", `${what}: ${list || segcoreText("nothing is painted")}`);
  }
  if (panels.length > 0) tellLook();
}

function applyZoom() {
  const { scale, left, top } = zoom;
  Object.assign(root.dataset, { zoomed: scale > 1, exact: scale >= EXACT_FROM });
  for (const [name, number] of Object.entries({ scale, left, top })) root.style.setProperty(`--zoom-${name}`, number);
  root.querySelector(".zoom output").textContent = `${Math.round(scale * 100)} %`;
  root.querySelector("[data-action=zoom-out]").disabled = scale === 1;
  root.querySelector("[data-action=zoom-in]").disabled = scale === MAX_SCALE;
  root.querySelector("[data-action=zoom-all]").hidden = scale === 1;
}

// At most once per frame.
let isZoomDue = false;
function setZoom(part) {
  zoom = part;
  if (isZoomDue) return;
  isZoomDue = true;
  requestAnimationFrame(() => {
    isZoomDue = false;
    applyZoom();
    panels.forEach(drawLines);
  });
}

function draw(panel) {
  const { group, fill, figure, certainty } = panel;
  if (!panel.whole) return;
  keepSure(panel);
  const isHeat = certainty && state.view === "confidence";
  figure.classList.toggle("heat", Boolean(isHeat));
  if (isHeat) {
    paintLabels(fill, { ids: panel.sure }, heatWords(state.minimum));
    drawLines(panel);
    return;
  }
  const { spot, lit } = litEntries(group);
  const words = new Uint32Array(256).fill(spot.length ? DIMMED : 0);
  for (const { id, color } of lit) words[id] = opaqueWord(color);
  paintLabels(fill, panel.map, words);
  drawLines(panel);
}

// Leaves out of a panel's map what is not sure enough.
function keepSure(panel) {
  const { whole, certainty } = panel;
  if (!certainty) return;
  if (state.view === "confidence" || state.minimum > 0) {
    panel.sure ??= surenessOf(certainty, whole.width, whole.height);
  }
  if (panel.minimum === state.minimum) return;
  panel.map = state.minimum > 0 ? sureMap(whole, panel.sure, state.minimum) : whole;
  panel.minimum = state.minimum;
}

function litEntries(group) {
  const shown = shownEntries(group);
  const spot = shown.filter(({ id }) => state.highlight?.group === group && state.highlight.id === id);
  return { spot, lit: spot.length ? spot : shown };
}

// Draws outlines and names. Their size does not depend on the zoom.
function drawLines(panel) {
  const { group, map, named, outline, pills, picture } = panel;
  if (!map) return;
  const { lit } = litEntries(group);
  const regions = new Uint8Array(256);
  for (const { id } of state.names && named ? lit : []) regions[id] = id;
  const pixelsWide = Math.min((picture.clientWidth || map.width) * devicePixelRatio, MAX_OUTLINE_WIDTH);
  outline.width = Math.max(1, Math.round(pixelsWide)); // as fine as the screen, whatever the map's own size
  outline.height = Math.max(1, Math.round((pixelsWide * map.height) / map.width));
  strokeBorders(outline, map, regions, 2 * devicePixelRatio, zoom);
  for (const [id, pill] of pills) {
    pill.hidden = !state.names || !map.anchors.has(id) || !lit.some((entry) => entry.id === id);
  }
  placePills(panel);
}

// Places each name at the centre of its largest area, above a small area, and not over other names or under the zoom bar.
function placePills({ picture, map, pills }) {
  const { clientWidth: width, clientHeight: height } = picture;
  const bar = zoomBarOver(picture);
  const placed = [];
  const radiusOf = ([id]) => map.anchors.get(id).radius;
  const visible = [...pills].filter(([, pill]) => !pill.hidden);
  for (const [id, pill] of visible.sort((a, b) => radiusOf(b) - radiusOf(a))) {
    const anchor = map.anchors.get(id);
    const [x, y] = [(anchor.x - zoom.left) * zoom.scale, (anchor.y - zoom.top) * zoom.scale];
    pill.classList.toggle("outside", Math.min(x, y) < 0 || Math.max(x, y) > 1);
    if (pill.classList.contains("outside")) continue;
    const radius = anchor.radius * zoom.scale;
    const [wide, high] = [pill.offsetWidth, pill.offsetHeight];
    const lift = radius * width < high * 0.6 ? radius * width + high * 0.6 : 0;
    const left = clamp(x * width - wide / 2, 4, Math.max(4, width - wide - 4));
    const bottom = left + wide > bar.left ? Math.min(bar.top, height) : height;
    let top = clamp(y * height - high / 2 - lift, 4, Math.max(4, bottom - high - 4));
    const covers = (other) =>
      left < other.right && other.left < left + wide && top < other.bottom && other.top < top + high;
    while (placed.some(covers) && top + 2 * high < bottom) top += high / 2;
    while (placed.some(covers) && top > high / 2) top -= high / 2; // no room below
    placed.push({ left, top, right: left + wide, bottom: top + high });
    pill.style.translate = `${Math.round(left)}px ${Math.round(top)}px`;
  }
}

// The left and top of the zoom bar, which lies over the lower right corner of a single picture; in a grid it lies below.
function zoomBarOver(picture) {
  const [bar, { left, top }] = [root.querySelector(".zoom").getBoundingClientRect(), picture.getBoundingClientRect()];
  return { left: bar.left - left, top: bar.top - top };
}

// ---- pointing at the picture: shows the label there in all panels

function pointAt(x, y) {
  const [column, row] = pictureFractions(zoom, x, y);
  const grid = root.dataset.layout === "grid";
  const under = new Set();
  for (const { group, unpainted, whole, certainty, cross, tip, picture } of panels) {
    const id = whole ? labelAt(whole, column, row) : undefined;
    const entry = isShown(group, id) ? groups.get(group).get(id) : undefined;
    if (entry) under.add(`${group}:${id}`);
    const text = entry?.name ?? (grid || certainty ? unpainted[id] : undefined);
    cross.hidden = !grid;
    cross.style.setProperty("--x", `${x * 100}%`);
    cross.style.setProperty("--y", `${y * 100}%`);
    tip.hidden = !text;
    if (text) tip.replaceChildren(makeName(entry, text), ...(certainty ? [makeShares(certainty, column, row)] : []));
    const left = clamp(
      x * picture.clientWidth - tip.offsetWidth / 2,
      4,
      Math.max(4, picture.clientWidth - tip.offsetWidth - 4),
    );
    const above = y * picture.clientHeight - tip.offsetHeight - 14;
    tip.style.translate = `${left}px ${above < 4 ? y * picture.clientHeight + 18 : above}px`;
  }
  for (const chip of root.querySelectorAll(".chip")) {
    chip.classList.toggle("under", under.has(`${chip.dataset.group}:${chip.dataset.id}`));
  }
}

function makeName(entry, text) {
  return make("strong", {}, ...(entry ? [makeSwatch(entry.color)] : []), text);
}

// The likeliest classes and their probabilities. Those that round to 0 % are left out.
function makeShares(certainty, x, y) {
  const likeliest = likeliestAt(certainty, x, y).filter(({ percent }) => percent > 0);
  return make("dl", {}, ...likeliest.flatMap(({ name, percent }) => [make("dt", {}, name), make("dd", {}, `${percent} %`)]));
}

function pointAway() {
  for (const { cross, tip } of panels) cross.hidden = tip.hidden = true;
  for (const chip of root.querySelectorAll(".chip.under")) chip.classList.remove("under");
}

function fractions(event, picture) {
  const box = picture.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

function followPointer(event, picture) {
  const [x, y] = fractions(event, picture);
  const before = fingers.get(event.pointerId);
  if (before) {
    fingers.set(event.pointerId, [x, y]);
    if (fingers.size > 1) pinch(event.pointerId, before, [x, y]);
    else if (isPanning) setZoom(movedBy(zoom, x - before[0], y - before[1]));
    else if (picture.hasPointerCapture(event.pointerId)) moveDivider(x * 100);
  }
  pointAt(clamp(x, 0, 1), clamp(y, 0, 1));
}

// Handles one of two fingers, which moved from `before` to `now`. The other finger is the centre of the zoom.
function pinch(moved, before, now) {
  const [, other] = [...fingers].find(([id]) => id !== moved);
  const apart = (point) => Math.max(0.02, Math.hypot(point[0] - other[0], point[1] - other[1]));
  const middle = [(before[0] + other[0]) / 2, (before[1] + other[1]) / 2];
  const enlarged = zoomedAt(zoom, apart(now) / apart(before), ...middle);
  setZoom(movedBy(enlarged, (now[0] - before[0]) / 2, (now[1] - before[1]) / 2));
}

// Decides what a pressed pointer moves: the divider, or an enlarged picture.
function takeHold(event, picture) {
  const [x, y] = fractions(event, picture);
  fingers.set(event.pointerId, [x, y]);
  const onDivider = Math.abs(x - state.divider / 100) * picture.clientWidth <= GRIP_REACH;
  const holdsDivider = state.view === "compare" && (zoom.scale === 1 || onDivider);
  isPanning = !holdsDivider && zoom.scale > 1;
  if (!holdsDivider && !isPanning && fingers.size === 1) return;
  event.preventDefault();
  picture.setPointerCapture(event.pointerId);
  const focused = holdsDivider ? picture.querySelector(".divider-range") : picture;
  focused.focus({ preventScroll: true, focusVisible: false });
}

function letGo(event) {
  fingers.delete(event.pointerId);
  if (fingers.size === 0) isPanning = false;
}

function toggleFullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else root.requestFullscreen();
}

function moveDivider(percent) {
  state.divider = clamp(Math.round(percent * 10) / 10, 0, 100);
  for (const range of root.querySelectorAll(".divider-range")) range.value = state.divider;
  applyControls();
}

function highlight(node) {
  const chip = within(node, ".chip");
  const next = chip && { group: chip.dataset.group, id: Number(chip.dataset.id) };
  if (next?.id === state.highlight?.id && next?.group === state.highlight?.group) return;
  const groupsTouched = [state.highlight, next].filter(Boolean).map(({ group }) => group);
  state.highlight = next;
  drawGroups(...groupsTouched);
}

// ---- events, all on the root, because its contents are replaced

const actions = {
  toggle: ({ group, id }) => toggleShown(group, Number(id)),
  only: ({ group, id }) => toggleSolo(group, Number(id)),
  "show-all": () => [hidden, solo].forEach((each) => each.clear()),
  enlarge: ({ title }) => (state.enlarged = state.enlarged === title ? null : title),
  "zoom-in": () => setZoom(zoomedAt(zoom, ZOOM_STEP, 0.5, 0.5)),
  "zoom-out": () => setZoom(zoomedAt(zoom, 1 / ZOOM_STEP, 0.5, 0.5)),
  "zoom-all": () => setZoom(WHOLE),
  fullscreen: toggleFullscreen,
};
const keys = {
  "+": actions["zoom-in"],
  "=": actions["zoom-in"],
  "-": actions["zoom-out"],
  0: actions["zoom-all"],
  ArrowLeft: () => setZoom(movedBy(zoom, KEY_PAN, 0)),
  ArrowRight: () => setZoom(movedBy(zoom, -KEY_PAN, 0)),
  ArrowUp: () => setZoom(movedBy(zoom, 0, KEY_PAN)),
  ArrowDown: () => setZoom(movedBy(zoom, 0, -KEY_PAN)),
};
const controls = {
  view: ({ value }) => (state.view = value),
  opacity: ({ value }) => (state.opacity = Number(value)),
  names: ({ checked }) => (state.names = checked),
  minimum: ({ value }) => (state.minimum = Number(value)),
  divider: ({ value }) => (state.divider = Number(value)),
};

root.addEventListener("click", (event) => {
  const button = within(event.target, "[data-action]");
  if (!button) return;
  actions[button.dataset.action](button.dataset);
  refresh(button.dataset.group);
});
root.addEventListener("input", (event) => {
  const { control } = event.target.dataset;
  controls[control](event.target);
  if (control === "minimum") refreshSoon();
  else if (control === "names" || control === "view") refresh();
  else applyControls();
});
root.addEventListener("pointerdown", (event) => {
  const picture = within(event.target, ".picture");
  if (!picture) return pointAway();
  if (event.button === 0) takeHold(event, picture);
  if (state.view === "compare" && !isPanning && fingers.size === 1 && event.button === 0) {
    moveDivider(fractions(event, picture)[0] * 100);
  }
  followPointer(event, picture);
});
for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) root.addEventListener(name, letGo);
root.addEventListener("dblclick", (event) => {
  const picture = within(event.target, ".picture");
  if (picture && state.view !== "compare") setZoom(zoomedAt(zoom, 2, ...fractions(event, picture)));
});
root.addEventListener(
  "wheel",
  (event) => {
    const picture = within(event.target, ".picture");
    const isWanted = event.ctrlKey || event.metaKey || zoom.scale > 1 || document.fullscreenElement;
    if (!picture || !isWanted) return; // the page scrolls
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : 30 * event.deltaY;
    setZoom(zoomedAt(zoom, Math.exp(-clamp(lines, -120, 120) / 300), ...fractions(event, picture)));
  },
  { passive: false },
);
root.addEventListener("keydown", (event) => {
  if (!event.target.matches(".picture") || !keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key.startsWith("Arrow") && zoom.scale === 1) return; // the page scrolls
  event.preventDefault();
  keys[event.key]();
});
root.addEventListener("pointermove", (event) => {
  const picture = within(event.target, ".picture");
  if (picture) followPointer(event, picture);
});
root.addEventListener("pointerover", (event) => {
  if (event.pointerType !== "mouse") return;
  highlight(event.target);
  if (!within(event.target, ".picture")) pointAway();
});
root.addEventListener("pointerleave", (event) => {
  if (event.pointerType !== "mouse") return; // on a touch screen, a name stays until the next tap
  highlight(null);
  pointAway();
});
root.addEventListener("focusin", (event) => highlight(event.target.matches(":focus-visible") ? event.target : null));
root.addEventListener("focusout", () => highlight(null));

// Outlines and names depend on the size on screen. A hidden tab has no size until it is opened.
const resizes = new ResizeObserver((entries) => {
  const resized = new Set(entries.map(({ target }) => target));
  panels.filter(({ picture }) => resized.has(picture)).forEach(draw);
});

segcoreTranslate(root);
root.querySelector(".ramp .colors").style.backgroundImage = `linear-gradient(to right, ${RAMP})`;
root.querySelector("[data-action=fullscreen]").hidden = !document.fullscreenEnabled; // iPhones have no full-screen mode
for (const radio of toolbar.querySelectorAll("[data-control=view]")) radio.name = `${element.id}-view`;
watch("value", () => show(props.value || null));
show(props.value || null);
