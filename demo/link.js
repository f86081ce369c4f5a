// Keeps the page's address up to date: the tab, the image, the settings and what the picture viewer shows, but never a
// visitor's own photograph.
{
  const OF_VIEWER = ["show", "opacity", "minimum", "names", "only", "hidden"]; // as in view/look.js
  const OF_TABS = ["tab", "sample", "images", "image", "mode", "class", "threshold", "edges", "model", "resize", "protocol", "tta"];
  const NAMES = [...OF_TABS, ...OF_VIEWER];
  const FIRST = "photograph";
  const seen = {}; // the parameters of each tab, after the tab has shown its first result
  const opened = location.search; // the link by which the page was opened
  const link = new URLSearchParams(opened);
  let tab = ["truth", "set", "guide"].find((each) => each === link.get("tab")) ?? FIRST;
  // What the viewer of each tab shows, as a query string.
  const looks = { [tab]: new URLSearchParams([...link].filter(([name]) => OF_VIEWER.includes(name))).toString() };
  let opens = tab !== FIRST; // the link's tab is not open yet: Gradio opens the first tab before it

  const tabOf = (viewer) => viewer.replace("-viewer", "");

  // The query string. Parameters of others, such as Gradio's theme, stay as they are.
  function query() {
    const parameters = new URLSearchParams(location.search);
    for (const name of NAMES) parameters.delete(name);
    if (tab !== FIRST) parameters.set("tab", tab);
    for (const [name, value] of seen[tab] ?? []) parameters.set(name, value);
    for (const [name, value] of new URLSearchParams(looks[tab])) parameters.set(name, value);
    return parameters.size ? `?${parameters}`.replace(/%2C|%3A/g, decodeURIComponent) : "";
  }

  function update() {
    const now = query();
    if (now === location.search) return;
    history.replaceState(history.state, "", `${location.pathname}${now}${location.hash}`);
    // On Hugging Face the page is in a frame, and visitors see the address of the page around it.
    if (window.parent !== window) window.parent.postMessage({ queryString: now.slice(1) }, "https://huggingface.co");
  }

  // Names and values of the parameters: the image, and all settings that are not at their defaults.
  function parametersOf(which, { defaults, samples }, values) {
    const { sample, image } = segcoreOpened();
    const settings = Object.fromEntries(Object.keys(defaults).map((name, at) => [name, values[at]]));
    const pairs = [];
    if (which === FIRST && sample) pairs.push(["sample", samples[sample]]);
    if (which !== FIRST && image) pairs.push(["images", image[0]], ["image", image[1][0]]);
    const { mode, automatic, threshold, ...others } = settings;
    if (mode !== defaults.mode) {
      pairs.push(["mode", mode]);
      if (!automatic) pairs.push(["threshold", threshold]);
    } else delete others.class;
    for (const [name, value] of Object.entries(others)) {
      if (value !== defaults[name]) pairs.push([name, typeof value === "boolean" ? Number(value) : value]);
    }
    return pairs;
  }

  // Browsers refuse an address that changes very often, as with a slider.
  let due;
  document.addEventListener("segcore-look", ({ detail: { viewer, query } }) => {
    looks[tabOf(viewer)] = query;
    clearTimeout(due);
    due = setTimeout(update, 300);
  });

  window.segcoreLinks = {
    opened,
    opensTab: { __type__: "update", ...(opens && { selected: tab }) },
    lookOf: (viewer) => looks[tabOf(viewer)],
    namesImage: tab === "truth" && link.has("image"), // which on_link opens, so that on_open need not open the first one
    // Returns the inputs of a load event, with the link's query string as the first.
    open({ samples }, inputs) {
      const sample = samples.indexOf(link.get("sample"));
      if (sample > 0) segcoreOpens(sample);
      return [opened, ...inputs.slice(1)];
    },
    write(which, known, values) {
      seen[which] = parametersOf(which, known, values);
      if (which === tab) update();
      return [];
    },
    show(which) {
      if (opens && which !== tab) return [];
      opens = false;
      tab = which;
      update();
      return [];
    },
    async copy(which) {
      update();
      const own = which === FIRST && segcoreOpened().sample === undefined;
      const what = own
        ? "Link copied. It holds your settings, not your photograph. To show the picture itself, use Download."
        : "Link copied.";
      try {
        await navigator.clipboard.writeText(location.href);
        return [segcoreNotice(what)];
      } catch {
        // Browsers allow it only on https or localhost, and visitors can forbid it.
        const shown = Object.assign(document.createElement("span"), { textContent: location.href });
        return [`<p class="notice" role="status">${segcoreText("Copy this link:")} ${shown.innerHTML}</p>`];
      }
    },
    // Returns an empty notice after a while.
    emptyLater: () => new Promise((done) => setTimeout(() => done([""]), 6000)),
  };
}
