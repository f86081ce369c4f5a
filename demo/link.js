// The page's address says what is seen: the tab, the image and the settings; never a visitor's own photograph.
{
  const NAMES = ["tab", "sample", "images", "image", "mode", "class", "threshold", "edges", "model", "resize", "protocol", "tta"];
  const FIRST = "photograph";
  const seen = {}; // what the address says of each tab, once something has been seen there
  const opened = location.search; // the link by which the page was opened
  const said = new URLSearchParams(opened);
  let tab = ["truth", "set", "guide"].find((each) => each === said.get("tab")) ?? FIRST;
  let opens = tab !== FIRST; // a tab that the address names; Gradio first opens the first tab

  // The address's own parameters, all others as they are: the theme, for one.
  function query() {
    const parameters = new URLSearchParams(location.search);
    for (const name of NAMES) parameters.delete(name);
    if (tab !== FIRST) parameters.set("tab", tab);
    for (const [name, value] of seen[tab] ?? []) parameters.set(name, value);
    return parameters.size ? `?${parameters}` : "";
  }

  function update() {
    const now = query();
    if (now === location.search) return;
    history.replaceState(history.state, "", `${location.pathname}${now}${location.hash}`);
    // A Space is shown in a frame, and its own address belongs to the page around it.
    if (window.parent !== window) window.parent.postMessage({ queryString: now.slice(1) }, "https://huggingface.co");
  }

  // Pairs of name and value: the image, and the settings that differ from those of a page just opened.
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

  window.segcoreLinks = {
    opened,
    // The inputs of an event that opens the page: the first is filled with the link's query string.
    open({ samples }, inputs) {
      const sample = samples.indexOf(said.get("sample"));
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
      const own = which === FIRST && segcoreOpened().sample === undefined;
      const what = own ? "Link copied. It holds your settings, not your photograph." : "Link copied.";
      try {
        await navigator.clipboard.writeText(location.href);
        return [`<p class="notice" role="status">${what}</p>`];
      } catch {
        // Without https, or where the browser does not allow it.
        const link = Object.assign(document.createElement("span"), { textContent: location.href });
        return [`<p class="notice" role="status">Copy this link: ${link.innerHTML}</p>`];
      }
    },
    // After a while nothing is said any more.
    quiet: () => new Promise((done) => setTimeout(() => done([""]), 6000)),
  };
}
