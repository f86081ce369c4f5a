// What a link says about the viewer: the view, its settings, and the labels that are hidden or shown alone. Independent of
// the page. A group is named before its labels, except for the group "classes": "15,errors:2".
const USUAL = Object.freeze({ view: "overlay", opacity: 60, minimum: 0, names: true });
const VIEWS = ["overlay", "compare", "mask", "confidence"];
const SLIDERS = { opacity: 100, minimum: 99 }; // the highest values
const PLAIN_GROUP = "classes";

// Reads a query string: { look, like USUAL; hidden, a Map of group -> Set of ids; solo, a Map of group -> id }. Values that
// the viewer cannot have are left out.
function lookIn(query) {
  const said = new URLSearchParams(query);
  const look = { ...USUAL };
  if (VIEWS.includes(said.get("show"))) look.view = said.get("show");
  for (const [name, most] of Object.entries(SLIDERS)) {
    const text = said.get(name) ?? "";
    if (/^[0-9]{1,3}$/.test(text) && Number(text) <= most) look[name] = Number(text);
  }
  if (said.get("names") === "0") look.names = false;
  const hidden = new Map();
  for (const [group, id] of labelsIn(said.get("hidden"))) hidden.set(group, (hidden.get(group) ?? new Set()).add(id));
  return { look, hidden, solo: new Map(labelsIn(said.get("only"))) };
}

function labelsIn(text) {
  const found = (text ?? "").split(",").map((each) => /^(?:([a-z]+):)?([0-9]{1,3})$/.exec(each));
  return found.filter(Boolean).map(([, group = PLAIN_GROUP, id]) => [group, Number(id)]);
}

function nameOf(group, id) {
  return group === PLAIN_GROUP ? String(id) : `${group}:${id}`;
}

// Returns the query string, without the values that are usual. only, hidden: names of labels.
function queryOf(look, only, hidden) {
  const said = new URLSearchParams();
  if (look.view !== USUAL.view) said.set("show", look.view);
  for (const name of Object.keys(SLIDERS)) if (look[name] !== USUAL[name]) said.set(name, look[name]);
  if (!look.names) said.set("names", 0);
  if (only.length > 0) said.set("only", only);
  if (hidden.length > 0) said.set("hidden", hidden);
  return said.toString();
}
