// How sure the model is: decoding, the colours of the heat map, and what is sure enough. Independent of the page.
const UNSURE = 255; // the label of what is not sure enough; no prediction has it
// matplotlib's cividis, from 0 to 100 % in equal steps. People who cannot tell red from green see the same order.
const RAMP = ["#00224e", "#1a386f", "#434e6c", "#61656f", "#7d7c78", "#9b9476", "#bcae6c", "#dec958", "#fee838"];

async function decodeCertainty({ width, height, count, names, deflate }) {
  const planes = await inflated(deflate);
  if (planes.length !== width * height * (1 + 2 * count)) throw new Error("the confidence has another size than it says");
  return { width, height, count, names, planes };
}

// The likeliest classes at x and y, fractions of the picture: their names and probabilities in percent.
function likeliestAt({ width, height, count, names, planes }, x, y) {
  const [column, row] = [Math.min(Math.floor(x * width), width - 1), Math.min(Math.floor(y * height), height - 1)];
  const at = (plane) => planes[plane * width * height + row * width + column];
  return Array.from({ length: count }, (_, rank) => ({ name: names[at(1 + rank)], percent: at(1 + count + rank) }));
}

// The probability of the shown label in percent at each pixel of a map of that size, interpolated between the points.
function surenessOf({ width: columns, height: rows, planes }, width, height) {
  const taps = (size, points) =>
    Array.from({ length: size }, (_, i) => {
      const position = Math.max(0, Math.min(points - 1, ((i + 0.5) * points) / size - 0.5));
      const lower = Math.floor(position);
      return [lower, Math.min(lower + 1, points - 1), position - lower];
    });
  const [across, down] = [taps(width, columns), taps(height, rows)];
  const sure = new Uint8Array(width * height);
  const line = new Float32Array(columns);
  for (let y = 0, here = 0; y < height; y++) {
    const [above, below, weight] = down[y];
    for (let i = 0; i < columns; i++) {
      line[i] = planes[above * columns + i] * (1 - weight) + planes[below * columns + i] * weight;
    }
    for (let x = 0; x < width; x++, here++) {
      const [left, right, share] = across[x];
      sure[here] = Math.round(line[left] * (1 - share) + line[right] * share);
    }
  }
  return sure;
}

// The label map in which everything that is less sure than `minimum` percent is UNSURE.
function sureMap({ width, height, ids }, sure, minimum) {
  return mapOf(ids.map((id, i) => (sure[i] < minimum ? UNSURE : id)), width, height);
}

// The colour words of 0 to 100 %, transparent below `minimum`.
function heatWords(minimum) {
  const channels = RAMP.map((color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)));
  return Uint32Array.from({ length: 101 }, (_, percent) => {
    if (percent < minimum) return 0;
    const position = (percent / 100) * (RAMP.length - 1);
    const lower = Math.min(Math.floor(position), RAMP.length - 2);
    const [r, g, b] = channels[lower].map((from, i) => Math.round(from + (channels[lower + 1][i] - from) * (position - lower)));
    return ((0xff << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
}
