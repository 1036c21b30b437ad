// The map: points on a canvas, by mouse, finger or keyboard. `element`, `trigger`, `props` and `watch` are Gradio's.
// What users wrote goes into the page as text alone.
const part = name => element.querySelector(name);
const [space, label, told, mistake] = [".space", ".label", ".told", ".mistake"].map(part);
const [plane, canvas, tip, legend] = [".plane", "canvas", ".tip", ".legend"].map(part);

// Okabe and Ito's colours, which those who see few colours tell apart, and a shape for each: [light, dark].
const CLASSES = [
  ["#0072b2", "#56b4e9"], ["#b34700", "#f0954a"], ["#00795a", "#2cc79a"], ["#a03d7c", "#e08fc0"],
  ["#806600", "#f0d94a"], ["#5b4fc7", "#a99ff5"], ["#8c1d1d", "#f07a7a"], ["#3d6b1f", "#9bd06a"],
];
const GREY = ["#8a8f97", "#7b818a"];
const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis
const [MISSING, OTHERS, MARGIN] = [-1, -2, 14];

let found = null, seen = -1, asking = 0;
const dark = () => document.body.classList.contains("dark") ? 1 : 0;

function fill(select, options) {
  select.replaceChildren(...options.map(([value, words]) => new Option(words, value)));
}

fill(space, props.value.spaces);
fill(label, [["", "nothing"], ...props.value.labels.map(each => [each, each])]);
label.value = props.value.label;

function say(words, wrong) {
  told.textContent = wrong ? "" : words;
  mistake.textContent = wrong ? words : "";
  mistake.hidden = !wrong;
}

async function load() {
  const mine = ++asking;
  const address = "maps?" + new URLSearchParams({ space: space.value, label: label.value });
  while (mine === asking) {
    let answer, heard;
    try {
      answer = await fetch(address);
      heard = await answer.json();
    } catch (error) {
      return say("The map could not be loaded: is mscon explore still running?", true);
    }
    if (mine !== asking) return;
    if (answer.status === 202) {
      plane.classList.add("waiting");
      say(heard.told);
      await new Promise(done => setTimeout(done, 700));
      continue;
    }
    plane.classList.remove("waiting");
    if (!answer.ok) return say(heard.error, true);
    found = heard;
    seen = -1;
    tip.hidden = true;
    say(heard.told);
    explain();
    return draw();
  }
}

function colour(place) {
  const how = found.colours;
  if (!how) return CLASSES[0][dark()];
  if (how.kind === "classes") return how.codes[place] < 0 ? GREY[dark()] : CLASSES[how.codes[place]][dark()];
  const value = how.values[place];
  return value === null ? GREY[dark()] : ramp((value - how.low) / (how.high - how.low || 1));
}

function ramp(share) {
  const at = Math.min(1, Math.max(0, share)) * (RAMP.length - 1), low = Math.min(RAMP.length - 2, Math.floor(at));
  return "rgb(" + RAMP[low].map((each, k) => Math.round(each + (at - low) * (RAMP[low + 1][k] - each))) + ")";
}

// A class's shape: circle, square, triangle, diamond, cross, plus, hexagon, star; missing a ring, others a dot.
const CORNERS = [0, 4, 3, 4, 0, 0, 6, 10];
function shape(pen, kind, x, y, size) {
  pen.beginPath();
  if (kind === 4 || kind === 5) {
    const turn = kind === 4 ? Math.PI / 4 : 0;
    for (const way of [0, 1]) {
      const [dx, dy] = [Math.cos(turn + way * Math.PI / 2) * size, Math.sin(turn + way * Math.PI / 2) * size];
      pen.moveTo(x - dx, y - dy);
      pen.lineTo(x + dx, y + dy);
    }
    pen.lineWidth = size / 1.6;
    return pen.stroke();
  }
  const corners = CORNERS[kind] || 0;
  if (!corners) pen.arc(x, y, kind === OTHERS ? size * 0.5 : size * 0.9, 0, 2 * Math.PI);
  for (let corner = 0; corner < corners; corner++) {
    const turn = 2 * Math.PI * corner / corners + (kind === 1 ? Math.PI / 4 : -Math.PI / 2);
    const reach = size * (kind === 7 && corner % 2 ? 0.5 : 1.15);
    pen.lineTo(x + Math.cos(turn) * reach, y + Math.sin(turn) * reach);
  }
  pen.closePath();
  if (kind === MISSING) {
    pen.lineWidth = 1;
    pen.stroke();
  } else pen.fill();
}

function kindOf(place) {
  const how = found.colours;
  if (!how) return 0;
  if (how.kind === "classes") return how.codes[place];
  return how.values[place] === null ? MISSING : 0;
}

const at = place => [
  MARGIN + found.x[place] * (canvas.clientWidth - 2 * MARGIN),
  MARGIN + (1 - found.y[place]) * (canvas.clientHeight - 2 * MARGIN),
];

function draw() {
  if (!found || !canvas.clientWidth) return;
  const fine = window.devicePixelRatio || 1, pen = canvas.getContext("2d");
  canvas.width = canvas.clientWidth * fine;
  canvas.height = canvas.clientHeight * fine;
  pen.scale(fine, fine);
  const size = Math.max(2.2, Math.min(6, canvas.clientWidth / 22 / Math.sqrt(found.x.length) * 4));
  const order = found.x.map((_, place) => place).sort((a, b) => (kindOf(a) >= 0) - (kindOf(b) >= 0)); // grey below
  pen.globalAlpha = 0.8;
  for (const place of order) {
    pen.fillStyle = pen.strokeStyle = colour(place);
    shape(pen, kindOf(place), ...at(place), size);
  }
  pen.globalAlpha = 1;
  pen.strokeStyle = getComputedStyle(canvas).color;
  ring(pen, found.rows.indexOf(props.value.asked), 11, 3);
  ring(pen, seen, 9, 1.5);
}

function ring(pen, place, reach, width) {
  if (place < 0) return;
  pen.lineWidth = width;
  pen.beginPath();
  pen.arc(...at(place), reach, 0, 2 * Math.PI);
  pen.stroke();
}

function explain() {
  const how = found.colours, lines = [];
  const line = (kind, hue, words) => {
    const item = document.createElement("li"), mark = document.createElement("canvas");
    mark.width = mark.height = 28;
    const pen = mark.getContext("2d");
    pen.fillStyle = pen.strokeStyle = hue;
    shape(pen, kind, 14, 14, 9);
    item.append(mark, words);
    lines.push(item);
  };
  if (how && how.kind === "classes") {
    how.names.forEach((words, code) => line(code, CLASSES[code][dark()], words));
    if (how.others) line(OTHERS, GREY[dark()], how.others + " other" + (how.others > 1 ? "s" : ""));
    if (how.codes.includes(MISSING)) line(MISSING, GREY[dark()], "missing");
  } else if (how) {
    const item = document.createElement("li"), scale = document.createElement("span");
    scale.className = "scale";
    scale.style.background = "linear-gradient(to right, " + [0, 0.25, 0.5, 0.75, 1].map(ramp) + ")";
    item.append(String(+how.low.toPrecision(4)), scale, String(+how.high.toPrecision(4)));
    lines.push(item);
    if (how.values.includes(null)) line(MISSING, GREY[dark()], "missing");
  }
  legend.replaceChildren(...lines);
}

function show(place) {
  seen = place;
  tip.hidden = place < 0;
  draw();
  if (place < 0) return;
  const words = found.words[place];
  tip.querySelector("img").src = props.value.pictures + "/" + found.rows[place];
  tip.querySelector("p").textContent = found.ids[place] + (label.value ? " · " + (words === null ? "missing" : words) : "");
  const [x, y] = at(place);
  tip.style.left = Math.max(0, Math.min(canvas.clientWidth - 168, x + 14)) + "px";
  tip.style.top = (y > canvas.clientHeight / 2 ? y - tip.offsetHeight - 12 : y + 14) + "px";
}

function nearest(x, y, allowed, reach) {
  let best = -1, least = reach * reach;
  for (let place = 0; found && place < found.x.length; place++) {
    const [left, top] = at(place), gap = (left - x) ** 2 + (top - y) ** 2;
    if (gap < least && allowed(left - x, top - y, place)) [best, least] = [place, gap];
  }
  return best;
}

const under = event => nearest(event.offsetX, event.offsetY, () => true, 18);
const ask = place => place >= 0 && trigger("pick", { row: found.rows[place] });
canvas.addEventListener("pointermove", event => show(under(event)));
canvas.addEventListener("pointerleave", () => show(-1));
canvas.addEventListener("click", event => ask(under(event)));
canvas.addEventListener("keydown", event => {
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (event.key === "Enter") ask(seen);
  if (!way || !found) return;
  event.preventDefault();
  const [x, y] = seen < 0 ? [canvas.clientWidth / 2, canvas.clientHeight / 2] : at(seen);
  const ahead = (dx, dy, place) => {
    const along = dx * way[0] + dy * way[1];
    return place !== seen && (seen < 0 || along > 0 && along >= Math.abs(dx * way[1] + dy * way[0]));
  };
  const next = nearest(x, y, ahead, 1e9);
  if (next >= 0) show(next);
});

space.addEventListener("change", load);
label.addEventListener("change", load);
watch("value", draw);
new ResizeObserver(draw).observe(canvas);
const first = new IntersectionObserver(entries => {
  if (!entries.some(each => each.isIntersecting)) return;
  first.disconnect();
  load();
});
first.observe(plane);
