// Two squares in the Guide: the reader moves one aside and reads their IoU. Gradio hands in `element`.
const SIDE = 100; // of a square, in the picture's units
const section = element.querySelector(".good-enough");
const levels = section.dataset.levels.split(" ").map((each) => each.split(":"));
const [picture, range, said, steps] = [".try svg", "input", ".said", ".steps"].map((name) => section.querySelector(name));
const moved = picture.querySelector(".prediction");
const start = Number(moved.getAttribute("x"));

const iouAt = (by) => Math.max(0, (SIDE - by) / (SIDE + by)); // shared: SIDE - by; covered: SIDE + by
const distanceFor = (iou) => (SIDE * (1 - iou)) / (1 + iou);

function moveTo(by) {
  range.value = by;
  const now = Number(range.value); // within the range's limits
  const iou = iouAt(now);
  const [, word] = levels.find(([least]) => iou >= Number(least) - 0.005) ?? [0, section.dataset.poor];
  moved.setAttribute("x", start + now);
  said.textContent = `IoU ${iou.toFixed(2)}: ${word}`;
  range.ariaValueText = said.textContent;
  for (const button of steps.children) button.ariaPressed = String(button.dataset.iou === iou.toFixed(2));
}

function drag(event) {
  if (!picture.hasPointerCapture(event.pointerId)) return;
  const { left, width } = picture.getBoundingClientRect();
  moveTo(((event.clientX - left) / width) * picture.viewBox.baseVal.width - start - SIDE / 2);
}

for (const [iou, word] of [...levels].reverse()) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", textContent: `${Number(iou)} ${word}` });
  button.dataset.iou = Number(iou).toFixed(2);
  button.addEventListener("click", () => moveTo(distanceFor(Number(iou))));
  steps.append(button);
}
range.step = "any";
range.addEventListener("input", () => moveTo(Number(range.value)));
range.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2 }[event.key];
  if (!by) return;
  event.preventDefault();
  moveTo(Number(range.value) + by);
});
picture.addEventListener("pointerdown", (event) => {
  picture.setPointerCapture(event.pointerId);
  drag(event);
});
picture.addEventListener("pointermove", drag);
moveTo(distanceFor(0.5));
