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
    const input = event.target.closest?.(PLACE)?.querySelector("input[type=file]");
    const files = event.dataTransfer?.files ?? [];
    if (!input || ![...files].some(needsType)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    input.files = withTypes(files); // the list of files of a drop cannot be changed
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }, true);
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
