// The visible part of a picture: { scale, left, top }, where left and top are fractions of the picture. The part is
// 1 / scale as wide and as high as the picture. Independent of the page.
const MAX_SCALE = 16;
const WHOLE = Object.freeze({ scale: 1, left: 0, top: 0 });

// Here and below, x and y are fractions of the visible part.
function pictureFractions({ scale, left, top }, x, y) {
  return [left + x / scale, top + y / scale];
}

function keptInside(scale, left, top) {
  const most = 1 - 1 / scale;
  return { scale, left: Math.max(0, Math.min(most, left)), top: Math.max(0, Math.min(most, top)) };
}

// Enlarges by `factor`. The point at x and y stays in place, as far as the picture's edges allow.
function zoomedAt(part, factor, x, y) {
  const scale = Math.max(1, Math.min(MAX_SCALE, part.scale * factor));
  const [fromLeft, fromTop] = pictureFractions(part, x, y);
  return keptInside(scale, fromLeft - x / scale, fromTop - y / scale);
}

// Moves the visible part with a pointer that moved by dx and dy.
function movedBy({ scale, left, top }, dx, dy) {
  return keptInside(scale, left - dx / scale, top - dy / scale);
}
