// Label maps as numbers: decoding, borders, places for names, and painting onto canvases. Knows nothing of the page.
const DIMMED = 0x8c000000; // colours are words as a little-endian canvas has them, ABGR: this is 55 % black
const OUTLINE = 0xf2ffffff;
const OUTLINE_HALO = 0x80000000;

function opaqueWord(color) {
  const rgb = parseInt(color.slice(1), 16);
  return ((0xff << 24) | ((rgb & 0xff) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
}

async function decodeLabels({ width, height, deflate }) {
  const packed = Uint8Array.from(atob(deflate), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const ids = new Uint8Array(await new Response(stream).arrayBuffer());
  if (ids.length !== width * height) throw new Error(`expected ${width} x ${height} labels, got ${ids.length}`);
  return { width, height, ids, edges: findEdges(ids, width, height), anchors: findAnchors(ids, width, height) };
}

// Pairs of neighbouring positions that carry different labels, one pair after the other.
function findEdges(ids, width, height) {
  const edges = [];
  for (let y = 0, here = 0; y < height; y++) {
    for (let x = 0; x < width; x++, here++) {
      if (x + 1 < width && ids[here] !== ids[here + 1]) edges.push(here, here + 1);
      if (y + 1 < height && ids[here] !== ids[here + width]) edges.push(here, here + width);
    }
  }
  return Uint32Array.from(edges);
}

// For each label the point farthest from any other label and from the border, where its name fits best:
// x as a fraction of the width, y of the height, radius (how far) of the width. Measured on a coarse copy
// by a two-pass chamfer transform: 3 for a step, 4 for a diagonal.
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
    if (ids[i] === ids[i - 1] || anchors.has(ids[i])) continue; // the coarse copy may have stepped over a few pixels
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

// Fills a canvas of the map's size: each pixel with the word of its label, 0 being transparent.
function paintLabels(canvas, { ids }, wordOfLabel) {
  putWords(canvas, (words) => {
    for (let i = 0; i < ids.length; i++) words[i] = wordOfLabel[ids[i]];
  });
}

// Light lines with a dark halo wherever `regionOfLabel` differs between neighbours, 2 x reach pixels wide.
function paintOutlines(canvas, { width, height, ids, edges }, regionOfLabel, reach) {
  putWords(canvas, (words) => {
    const stamp = (at, size, word) => {
      const [x, y] = [at % width, Math.floor(at / width)];
      for (let row = Math.max(0, y - size + 1); row <= Math.min(height - 1, y + size); row++) {
        words.fill(word, row * width + Math.max(0, x - size + 1), row * width + Math.min(width, x + size + 1));
      }
    };
    for (const [size, word] of [
      [reach + 1, OUTLINE_HALO],
      [reach, OUTLINE],
    ]) {
      for (let i = 0; i < edges.length; i += 2) {
        if (regionOfLabel[ids[edges[i]]] !== regionOfLabel[ids[edges[i + 1]]]) stamp(edges[i], size, word);
      }
    }
  });
}
