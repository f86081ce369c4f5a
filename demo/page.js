// Gradio refuses files that the browser does not call images, and no desktop browser knows HEIC: give such files their type.
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
    input.files = withTypes(files); // a drop's own list cannot be changed
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }, true);
}
