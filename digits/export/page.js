"use strict";

// The network: LeNet of model.py, with its weights as float16

const model = JSON.parse(document.getElementById("model").textContent);
const weights = {};
for (const [name, { shape, data }] of Object.entries(model.weights)) weights[name] = decode(data, shape);
const classes = model.classes;
const isDigits = classes.join() === "0,1,2,3,4,5,6,7,8,9";
const { side: SIDE, box: BOX, center: CENTER } = model.preprocessing;
const INK = 0.2, STRONG_INK = 0.4, SPECK = 0.02; // of digits/imaging/components.py
const isSigmoid = model.activation === "sigmoid";
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const relu = (x) => Math.max(x, 0);
const same = (x) => x;
// The tutorial's forward pass has a sigmoid before and after the first pooling, none after conv2 and conv3
const [afterConv1, afterPool1, afterConv2, afterConv3, afterFc1] = isSigmoid
  ? [sigmoid, sigmoid, same, same, sigmoid]
  : [relu, same, relu, relu, relu];

function decode(text, shape) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const halves = new Uint16Array(bytes.buffer);
  const values = Float32Array.from(halves, (half) => {
    const exponent = (half >> 10) & 31, fraction = half & 1023;
    const size = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction;
    return half >> 15 ? -size : size;
  });
  values.shape = shape;
  return values;
}

function convolve(input, side, weight, bias, activation) {
  const [count, channels, size] = weight.shape, out = side - size + 1;
  const maps = new Float32Array(count * out * out);
  for (let map = 0; map < count; map++) {
    for (let row = 0; row < out; row++) {
      for (let column = 0; column < out; column++) {
        let sum = bias[map];
        for (let channel = 0; channel < channels; channel++) {
          for (let y = 0; y < size; y++) {
            const from = (channel * side + row + y) * side + column, kernel = ((map * channels + channel) * size + y) * size;
            for (let x = 0; x < size; x++) sum += input[from + x] * weight[kernel + x];
          }
        }
        maps[(map * out + row) * out + column] = activation(sum);
      }
    }
  }
  return maps;
}

function pool(maps, count, side, activation) {
  const half = side / 2, pooled = new Float32Array(count * half * half);
  for (let map = 0; map < count; map++) {
    for (let row = 0; row < half; row++) {
      for (let column = 0; column < half; column++) {
        const at = (map * side + 2 * row) * side + 2 * column;
        const largest = Math.max(maps[at], maps[at + 1], maps[at + side], maps[at + side + 1]);
        pooled[(map * half + row) * half + column] = activation(largest);
      }
    }
  }
  return pooled;
}

function linear(input, weight, bias, activation) {
  return Float32Array.from(bias, (sum, unit) => {
    for (let index = 0; index < input.length; index++) sum += input[index] * weight[index * bias.length + unit];
    return activation(sum);
  });
}

function silence(maps, side, off) {
  for (const map of off) maps.fill(0, map * side * side, (map + 1) * side * side);
  return maps;
}

/** Run the network on 784 pixels in [0, 1]; `off` names the maps to silence after conv1 and conv2. Returns every layer. */
function forward(input, off = { conv1: new Set(), conv2: new Set() }) {
  const w = weights;
  const conv1 = silence(convolve(input, SIDE, w["conv1.weight"], w["conv1.bias"], afterConv1), 24, off.conv1);
  const pool1 = silence(pool(conv1, 6, 24, afterPool1), 12, off.conv1);
  const conv2 = silence(convolve(pool1, 12, w["conv2.weight"], w["conv2.bias"], afterConv2), 8, off.conv2);
  const pool2 = pool(conv2, 16, 8, same);
  const conv3 = convolve(pool2, 4, w["conv3.weight"], w["conv3.bias"], afterConv3);
  const fc1 = linear(conv3, w["fc1.weight"], w["fc1.bias"], afterFc1);
  const fc2 = linear(fc1, w["fc2.weight"], w["fc2.bias"], same);
  return { input, conv1, pool1, conv2, pool2, conv3, fc1, fc2 };
}

// The decision, as digits/evaluation/calibration.py and classifier.py make it

function logSumExp(logits) {
  const top = Math.max(...logits);
  return Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - top), 0)) + top;
}

function toProbs(logits) {
  const { temperature = 1, reject_class: rejects = 0 } = model.calibration ?? {};
  const scaled = Array.from(logits, (logit) => logit / temperature), total = logSumExp(scaled);
  const known = rejects ? sigmoid(logSumExp(Array.from(logits))) : 1;
  return scaled.map((logit) => known * Math.exp(logit - total) + (1 - known) / scaled.length);
}

/** Decide on an image: its most probable class, whether to trust it, and why not. */
function decide(image, logits) {
  const probs = toProbs(logits), confidence = Math.max(...probs), best = probs.indexOf(confidence);
  const calibration = model.calibration;
  let trusted = null, reason = null, candidates = [];
  if (calibration) {
    const inClasses = logSumExp(Array.from(logits)) >= calibration.digit_level;
    trusted = inClasses && confidence >= (calibration.guaranteed_threshold ?? Infinity);
    if (!trusted) {
      reason = isDigits && countSegments(image) > 1 ? "several digits" : inClasses ? "low confidence" : "not a digit";
      if (!isDigits && reason === "not a digit") reason = "none of the classes";
    }
    if (reason === "low confidence" && calibration.candidate_threshold !== undefined) {
      const order = probs.map((_, index) => index).sort((a, b) => probs[b] - probs[a]);
      candidates = order.filter((index) => index === best || probs[index] >= calibration.candidate_threshold);
    }
  }
  const doubt = isDigits ? doubtPicture(image) : null;
  if (doubt && !(doubt === "may be a slash" && reason)) {
    [trusted, reason, candidates] = [trusted === null ? null : false, doubt, []];
  }
  const isAnswer = reason === null || reason === "low confidence" || reason === "may be a slash";
  return { label: classes[best], best, confidence, probs, trusted, reason, isAnswer, candidates };
}

/** Say why an image is not one digit, whatever the network answers, as `classifier.doubt_picture` does. */
function doubtPicture(image) {
  if (isBlot(image)) return "not a digit";
  if (hasSecondFigure(image)) return "several digits";
  return isSlash(image) ? "may be a slash" : null;
}

function countSegments(image) {
  const parts = components(image, SIDE, SIDE, 0.3).parts;
  if (!parts.length) return 0;
  const left = Math.min(...parts.map((part) => part.x)), right = Math.max(...parts.map((part) => part.x + part.width));
  const top = Math.min(...parts.map((part) => part.y)), bottom = Math.max(...parts.map((part) => part.y + part.height));
  const tall = parts.filter((part) => part.height >= 0.7 * (bottom - top));
  const wide = parts.filter((part) => part.width >= 0.7 * (right - left) && part.height >= 0.25 * (bottom - top));
  return Math.max(1, countDisjoint(tall.map((part) => [part.x, part.width])), countDisjoint(wide.map((part) => [part.y, part.height])));
}

function countDisjoint(intervals) {
  let count = 0, end = -1;
  for (const [start, size] of intervals.sort((a, b) => a[0] - b[0] || a[1] - b[1])) {
    if (start >= end) [count, end] = [count + 1, start + size];
  }
  return count;
}

function isBlot(image) {
  const inside = [], outside = [];
  for (let y = -1; y <= SIDE; y++) {
    for (let x = -1; x <= SIDE; x++) {
      const isInk = x >= 0 && y >= 0 && x < SIDE && y < SIDE && image[y * SIDE + x] > 0.5;
      (isInk ? inside : outside).push([x, y]);
    }
  }
  const isWide = inside.some(([x, y]) => outside.every(([u, v]) => (x - u) ** 2 + (y - v) ** 2 >= 49));
  return isWide && inside.length > 0.9 * hullArea(inside);
}

function hullArea(points) {
  const sorted = points.slice().sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const chain = (list) => {
    const hull = [];
    for (const point of list) {
      while (hull.length > 1 && cross(hull.at(-2), hull.at(-1), point) <= 0) hull.pop();
      hull.push(point);
    }
    return hull.slice(0, -1);
  };
  const cross = (a, b, c) => (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
  const hull = [...chain(sorted), ...chain(sorted.reverse())];
  const doubled = hull.reduce((sum, [x, y], index) => {
    const [u, v] = hull[(index + 1) % hull.length];
    return sum + x * v - u * y;
  }, 0);
  return Math.abs(doubled) / 2;
}

function isSlash(image) {
  let total = 0, meanX = 0, meanY = 0, xx = 0, xy = 0, yy = 0;
  image.forEach((ink, at) => { total += ink; meanX += ink * (at % SIDE); meanY += ink * Math.floor(at / SIDE); });
  if (!total) return false;
  meanX /= total;
  meanY /= total;
  image.forEach((ink, at) => {
    const x = (at % SIDE) - meanX, y = Math.floor(at / SIDE) - meanY;
    xx += (ink * x * x) / total;
    xy += (ink * x * y) / total;
    yy += (ink * y * y) / total;
  });
  const middle = (xx + yy) / 2, spread = Math.hypot((xx - yy) / 2, xy), across = middle - spread, along = middle + spread;
  let [x, y] = Math.abs(xy) > 1e-12 ? [along - yy, xy] : xx > yy ? [1, 0] : [0, 1];
  if (y < 0) [x, y] = [-x, -y];
  return across <= 0.25 ** 2 * along && !(-0.25 * y <= -x && -x <= 0.4 * y);
}

function hasSecondFigure(image) {
  const parts = components(image, SIDE, SIDE, 0.3).parts;
  if (!parts.length) return false;
  const main = parts.reduce((largest, part) => (part.area > largest.area ? part : largest));
  const beside = parts.filter((part) => part.x >= main.x + main.width || part.x + part.width <= main.x);
  const area = (list) => list.reduce((sum, part) => sum + part.area, 0);
  return area(beside) > 0.1 * area(parts);
}

// From the drawing to the network's input, as digits/imaging/mnist_format.py makes it

/** Label the 8-connected components of the pixels above a threshold. */
function components(image, width, height, threshold) {
  const labels = new Int32Array(width * height), stack = new Int32Array(width * height), parts = [];
  for (let start = 0; start < image.length; start++) {
    if (image[start] <= threshold || labels[start]) continue;
    const number = parts.length + 1;
    let left = width, top = height, right = 0, bottom = 0, area = 0, size = 1;
    stack[0] = start;
    labels[start] = number;
    while (size) {
      const at = stack[--size], x = at % width, y = (at - x) / width;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      if (y > bottom) bottom = y;
      area++;
      const lastX = Math.min(x + 1, width - 1), lastY = Math.min(y + 1, height - 1);
      for (let v = Math.max(y - 1, 0); v <= lastY; v++) {
        for (let u = Math.max(x - 1, 0); u <= lastX; u++) {
          const next = v * width + u;
          if (image[next] > threshold && !labels[next]) {
            labels[next] = number;
            stack[size++] = next;
          }
        }
      }
    }
    parts.push({ x: left, y: top, width: right - left + 1, height: bottom - top + 1, area });
  }
  return { labels, parts };
}

/** Erase dust: components with little ink, or with faint ink only. */
function clean(ink, width, height) {
  const { labels, parts } = components(ink, width, height, INK);
  if (parts.length === 1) return ink;
  const amounts = new Float64Array(parts.length + 1), strong = new Uint8Array(parts.length + 1);
  labels.forEach((label, at) => {
    amounts[label] += ink[at];
    if (ink[at] >= STRONG_INK) strong[label] = 1;
  });
  amounts[0] = 0;
  const least = SPECK * Math.max(...amounts.map((amount, label) => amount * strong[label]));
  const keeps = amounts.map((amount, label) => label > 0 && strong[label] && amount >= least);
  return ink.map((value, at) => {
    if (!value) return 0;
    const x = at % width, y = (at - x) / width, lastX = Math.min(x + 1, width - 1), lastY = Math.min(y + 1, height - 1);
    for (let v = Math.max(y - 1, 0); v <= lastY; v++) {
      for (let u = Math.max(x - 1, 0); u <= lastX; u++) {
        if (keeps[labels[v * width + u]]) return value; // also the soft edge of a stroke
      }
    }
    return 0;
  });
}

/** Return the smallest part of an image that has all of its ink: its pixels, width and height; null if it is blank. */
function crop(ink, width) {
  let left = width, top = Infinity, right = -1, bottom = -1;
  for (let at = 0; at < ink.length; at++) {
    if (!ink[at]) continue;
    const x = at % width, y = (at - x) / width;
    if (x < left) left = x;
    if (x > right) right = x;
    if (y < top) top = y;
    bottom = y;
  }
  if (right < 0) return null;
  const w = right - left + 1, h = bottom - top + 1, part = new Float32Array(w * h);
  for (let y = 0; y < h; y++) part.set(ink.subarray((top + y) * width + left, (top + y) * width + right + 1), y * w);
  return { part, w, h };
}

/** Normalize ink in [0, 1], in rows of `width` pixels, to MNIST format; null if there is none. */
function toMnist(drawn, width) {
  const all = crop(drawn, width), kept = all && crop(clean(all.part, all.w, all.h), all.w);
  if (!kept) return null;
  const { part: ink, w, h } = kept, scale = BOX / Math.max(w, h);
  const [columns, rows] = [w, h].map((length) => Math.max(1, roundHalfToEven(length * scale)));
  const narrow = new Float32Array(columns * h); // shrink each row, then each column
  const across = shares(w, columns), down = shares(h, rows);
  for (let y = 0; y < h; y++) {
    across.forEach((terms, x) => {
      for (const [from, share] of terms) narrow[y * columns + x] += share * ink[y * w + from];
    });
  }
  const box = new Float32Array(columns * rows);
  down.forEach((terms, y) => {
    for (let x = 0; x < columns; x++) for (const [from, share] of terms) box[y * columns + x] += share * narrow[from * columns + x];
  });
  const full = Math.max(...box);
  let total = 0, massX = 0, massY = 0;
  box.forEach((value, at) => {
    box[at] = value / full;
    total += box[at];
    massX += box[at] * (at % columns);
    massY += box[at] * Math.floor(at / columns);
  });
  const start = (mass, size) => Math.min(Math.max(roundHalfToEven(CENTER - mass / total), 0), SIDE - size);
  const x0 = start(massX, columns), y0 = start(massY, rows), image = new Float32Array(SIDE * SIDE);
  box.forEach((value, at) => (image[(y0 + Math.floor(at / columns)) * SIDE + x0 + (at % columns)] = value));
  return image;
}

/** Return for each pixel of the shrunk line which pixels it averages, and their shares; enlarging repeats pixels. */
function shares(from, to) {
  const scale = from / to;
  return Array.from({ length: to }, (_, index) => {
    const start = index * scale, end = Math.min(start + scale, from), terms = [];
    for (let at = Math.floor(start); at < Math.ceil(end - 1e-9); at++) {
      terms.push([at, (Math.min(at + 1, end) - Math.max(at, start)) / (end - start)]);
    }
    return terms;
  });
}

function roundHalfToEven(x) {
  const floor = Math.floor(x), rest = x - floor;
  return rest === 0.5 ? floor + (floor % 2) : Math.round(x);
}

// The drawing

const $ = (id) => document.getElementById(id);
const paper = $("paper"), PAPER = paper.width;
const ink = new OffscreenCanvas(PAPER, PAPER).getContext("2d", { willReadFrequently: true }); // white on black
let strokes = [], undone = null, isErasing = false, current = null, isDue = false;

function drawStroke(context, { points, width }) {
  context.lineWidth = width;
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  context.moveTo(...points[0]);
  for (let index = 1; index < points.length - 1; index++) { // a curve through the midpoints
    const [point, next] = [points[index], points[index + 1]];
    context.quadraticCurveTo(...point, (point[0] + next[0]) / 2, (point[1] + next[1]) / 2);
  }
  context.lineTo(points.at(-1)[0] + 0.01, points.at(-1)[1]); // a line without any length would not be drawn
  context.stroke();
}

function redraw() {
  const shown = paper.getContext("2d");
  shown.clearRect(0, 0, PAPER, PAPER);
  shown.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--ink");
  ink.fillStyle = "#000";
  ink.fillRect(0, 0, PAPER, PAPER);
  for (const stroke of strokes) {
    ink.strokeStyle = stroke.erase ? "#000" : "#fff";
    shown.globalCompositeOperation = stroke.erase ? "destination-out" : "source-over";
    drawStroke(ink, stroke);
    drawStroke(shown, stroke);
  }
  if (!isDue) requestAnimationFrame(update);
  isDue = true;
}

function inkPixels() {
  const { data } = ink.getImageData(0, 0, PAPER, PAPER), pixels = new Float32Array(PAPER * PAPER);
  for (let at = 0; at < pixels.length; at++) pixels[at] = data[4 * at] / 255;
  return pixels;
}

const position = (event) => {
  const box = paper.getBoundingClientRect();
  return [((event.clientX - box.left) * PAPER) / box.width, ((event.clientY - box.top) * PAPER) / box.height];
};
paper.addEventListener("pointerdown", (event) => {
  if (current || event.button > 2) return;
  paper.setPointerCapture(event.pointerId);
  const erase = isErasing || event.button === 2, width = Number($("pen").value) * (erase ? 2 : 1);
  current = { points: [position(event), position(event)], width, erase, pointer: event.pointerId };
  strokes.push(current);
  undone = null;
  redraw();
});
paper.addEventListener("pointermove", (event) => {
  if (!current || event.pointerId !== current.pointer) return;
  const moves = event.getCoalescedEvents?.() ?? [];
  for (const move of moves.length ? moves : [event]) current.points.push(position(move));
  redraw();
});
for (const name of ["pointerup", "pointercancel"]) paper.addEventListener(name, () => (current = null));
paper.addEventListener("contextmenu", (event) => event.preventDefault());

/** Replace the whole drawing; undo brings it back. */
function replace(drawing) {
  if (strokes.length) undone = strokes;
  strokes = drawing;
  redraw();
}

const clear = () => replace([]);

function undo() {
  if (undone) [strokes, undone] = [undone, null]; // the last step replaced the whole drawing
  else strokes.pop();
  redraw();
}

function erase(on) {
  isErasing = on;
  $("eraser").setAttribute("aria-pressed", on);
}

// Strokes of ten digits in a square of 100
const EXAMPLES = [
  "50,10 24,26 20,62 40,90 66,86 80,56 74,24 50,10",
  "36,30 54,12 53,90",
  "26,30 44,10 70,18 68,42 46,66 24,88|24,88 78,86",
  "26,18 50,8 70,24 62,42 44,47|44,47 70,54 74,76 50,92 24,82",
  "58,8 40,38 22,62|22,62 82,60|66,36 62,92",
  "74,10 34,12|34,12 30,46 54,40 74,58 68,82 46,92 24,82",
  "66,8 40,34 26,66 38,90 62,90 74,72 62,54 40,58 28,72",
  "22,14 78,12|78,12 58,48 44,92",
  "62,14 38,14 34,34 52,48 70,66 64,86 42,92 28,78 36,58 56,44 70,26 62,14",
  "70,24 50,10 32,24 34,46 54,50 70,30|70,24 70,56 62,92",
];
let nextExample = 7;

function drawExample() {
  const scale = ([x, y]) => [(x * 0.86 + 7) * (PAPER / 100), (y * 0.86 + 7) * (PAPER / 100)];
  const drawing = EXAMPLES[nextExample].split("|").map((line) => {
    const points = line.split(" ").map((point) => scale(point.split(",").map(Number)));
    return { points: [points[0], ...points, points.at(-1)], width: Number($("pen").value), erase: false };
  });
  nextExample = (nextExample + 3) % 10;
  replace(drawing);
}

$("clear").onclick = clear;
$("undo").onclick = undo;
$("eraser").onclick = () => erase(!isErasing);
$("example").onclick = drawExample;
document.addEventListener("keydown", (event) => {
  if (event.altKey || event.target.tagName === "INPUT") return;
  const key = event.key.toLowerCase(), isCommand = event.ctrlKey || event.metaKey;
  if (key === "z" && isCommand) event.preventDefault();
  if ((key === "z" && isCommand) || (key === "u" && !isCommand)) undo();
  if (isCommand) return;
  if (key === "c") clear();
  if (key === "e") erase(!isErasing);
  if (key === "x") drawExample();
});

// The layers

const LAYERS = [
  { name: "conv1", kind: "conv", count: 6, side: 24, columns: 6, size: 120, kernel: 5, from: "input" },
  { name: "pool1", kind: "pool", count: 6, side: 12, columns: 6, size: 120 },
  { name: "conv2", kind: "conv", count: 16, side: 8, columns: 8, size: 88, kernel: 5, from: "pool1" },
  { name: "pool2", kind: "pool", count: 16, side: 4, columns: 8, size: 88 },
  { name: "conv3", kind: "full", count: 1, side: 120, columns: 1, size: 760 },
  { name: "fc1", kind: "full", count: 1, side: 64, columns: 1, size: 608 },
  { name: "fc2", kind: "full", count: 1, side: classes.length, columns: 1, size: 19 * Math.min(classes.length, 40) },
];
const off = { conv1: new Set(), conv2: new Set() };
let layers = null, whole = null, inspected = null;

for (const layer of LAYERS) {
  const row = document.createElement("div"), isFull = layer.kind === "full";
  const width = isFull ? Math.min(layer.side, layer.side === 64 ? 32 : 40) : layer.side;
  row.className = "layer";
  row.innerHTML = `<div><h3>${layer.name}</h3><p></p></div><div class="maps ${{ 6: "six", 16: "sixteen" }[layer.count] ?? ""}"></div>`;
  row.lastChild.style.cssText = `--columns: ${layer.columns}; --size: ${layer.size}px`;
  layer.text = row.querySelector("p");
  layer.canvases = Array.from({ length: layer.count }, (_, map) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, isFull ? Math.ceil(layer.side / width) : layer.side];
    canvas.className = "map";
    let cell = canvas;
    if (layer.kind === "conv") {
      cell = document.createElement("button");
      cell.append(canvas);
      cell.onclick = () => toggle(layer.name, map);
      cell.onpointermove = (event) => inspect(layer, map, pixelAt(event, canvas));
      cell.onpointerleave = () => inspect(null);
      cell.onfocus = () => cell.matches(":focus-visible") && inspect(layer, map, strongest(layer, map));
      cell.onblur = () => inspect(null);
      cell.onkeydown = (event) => move(event, layer, map);
    }
    row.lastChild.append(cell);
    return canvas;
  });
  $("layers").append(row);
}

function toggle(name, map) {
  off[name].has(map) ? off[name].delete(map) : off[name].add(map);
  update();
}

$("restore").onclick = () => {
  off.conv1.clear();
  off.conv2.clear();
  update();
};

function pixelAt(event, canvas) {
  const box = canvas.getBoundingClientRect(), limit = canvas.width - 1;
  const at = (value, start, size) => Math.min(Math.max(Math.floor(((value - start) / size) * canvas.width), 0), limit);
  return [at(event.clientY, box.top, box.height), at(event.clientX, box.left, box.width)];
}

function strongest({ name, side }, map) {
  const values = layers ? layers[name].slice(map * side * side, (map + 1) * side * side) : [0];
  const at = values.indexOf(Math.max(...values));
  return [Math.floor(at / side), at % side];
}

function move(event, layer, map) {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!step || !inspected) return;
  event.preventDefault();
  const limit = (value) => Math.min(Math.max(value, 0), layer.side - 1);
  inspect(layer, map, [limit(inspected.pixel[0] + step[0]), limit(inspected.pixel[1] + step[1])]);
}

/** The patch, the kernel, their product and its sum for one pixel of a map. */
function explain(layer, map, [row, column]) {
  const size = layer.kernel, weight = weights[`${layer.name}.weight`], bias = weights[`${layer.name}.bias`][map];
  const [, channels] = weight.shape, side = layer.side + size - 1, parts = [];
  let sum = 0;
  for (let channel = 0; channel < channels; channel++) {
    const patch = [], kernel = [];
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        patch.push(layers[layer.from][(channel * side + row + y) * side + column + x]);
        kernel.push(weight[((map * channels + channel) * size + y) * size + x]);
      }
    }
    const product = patch.map((value, at) => value * kernel[at]);
    sum += product.reduce((total, value) => total + value, 0);
    parts.push({ patch, kernel, product });
  }
  return { parts, sum, bias, value: sum + bias };
}

function inspect(layer, map, pixel) {
  inspected = layer && layers ? { layer, map, pixel } : null;
  showLayers();
}

const fixed = (value) => (Math.abs(value) < 0.005 ? "0" : value.toFixed(2).replace("-", "\u2212"));

/** Show the maps, and how the pixel that is pointed at is computed. */
function showLayers() {
  $("patch").hidden = !inspected;
  paintMaps();
  if (!inspected) return;
  const { layer, map, pixel } = inspected, { parts, sum, bias, value } = explain(layer, map, pixel);
  const isSmall = parts.length > 1;
  const grid = (key, name) => {
    const largest = Math.max(1e-6, ...parts.flatMap((part) => part[key].map(Math.abs)));
    const tables = parts.map((part) => table(part[key], layer.kernel, largest, !isSmall)).join("");
    return `<figure><figcaption>${name}</figcaption><div class="${isSmall ? "stack small" : ""}">${tables}</div></figure>`;
  };
  const activation = layer.name === "conv1" ? afterConv1 : afterConv2;
  const applied = activation === same ? "" : ` \u2192 ${isSigmoid ? "sigmoid" : "ReLU"} <b>${fixed(activation(value))}</b>`;
  $("patch").innerHTML =
    `<h3>${layer.name}, ${say("map")} ${map + 1}, ${say("pixel", pixel[0] + 1, pixel[1] + 1)}</h3><div class="terms">` +
    `${grid("patch", say("patch"))}<span>\u00d7</span>${grid("kernel", say("kernel"))}<span>=</span>` +
    `${grid("product", say("product"))}<p class="sum">${say("sum")} ${fixed(sum)} + ${say("bias")} ${fixed(bias)} = ` +
    `${fixed(value)}${applied}</p></div>`;
}

function table(values, size, largest, hasNumbers) {
  const cell = (value) => {
    const share = Math.min(Math.abs(value) / largest, 1);
    const color = `color-mix(in srgb, var(--${value < 0 ? "bad" : "accent"}) ${Math.round(62 * share)}%, var(--paper))`;
    return `<td style="background:${color}">${hasNumbers ? fixed(value) : ""}</td>`;
  };
  const rows = Array.from({ length: size }, (_, row) => values.slice(row * size, (row + 1) * size).map(cell).join(""));
  return `<table><tr>${rows.join("</tr><tr>")}</tr></table>`;
}

const [GRAYS, COLORS] = [[139, 140, 145], [86, 97, 222]].map((middle) => // from dark to white
  Array.from({ length: 256 }, (_, level) => {
    const stops = [[23, 26, 36], middle, [255, 255, 255]], at = level / 127.5, low = Math.min(Math.floor(at), 1);
    return stops[low].map((value, channel) => value + (stops[low + 1][channel] - value) * (at - low));
  }),
);

function paint(canvas, values, lowest, highest, marks = [], colors = COLORS) {
  const context = canvas.getContext("2d"), picture = context.createImageData(canvas.width, canvas.height);
  for (let at = 0; at < canvas.width * canvas.height; at++) {
    const share = at < values.length ? (values[at] - lowest) / (highest - lowest || 1) : 0;
    const color = colors[Math.round(255 * Math.min(Math.max(share, 0), 1))];
    picture.data.set([...color, at < values.length ? 255 : 0], 4 * at);
  }
  context.putImageData(picture, 0, 0);
  context.fillStyle = "rgb(255 176 32 / 0.55)";
  for (const mark of marks) context.fillRect(...mark);
}

function paintMaps() {
  const at = inspected ?? {}, isFirst = at.layer?.name === "conv1";
  const patch = at.layer ? [at.pixel[1], at.pixel[0], at.layer.kernel, at.layer.kernel] : null;
  const image = layers?.input ?? new Float32Array(SIDE * SIDE);
  paint($("input"), image, 0, 1, isFirst ? [patch] : [], GRAYS);
  for (const layer of LAYERS) {
    const values = layers?.[layer.name] ?? new Float32Array(layer.count * layer.side ** 2);
    const [lowest, highest] = layers ? [Math.min(0, ...values), Math.max(...values)] : [0, 1], size = values.length / layer.count;
    layer.canvases.forEach((canvas, map) => {
      const marks = layer === at.layer && map === at.map ? [[at.pixel[1], at.pixel[0], 1, 1]] : [];
      if (at.layer && !isFirst && layer.name === at.layer.from) marks.push(patch);
      paint(canvas, values.subarray(map * size, (map + 1) * size), lowest, highest, marks);
    });
  }
}

// The answer

function update() {
  isDue = false;
  const image = toMnist(inkPixels(), PAPER);
  layers = image && forward(image, off);
  whole = image && (off.conv1.size || off.conv2.size ? decide(image, forward(image).fc2) : null);
  if (!layers) inspected = null;
  show();
}

function percent(prob) {
  return prob >= 0.9995 ? ">99.9%" : `${(100 * prob).toFixed(1)}%`;
}

function show() {
  const answer = layers && decide(layers.input, layers.fc2);
  $("hint").hidden = strokes.length > 0;
  showLayers();
  showAnswer(answer);
  showBars(answer);
  for (const { name, kind, canvases } of LAYERS.filter((one) => one.kind === "conv")) {
    canvases.forEach((canvas, map) => {
      canvas.parentNode.classList.toggle("off", off[name].has(map));
      canvas.parentNode.setAttribute("aria-pressed", off[name].has(map));
      canvas.parentNode.setAttribute("aria-label", `${name}, ${say("map")} ${map + 1}`);
      canvas.parentNode.title = say("silence");
    });
  }
  const count = off.conv1.size + off.conv2.size, line = $("cost").firstChild;
  $("cost").dataset.silenced = count;
  line.textContent = count ? say("silenced", count) : "";
  if (whole) line.textContent += `: ${whole.label} ${percent(whole.confidence)} \u2192 ${answer.label} ${percent(answer.confidence)}`;
}

function stateOf(answer) {
  if (!answer) return "plain";
  if (!answer.isAnswer) return "bad";
  if (answer.reason) return "doubt";
  return answer.trusted === null ? "plain" : "good";
}

function showAnswer(answer) {
  const state = stateOf(answer), label = $("label");
  let text = answer ? answer.label : "\u2013";
  if (answer?.reason) text = answer.isAnswer ? `${answer.label}?` : say(answer.reason);
  label.textContent = text;
  label.className = `${state}${text.length > 3 ? " words" : ""}`;
  label.style.color = answer ? "" : "var(--pale)";
  $("confidence").textContent = answer
    ? answer.isAnswer ? say("sure", percent(answer.confidence)) : say("nearest", answer.label, percent(answer.confidence))
    : "";
  let trust = "";
  if (answer?.isAnswer) {
    trust = answer.trusted === null && !answer.reason ? say("uncalibrated") : say(answer.reason ?? "trusted");
    const names = answer.candidates.map((index) => classes[index]);
    if (names.length > 1 && names.length < 5) trust = say("or", names);
  }
  $("trust").textContent = trust;
  $("trust").className = state;
}

const bars = classes.map((name) => {
  const item = document.createElement("li");
  item.innerHTML = "<span></span><i><b></b></i><span></span>";
  item.firstChild.textContent = item.firstChild.title = name;
  $("bars").append(item);
  return item;
});
$("bars").classList.toggle("named", classes.some((name) => name.length > 2));

function showBars(answer) {
  $("bars").classList.remove("good", "doubt", "bad", "plain");
  $("bars").classList.add(stateOf(answer));
  bars.forEach((item, index) => {
    item.classList.toggle("best", answer?.best === index);
    item.querySelector("b").style.width = answer ? `${100 * answer.probs[index]}%` : "0";
    item.lastChild.textContent = answer ? percent(answer.probs[index]) : "";
  });
}

// Languages and themes

const TEXTS = {
  en: {
    title: "LeNet reads your digit", hint: "draw a digit here", clear: "Clear", undo: "Undo", eraser: "Eraser", example: "Example",
    pen: "pen", sees: "the network sees", answer: "the answer", probabilities: "probabilities", inside: "inside the network",
    black: "cropped, centered, white on black as in MNIST", restore: "Restore all",
    insideNote: "Point at a pixel of conv1 or conv2 to see how it is computed. Click a map to silence it.",
    footer: "Keys: c clear, u or Ctrl+Z undo, e eraser, x example. Tab to a map, arrows move the pixel, Enter silences it.",
    about: (count, accuracy) => `A convolutional network of ${count.toLocaleString("en")} parameters${accuracy ? `; test accuracy ${accuracy}` : ""}. It runs in this page: nothing that you draw leaves it.`,
    sure: (prob) => `${prob} sure`, nearest: (label, prob) => `the nearest is ${label}, ${prob}`, trusted: "trusted", uncalibrated: "not calibrated",
    "low confidence": "low confidence", "not a digit": "not a digit", "several digits": "several digits", "may be a slash": "may be a slash",
    "none of the classes": "none of the classes", or: (names) => `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`,
    map: "map", pixel: (row, column) => `row ${row}, column ${column}`, patch: "patch of the input", kernel: "kernel", product: "product",
    sum: "sum", bias: "bias", silence: "click to silence this map",
    silenced: (count) => `${count} ${count > 1 ? "maps" : "map"} silenced`,
    conv: (count, side, parameters) => `${count} maps of ${side}\u00d7${side}, kernels of 5\u00d75; ${parameters} parameters`,
    pool: (count, side) => `the largest of 2\u00d72: ${count} maps of ${side}\u00d7${side}`,
    full: (count, parameters) => `${count} values; ${parameters} parameters`, other: "\u4e2d\u6587", light: "Light", dark: "Dark",
  },
  zh: {
    title: "LeNet \u8bc6\u522b\u4f60\u5199\u7684\u6570\u5b57", hint: "\u5728\u8fd9\u91cc\u5199\u4e00\u4e2a\u6570\u5b57", clear: "\u6e05\u7a7a", undo: "\u64a4\u9500", eraser: "\u6a61\u76ae", example: "\u793a\u4f8b",
    pen: "\u7b14", sees: "\u7f51\u7edc\u770b\u5230\u7684", answer: "\u7b54\u6848", probabilities: "\u6982\u7387", inside: "\u7f51\u7edc\u5185\u90e8",
    black: "\u88c1\u526a\u3001\u5c45\u4e2d\uff0c\u548c MNIST \u4e00\u6837\u9ed1\u5e95\u767d\u5b57", restore: "\u5168\u90e8\u6062\u590d",
    insideNote: "\u628a\u6307\u9488\u653e\u5728 conv1 \u6216 conv2 \u7684\u50cf\u7d20\u4e0a\uff0c\u770b\u5b83\u5982\u4f55\u7b97\u51fa\u3002\u70b9\u51fb\u4e00\u5f20\u7279\u5f81\u56fe\u53ef\u5c06\u5176\u5c4f\u853d\u3002",
    footer: "\u6309\u952e\uff1ac \u6e05\u7a7a\uff0cu \u6216 Ctrl+Z \u64a4\u9500\uff0ce \u6a61\u76ae\uff0cx \u793a\u4f8b\u3002Tab \u9009\u4e2d\u7279\u5f81\u56fe\uff0c\u65b9\u5411\u952e\u79fb\u52a8\u50cf\u7d20\uff0cEnter \u5c4f\u853d\u3002",
    about: (count, accuracy) => `\u4e00\u4e2a\u6709 ${count.toLocaleString("en")} \u4e2a\u53c2\u6570\u7684\u5377\u79ef\u7f51\u7edc${accuracy ? `\uff0c\u6d4b\u8bd5\u96c6\u51c6\u786e\u7387 ${accuracy}` : ""}\u3002\u5168\u90e8\u8ba1\u7b97\u90fd\u5728\u672c\u9875\u5b8c\u6210\uff0c\u4f60\u5199\u7684\u5185\u5bb9\u4e0d\u4f1a\u79bb\u5f00\u672c\u9875\u3002`,
    sure: (prob) => `\u7f6e\u4fe1\u5ea6 ${prob}`, nearest: (label, prob) => `\u6700\u63a5\u8fd1\u7684\u662f ${label}\uff0c${prob}`, trusted: "\u53ef\u4fe1", uncalibrated: "\u672a\u6821\u51c6",
    "low confidence": "\u7f6e\u4fe1\u5ea6\u4f4e", "not a digit": "\u4e0d\u662f\u6570\u5b57", "several digits": "\u4e0d\u6b62\u4e00\u4e2a\u6570\u5b57", "may be a slash": "\u53ef\u80fd\u662f\u659c\u7ebf",
    "none of the classes": "\u4e0d\u5c5e\u4e8e\u4efb\u4f55\u7c7b\u522b", or: (names) => names.join(" \u6216 "),
    map: "\u7279\u5f81\u56fe", pixel: (row, column) => `\u7b2c ${row} \u884c\u7b2c ${column} \u5217`, patch: "\u8f93\u5165\u7684\u5c40\u90e8", kernel: "\u5377\u79ef\u6838", product: "\u4e58\u79ef",
    sum: "\u548c", bias: "\u504f\u7f6e", silence: "\u70b9\u51fb\u5c4f\u853d\u6b64\u7279\u5f81\u56fe",
    silenced: (count) => `\u5df2\u5c4f\u853d ${count} \u5f20\u7279\u5f81\u56fe`,
    conv: (count, side, parameters) => `${count} \u5f20 ${side}\u00d7${side} \u7279\u5f81\u56fe\uff0c5\u00d75 \u5377\u79ef\u6838\uff1b${parameters} \u4e2a\u53c2\u6570`,
    pool: (count, side) => `2\u00d72 \u4e2d\u53d6\u6700\u5927\u503c\uff1a${count} \u5f20 ${side}\u00d7${side}`,
    full: (count, parameters) => `${count} \u4e2a\u503c\uff1b${parameters} \u4e2a\u53c2\u6570`, other: "English", light: "\u6d45\u8272", dark: "\u6df1\u8272",
  },
};
let language = navigator.language.startsWith("zh") ? "zh" : "en";
let theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";

function say(key, ...values) {
  const text = TEXTS[language][key];
  return typeof text === "function" ? text(...values) : text;
}

function translate() {
  const sizes = Object.values(weights).map((array) => array.length), accuracy = model.accuracy;
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.documentElement.dataset.theme = theme;
  document.title = say("title");
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = say(element.dataset.text);
  $("about").textContent = say("about", sizes.reduce((sum, size) => sum + size, 0), accuracy && `${(100 * accuracy).toFixed(2)}%`);
  $("language").textContent = say("other");
  $("theme").textContent = say(theme === "dark" ? "light" : "dark");
  paper.setAttribute("aria-label", say("hint"));
  for (const layer of LAYERS) {
    const parameters = (weights[`${layer.name}.weight`]?.length + weights[`${layer.name}.bias`]?.length).toLocaleString("en");
    layer.text.textContent = say(layer.kind, ...(layer.kind === "full" ? [layer.side] : [layer.count, layer.side]), parameters);
  }
  redraw();
}

$("language").onclick = () => {
  language = language === "en" ? "zh" : "en";
  translate();
};
$("theme").onclick = () => {
  theme = theme === "dark" ? "light" : "dark";
  translate();
};

translate();
drawExample();
window.lenet = { // for tests and the curious
  classify: (image) => decide(Float32Array.from(image), forward(Float32Array.from(image)).fc2),
  drawing: () => Array.from(inkPixels(), (value) => Math.round(255 * value)),
  answer: () => layers && decide(layers.input, layers.fc2),
  input: () => layers && Array.from(layers.input),
  explain: (name, map, pixel) => explain(LAYERS.find((layer) => layer.name === name), map, pixel),
};
