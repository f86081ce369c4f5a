// Which part of a picture is in view: { scale, left, top }, left and top being fractions of the whole picture. The part
// in view is 1 / scale as wide and as high as the picture. Knows nothing of the page.
const MAX_SCALE = 16;
const WHOLE = Object.freeze({ scale: 1, left: 0, top: 0 });

// x and y are fractions of what is in view, here and below.
function pictureFractions({ scale, left, top }, x, y) {
  return [left + x / scale, top + y / scale];
}

function keptInside(scale, left, top) {
  const most = 1 - 1 / scale;
  return { scale, left: Math.max(0, Math.min(most, left)), top: Math.max(0, Math.min(most, top)) };
}

// Enlarged by `factor`; what lies at x and y stays there as far as the picture's borders allow.
function zoomedAt(part, factor, x, y) {
  const scale = Math.max(1, Math.min(MAX_SCALE, part.scale * factor));
  const [fromLeft, fromTop] = pictureFractions(part, x, y);
  return keptInside(scale, fromLeft - x / scale, fromTop - y / scale);
}

// Moved with a pointer that went by dx and dy.
function movedBy({ scale, left, top }, dx, dy) {
  return keptInside(scale, left - dx / scale, top - dy / scale);
}
