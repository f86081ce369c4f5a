// The page's texts in the visitor's language, with English as the key and the fallback. page.py gives `segcoreTexts`.
{
  const [own, base] = [navigator.language, navigator.language.split("-")[0]];
  const known = Object.keys(window.segcoreTexts);
  const language = [own, base].find((each) => known.includes(each)) ?? "en";
  document.documentElement.lang = language;

  // Values replace their names, as in segcoreText("Only {name}", { name: "dog" }).
  const texts = new Map(Object.entries(window.segcoreTexts[language] ?? {}));
  window.segcoreText = (english, values = {}) =>
    (texts.get(english) ?? english).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

  // A notice as `tables.notice` makes it.
  window.segcoreNotice = (english, kind = "info") =>
    `<p class="notice ${kind}" role="status">${segcoreText(english).replaceAll("&", "&amp;").replaceAll("<", "&lt;")}</p>`;

  // Translates all texts, names and tips in an element.
  window.segcoreTranslate = (element) => {
    const lines = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    while (lines.nextNode()) {
      const english = lines.currentNode.data.trim().replace(/\s+/g, " ");
      const own = segcoreText(english);
      if (own !== english) lines.currentNode.data = ` ${own} `;
    }
    for (const name of ["aria-label", "title"]) {
      for (const each of [element, ...element.querySelectorAll(`[${name}]`)]) {
        if (each.hasAttribute(name)) each.setAttribute(name, segcoreText(each.getAttribute(name)));
      }
    }
  };
}
