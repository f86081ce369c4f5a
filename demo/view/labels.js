// Label maps: decoding, borders, positions of names, and painting onto canvases. Independent of the page.
const DIMMED = 0x8c000000; // 55 % black; colours are 32-bit words in the canvas's order, ABGR
const OUTLINE = "rgb(255 255 255 / 95%)";
const OUTLINE_HALO = "rgb(0 0 0 / 50%)";
const [RIGHT, DOWN] = [1, 2];
const BITS = [0, 1, 1, 2]; // number of set bits in 0..3
const SMOOTHING = 8; // rounds of smoothing: removes steps of one pixel, and rounds corners by about two pixels

function opaqueWord(color) {
  const rgb = parseInt(color.slice(1), 16);
  return ((0xff << 24) | ((rgb & 0xff) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
}

async function inflated(deflate) {
  const packed = Uint8Array.from(atob(deflate), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function decodeLabels({ width, height, deflate }) {
  const ids = await inflated(deflate);
  if (ids.length !== width * height) throw new Error(`expected ${width} x ${height} labels, got ${ids.length}`);
  return mapOf(ids, width, height);
}

function mapOf(ids, width, height) {
  return { width, height, ids, borders: traceBorders(ids, width, height), anchors: findAnchors(ids, width, height) };
}

// Returns the borders between labels as smooth lines: a Path2D in the map's pixels for each pair of labels, 256 * one +
// the other. A line follows the corners between pixels. It starts and ends where more than two borders meet or at the
// picture's edge, so the labels on its two sides do not change.
function traceBorders(ids, width, height) {
  const stride = width + 1; // corners in a row
  const steps = new Uint8Array(stride * (height + 1)); // for each corner: whether borders lead to the right and down
  const starts = []; // corners where a line may start: first those at the lower and right edges
  for (let x = 1; x < width; x++) starts.push(height * stride + x);
  for (let y = 1; y < height; y++) starts.push(y * stride + width);
  for (let y = 0, here = 0; y < height; y++) {
    for (let x = 0; x < width; x++, here++) {
      const corner = here + y; // above and left of the pixel
      if (y > 0 && ids[here] !== ids[here - width]) steps[corner] |= RIGHT;
      if (x > 0 && ids[here] !== ids[here - 1]) steps[corner] |= DOWN;
      if (steps[corner]) starts.push(corner);
    }
  }
  const meeting = (at) => BITS[steps[at]] + (steps[at - 1] & RIGHT) + ((steps[at - stride] & DOWN) >> 1); // 0..4
  const left = steps.slice(); // steps that are not part of a line yet
  const next = (at) => {
    for (const [from, step, to] of [
      [at, RIGHT, at + 1],
      [at, DOWN, at + stride],
      [at - 1, RIGHT, at - 1],
      [at - stride, DOWN, at - stride],
    ]) {
      if (left[from] & step) {
        left[from] &= ~step;
        return to;
      }
    }
    return null;
  };
  const borders = new Map();
  const follow = (first) => {
    const corners = [first];
    for (let at = next(first); at !== null; at = meeting(at) === 2 ? next(at) : null) corners.push(at);
    if (corners.length === 1) return false;
    const from = Math.min(first, corners[1]);
    const pixel = from - Math.floor(from / stride); // right and below of that corner
    const other = pixel - (Math.abs(first - corners[1]) === 1 ? width : 1);
    const pair = 256 * ids[pixel] + ids[other];
    if (!borders.has(pair)) borders.set(pair, new Path2D());
    addSmoothLine(borders.get(pair), corners, stride, meeting(first) === 2);
    return true;
  };
  for (const at of starts) if (meeting(at) !== 2) while (follow(at));
  for (const at of starts) while (left[at]) follow(at); // the rings
  return borders;
}

// Draws a line through the middles of the steps between corners, smoothed with their neighbours. A ring is closed; the
// ends of other lines do not move.
function addSmoothLine(path, corners, stride, isRing) {
  const x = evenedOut(corners.map((at) => at % stride), isRing);
  const y = evenedOut(corners.map((at) => Math.floor(at / stride)), isRing);
  path.moveTo(x[0], y[0]);
  for (let i = 1; i < x.length; i++) path.lineTo(x[i], y[i]);
  if (isRing) path.closePath();
}

function evenedOut(corners, isRing) {
  const steps = corners.length - 1;
  const count = isRing ? steps : steps + 2;
  let values = new Float32Array(count);
  for (let i = 0; i < steps; i++) values[isRing ? i : i + 1] = (corners[i] + corners[i + 1]) / 2;
  if (!isRing) [values[0], values[count - 1]] = [corners[0], corners[steps]];
  let before = new Float32Array(count);
  for (let round = 0; round < Math.min(SMOOTHING, count / 4); round++) {
    [before, values] = [values, before];
    for (let i = 1; i < count - 1; i++) values[i] = (before[i - 1] + 2 * before[i] + before[i + 1]) / 4;
    const [first, last] = [before[0], before[count - 1]];
    values[0] = isRing ? (last + 2 * first + before[1]) / 4 : first;
    values[count - 1] = isRing ? (before[count - 2] + 2 * last + first) / 4 : last;
  }
  return values;
}

// Finds for each label the point farthest from other labels and from the edges, where its name fits best: x as a
// fraction of the width, y of the height, and radius, the distance, as a fraction of the width. Uses a two-pass chamfer
// transform (3 for a step, 4 for a diagonal) on a coarse copy.
function findAnchors(ids, width, height) {
  const step = Math.max(1, Math.ceil(Math.max(width, height) / 200));
  const [columns, rows] = [Math.ceil(width / step), Math.ceil(height / step)];
  const coarse = new Uint8Array(columns * rows);
  for (let i = 0; i < coarse.length; i++) {
    coarse[i] = ids[Math.floor(i / columns) * step * width + (i % columns) * step];
  }
  const distance = new Uint16Array(coarse.length).fill(65535);
  const relax = (i, direction) => {
    for (const [dx, dy, cost] of [
      [1, 0, 3],
      [0, 1, 3],
      [1, 1, 4],
      [-1, 1, 4],
    ]) {
      const [x, y] = [(i % columns) + dx * direction, Math.floor(i / columns) + dy * direction];
      const inside = x >= 0 && y >= 0 && x < columns && y < rows;
      const same = inside && coarse[y * columns + x] === coarse[i];
      distance[i] = Math.min(distance[i], same ? distance[y * columns + x] + cost : cost);
    }
  };
  for (let i = 0; i < coarse.length; i++) relax(i, -1);
  for (let i = coarse.length - 1; i >= 0; i--) relax(i, 1);
  const anchors = new Map();
  for (let i = 0; i < coarse.length; i++) {
    if (distance[i] <= (anchors.get(coarse[i])?.distance ?? 0)) continue;
    const [x, y] = [((i % columns) + 0.5) / columns, (Math.floor(i / columns) + 0.5) / rows];
    anchors.set(coarse[i], { x, y, distance: distance[i], radius: distance[i] / 3 / columns });
  }
  for (let i = 0; i < ids.length; i++) {
    if (ids[i] === ids[i - 1] || anchors.has(ids[i])) continue; // labels of a few pixels can be missing in the coarse copy
    anchors.set(ids[i], { x: (i % width) / width, y: Math.floor(i / width) / height, distance: 0, radius: 0 });
  }
  return anchors;
}

// The label at x and y, fractions of the map's width and height.
function labelAt({ width, height, ids }, x, y) {
  const [column, row] = [Math.floor(x * width), Math.floor(y * height)];
  return ids[Math.min(row, height - 1) * width + Math.min(column, width - 1)];
}

function putWords(canvas, write) {
  const pixels = new ImageData(canvas.width, canvas.height);
  write(new Uint32Array(pixels.data.buffer));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

// Fills a canvas of the map's size with the colour word of each pixel's label; 0 is transparent.
function paintLabels(canvas, { ids }, wordOfLabel) {
  putWords(canvas, (words) => {
    for (let i = 0; i < ids.length; i++) words[i] = wordOfLabel[ids[i]];
  });
}

// Draws light lines with a dark halo between different regions of `regionOfLabel`. thickness: in the canvas's pixels. The
// canvas shows the part of the picture that zoom.js describes.
function strokeBorders(canvas, { width, height, borders }, regionOfLabel, thickness, { scale: zoom, left, top }) {
  const lines = new Path2D();
  const [wide, high] = [canvas.width * zoom, canvas.height * zoom];
  const scale = new DOMMatrix([wide / width, 0, 0, high / height, -left * wide, -top * high]);
  for (const [pair, path] of borders) {
    if (regionOfLabel[pair >> 8] !== regionOfLabel[pair & 255]) lines.addPath(path, scale);
  }
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.lineJoin = context.lineCap = "round";
  for (const [width, color] of [
    [2 * thickness, OUTLINE_HALO],
    [thickness, OUTLINE],
  ]) {
    context.lineWidth = width;
    context.strokeStyle = color;
    context.stroke(lines);
  }
}
