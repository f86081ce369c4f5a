// Gradio refuses files without an image type, and desktop browsers do not know HEIC: set the type of such files.
{
  const TYPES = { heic: "image/heic", heif: "image/heif", avif: "image/avif", tif: "image/tiff", tiff: "image/tiff", jp2: "image/jp2" };
  const PLACE = "#photograph-upload";

  const typeOf = (file) => TYPES[file.name.split(".").pop().toLowerCase()];
  const needsType = (file) => !file.type.startsWith("image/") && typeOf(file);

  function withTypes(files) {
    const transfer = new DataTransfer();
    for (const file of files) transfer.items.add(needsType(file) ? new File([file], file.name, { type: typeOf(file) }) : file);
    return transfer.files;
  }

  // Both in the capturing phase, before Gradio's own listeners.
  document.addEventListener("change", ({ target }) => {
    if (target.matches?.(`${PLACE} input[type=file]`) && [...target.files].some(needsType)) target.files = withTypes(target.files);
  }, true);
  document.addEventListener("drop", (event) => {
    const place = event.target.closest?.(PLACE);
    const files = event.dataTransfer?.files ?? [];
    if (!place || (files.length < 2 && ![...files].some(needsType))) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const given = withTypes(files); // the list of files of a drop cannot be changed
    if (files.length < 2) give(place.querySelector("input[type=file]"), given);
    else giveSeveral(given);
  }, true);

  function give(input, files) {
    input.files = files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }

  // The place for several photographs is folded at first, and then not part of the page. While photographs
  // are segmented, it is hidden.
  async function giveSeveral(files) {
    const input = () => document.querySelector("#several-files input[type=file]");
    document.querySelector("#several > button:not(.open)")?.click();
    while (!input()) await new Promise(requestAnimationFrame);
    give(input(), files);
  }
}

// Gradio labels the images of a gallery "Thumbnail 3 of 18". Use their captions instead.
{
  const nameAll = () => {
    for (const button of document.querySelectorAll(".picker .thumbnail-lg")) {
      const caption = button.querySelector("img")?.alt;
      if (caption && button.ariaLabel !== caption) button.ariaLabel = caption;
    }
  };
  new MutationObserver(nameAll).observe(document, { subtree: true, childList: true, attributeFilter: ["alt", "aria-label"] });
}

// Clicking into a dropdown selects its text, so that typing replaces it. Gradio would append to it. Gradio opens the list
// on focus only: a click into a list that Escape closed would do nothing.
document.addEventListener("click", ({ target }) => {
  if (!target.matches?.("input[role=listbox], input[role=combobox]")) return;
  if (target.ariaExpanded === "false") {
    target.blur();
    target.focus();
  }
  if (!target.readOnly) target.select();
});

// Models that are not on this machine look quieter (page.css). Offline they cannot be chosen either. Gradio's dropdowns have
// no such choices.
{
  const [NOT_HERE, NOT_HERE_YET] = ["{title} (not on this machine)", "{title} (not here yet: choose it to download it)"]
    .map((each) => segcoreText(each, { title: "" }).trim());
  const endsWith = (option, end) => option?.ariaLabel?.endsWith(end) ?? false;
  const isNotHere = (option) => endsWith(option, NOT_HERE);

  new MutationObserver(() => {
    for (const option of document.querySelectorAll("[role=option]")) {
      option.toggleAttribute("data-not-here", isNotHere(option) || endsWith(option, NOT_HERE_YET));
      if (isNotHere(option) && option.ariaDisabled !== "true") option.ariaDisabled = "true";
    }
  }).observe(document, { subtree: true, childList: true, attributeFilter: ["aria-label"] });

  const stop = (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  document.addEventListener("mousedown", (event) => {
    if (isNotHere(event.target.closest?.("[role=option]"))) stop(event);
  }, true);
  document.addEventListener("keydown", (event) => {
    const list = event.key === "Enter" && document.getElementById(event.target.getAttribute?.("aria-controls"));
    if (list && isNotHere(list.querySelector("[role=option].active"))) stop(event);
  }, true);
}

// Gradio moves the open list of a dropdown when the window scrolls. The controls scroll by themselves, too.
document.addEventListener("scroll", ({ target }) => {
  if (target.matches?.(".control-column")) window.dispatchEvent(new Event("scroll"));
}, true);

// Arrow keys, Home and End move between the tabs.
document.addEventListener("keydown", (event) => {
  const tabs = event.target.matches?.("[role=tab]") ? [...event.target.parentElement.querySelectorAll("[role=tab]")] : [];
  const at = tabs.indexOf(event.target);
  const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (at < 0 || next === undefined) return;
  event.preventDefault();
  const tab = tabs.at(next % tabs.length);
  tab.focus();
  tab.click();
});

// Brings a tab's message into view, or without one its picture. On a phone both lie above the controls. The answer may
// come a moment later and be larger: it is followed for ten seconds, or until the visitor does something.
window.segcoreBringIntoView = (tab, { onlyErrors }) => {
  const show = () => {
    const error = document.querySelector(`#${tab}-notice .notice.error`);
    const wanted = error ?? (onlyErrors ? null : document.querySelector(`#${tab}-viewer .picture`));
    const { top, bottom } = wanted?.getBoundingClientRect() ?? {};
    if (wanted && (top < 0 || bottom > innerHeight)) {
      const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
      wanted.closest(".picture-column").scrollIntoView({ behavior: still ? "instant" : "smooth" });
    }
  };
  show();
  if (onlyErrors) return [];
  let looks = 20; // one each half second: a busy device is given more time
  const timer = setInterval(() => {
    show();
    looks -= 1;
    if (looks === 0) clearInterval(timer);
  }, 500);
  for (const gesture of ["wheel", "touchmove", "keydown", "pointerdown"]) {
    document.addEventListener(gesture, () => clearInterval(timer), { once: true, passive: true });
  }
  return [];
};
