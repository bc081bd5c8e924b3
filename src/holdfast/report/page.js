"use strict";
// Draws what #content holds. Every number in it was made by holdfast.metrics; nothing is added up here.
(() => {
const content = JSON.parse(document.getElementById("content").textContent);
const find = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const percent = (x) => x == null ? "–" : `${(100 * x).toFixed(1)} %`;
const count = new Intl.NumberFormat("en").format;
const state = { ...content.first, hidden: new Set(), page: 0, pictures: 12 };

/** An element, its properties, and what is in it: elements, or text, which is never read as HTML. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** A size as people write it: in steps of 1/255 where it is one. */
function size(norm, eps) {
  if (norm === "l0") return `${Math.round(eps)}`;
  const steps = eps * 255;
  const whole = norm === "linf" && steps > 0.5 && steps < 40 && Math.abs(steps - Math.round(steps)) < 1e-3 * steps;
  return whole ? `${Math.round(steps)}/255` : `${+eps.toPrecision(4)}`;
}

/** A certified radius with three digits, never larger than it is. */
function down(radius) {
  const near = +radius.toPrecision(3);
  return near <= radius ? near : +(near - 10 ** (Math.floor(Math.log10(radius)) - 2)).toPrecision(3);
}

const view = (model = state.model, norm = state.norm) => content.views[`${model} ${norm}`];
const normName = () => content.norms[state.norm];
const at = () => `${normName()} ≤ ${size(state.norm, state.eps)}`;
const table = (points) => points.map(([eps, accuracy, low, high, n]) => ({ eps, accuracy, low, high, n }));
const models = () => content.models.map((_, place) => place).filter((place) => view(place));

/** How an attack looks, in every figure: its colour, dashes and mark. */
const DASHES = ["", "7 3", "2 3", "9 3 2 3"];
const MARKS = ["square", "triangle", "diamond", "star", "cross", "wye"];
function look(attack) {
  const place = content.attacks.indexOf(attack);
  return {
    colour: `var(--a${place % 6})`,
    dashes: DASHES[Math.floor(place / 6) % DASHES.length],
    mark: MARKS[place % MARKS.length],
  };
}

const HATCH = `<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<line x1="0" y1="0" x2="0" y2="6" stroke="var(--soft)" stroke-width="1.1" stroke-opacity=".55"/></pattern>`;

/** Plot's options that all figures share; `reached` are the points that the keyboard goes through. */
function drawn(figure, options, reached) {
  const target = find(".plot", figure);
  const width = Math.max(280, target.clientWidth);
  const { marks, ...others } = options(width);
  const plot = Plot.plot({
    width,
    marginTop: 26,
    style: { background: "none", color: "var(--ink)", fontSize: width < 500 ? "12px" : "13px", fontFamily: "var(--sans)", overflow: "visible" },
    ...others,
    marks: [...marks, reached ? Plot.dot(reached.points, { x: reached.x, y: reached.y, r: 8, fill: "none", stroke: "none", className: "reached" }) : null],
  });
  target.replaceChildren(plot);
  if (reached) reachable(plot, reached);
  return plot;
}

const pen = document.createElement("canvas").getContext("2d");

/** How many pixels the longest of some names takes in the page's own font. */
function longest(names, font = "13px") {
  pen.font = `${font} ${getComputedStyle(document.body).fontFamily}`;
  return Math.max(0, ...names.map((name) => pen.measureText(name).width));
}

/** A name without its middle, if it has no room: what tells two models apart is often their end. */
function clipped(name, room, font) {
  if (longest([name], font) <= room) return name;
  const letters = [...name];
  const without = (cut) => [...letters.slice(0, Math.ceil((letters.length - cut) / 2)), "…", ...letters.slice(letters.length - Math.floor((letters.length - cut) / 2))].join("");
  return without(d3.range(1, letters.length - 4).find((cut) => longest([without(cut)], font) <= room) ?? Math.max(0, letters.length - 4));
}

// --- The keyboard -------------------------------------------------------------------------------

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Makes a figure's points stops of the keyboard: one by Tab, the next by an arrow; each shows its tip. */
function reachable(plot, { points, words, series }) {
  const stops = all("g.reached circle", plot);
  const point = (type, stop) => {
    const { left, top, width, height } = stop.getBoundingClientRect();
    plot.dispatchEvent(new PointerEvent(type, { pointerType: "mouse", clientX: left + width / 2, clientY: top + height / 2 }));
  };
  const place = (stop) => [+stop.getAttribute("cx"), +stop.getAttribute("cy")];
  const of = (stop) => points[stop.__data__];
  /** The stop that lies next in a direction: of the same series if there is one, else hardly aside. */
  const next = (from, [right, down]) => {
    const here = place(from);
    const cost = (to) => {
      const [x, y] = place(to).map((end, axis) => end - here[axis]);
      const ahead = right * x + down * y;
      const aside = Math.abs(right ? y : x);
      const other = right && series && series(of(to)) !== series(of(from));
      return ahead > 0.5 && !other ? ahead + (right && series ? 0 : 3 * aside) : Infinity;
    };
    const best = stops.reduce((best, stop) => cost(stop) < cost(best) ? stop : best, from);
    return best === from || cost(best) === Infinity ? null : best;
  };
  stops.forEach((stop, number) => {
    stop.setAttribute("tabindex", number ? -1 : 0);
    stop.setAttribute("role", "img");
    stop.setAttribute("aria-label", words(of(stop)).replaceAll("\n", "; "));
    stop.addEventListener("focus", () => {
      for (const each of stops) each.setAttribute("tabindex", each === stop ? 0 : -1);
      point("pointerenter", stop);
      point("pointermove", stop);
    });
    stop.addEventListener("blur", () => point("pointerleave", stop));
    stop.addEventListener("keydown", (event) => {
      const ends = { Home: stops[0], End: stops.at(-1) };
      const to = ARROWS[event.key] ? next(stop, ARROWS[event.key]) : ends[event.key];
      if (ARROWS[event.key] || to) event.preventDefault();
      to?.focus();
    });
  });
}

/** Escape takes away what a figure says of a point, however it was pointed at. */
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const plot of all(".plot svg")) plot.dispatchEvent(new PointerEvent("pointerleave", { pointerType: "mouse" }));
});

const accuracyAxis = { domain: [0, 1], grid: true, ticks: 5, tickFormat: (x) => `${Math.round(100 * x)} %`, label: null };
const axisOf = (norm, to) => ({ domain: [0, to], label: `size of the perturbation, ${content.norms[norm]}`, labelAnchor: "center", tickFormat: (x) => size("", x), ticks: 7, nice: false });

/** Sizes that people report at, the most usual first, as many as have room for their names. */
function usual(norm, to, pixels) {
  const kept = [];
  for (const eps of content.usual[norm]) {
    const far = kept.every((other) => Math.abs(eps - other) / to * pixels > 44);
    if (eps <= to * 1.001 && far) kept.push(eps);
  }
  return kept;
}

function marks(norm, to, pixels) {
  const sizes = usual(norm, to, pixels);
  return [
    Plot.ruleX(sizes, { stroke: "var(--soft)", strokeDasharray: "1 3" }),
    Plot.text(sizes, { x: (d) => d, text: (d) => size(norm, d), frameAnchor: "top", dy: -14, fill: "var(--soft)", fontSize: 11.5, className: "usual" }),
  ];
}

// --- The first figure ---------------------------------------------------------------------------

function headline() {
  const shown = view();
  const figure = find("#headline");
  const both = shown.both ?? {};
  const ceiling = table(both.ceiling ?? shown.ceiling ?? []);
  const floor = table(both.floor ?? shown.floor ?? []).filter((d) => !shown.implied || d.accuracy > 0);
  const others = models().filter((place) => place !== state.model && view(place).ceiling)
    .flatMap((place) => table(view(place).ceiling).map((d) => ({ ...d, model: content.models[place].label })));
  const attacked = ceiling.at(-1)?.eps ?? 0;
  const to = Math.max(attacked, others.reduce((most, d) => Math.max(most, d.eps), 0), attacked ? 0 : floor.at(-1)?.eps ?? 0) * 1.02 || 1;
  const inside = floor.filter((d) => d.eps <= to);
  const read = ceiling.length ? ceiling : inside;
  const words = (d) => reading(d, shown);
  const plot = drawn(figure, (width) => {
    const room = width < 600 ? 16 : 210;
    return {
      height: width < 600 ? 300 : 350,
      marginLeft: 46, marginRight: room, marginBottom: 42,
      x: axisOf(state.norm, to), y: accuracyAxis,
      marks: [
        () => svg(`<defs>${HATCH}</defs>`),
        inside.length && ceiling.length ? Plot.areaY(ceiling, { x: "eps", y1: 0, y2: "accuracy", fill: "url(#hatch)" }) : null,
        inside.length ? Plot.areaY(inside.filter((d) => !ceiling.length || d.eps <= attacked), { x: "eps", y1: 0, y2: "accuracy", fill: "var(--paper)" }) : null,
        inside.length ? Plot.areaY(inside, { x: "eps", y1: 0, y2: "accuracy", fill: "var(--certified)", fillOpacity: 0.16 }) : null,
        ...marks(state.norm, to, width - 46 - room),
        Plot.line(others, { x: "eps", y: "accuracy", z: "model", stroke: "var(--soft)", strokeOpacity: 0.45, strokeWidth: 1 }),
        Plot.areaY(ceiling, { x: "eps", y1: "low", y2: "high", fill: "var(--robust)", fillOpacity: 0.16 }),
        Plot.areaY(inside, { x: "eps", y1: "low", y2: "high", fill: "var(--certified)", fillOpacity: 0.2 }),
        Plot.line(inside, { x: "eps", y: "accuracy", stroke: "var(--certified)", strokeWidth: 2.4, strokeDasharray: shown.implied ? "6 4" : null }),
        Plot.line(ceiling, { x: "eps", y: "accuracy", stroke: "var(--robust)", strokeWidth: 2.4 }),
        Plot.dot(ceiling, { x: "eps", y: "accuracy", fill: "var(--robust)", r: 4, stroke: "var(--paper)" }),
        ...labels(ceiling, inside, width, shown),
        Plot.ruleY([0]),
        Plot.tip(read, Plot.pointerX({ x: "eps", y: "accuracy", title: words })),
      ],
    };
  }, { points: read, x: "eps", y: "accuracy", words });
  plot.setAttribute("aria-label", `${content.models[state.model].label}: robust and certified accuracy over the size of the perturbation in ${normName()}`);
  find("figcaption", figure).replaceChildren(...captionOf(shown, ceiling, inside));
}

function svg(inner) {
  const group = document.createElementNS("http://www.w3.org/2000/svg", "g");
  group.innerHTML = inner;
  return group;
}

/** Names at the curves' ends; beside each other where they would touch. */
function labels(ceiling, floor, width, shown) {
  const ends = [];
  if (ceiling.length) ends.push({ ...ceiling.at(-1), words: "robust accuracy\nworst case over the attacks", colour: "var(--robust)" });
  if (floor.length) ends.push({ ...floor.at(-1), words: shown.implied ? `certified in ${content.norms[shown.implied]},\nimplied here` : "certified accuracy", colour: "var(--certified)" });
  if (width < 600) {
    return ends.map((d, place) => Plot.text([d], { text: (e) => e.words.split("\n")[0], frameAnchor: "top-right", dy: 4 + 17 * place, fill: d.colour, fontWeight: 600, className: "halo" }));
  }
  if (ends.length === 2 && Math.abs(ends[0].accuracy - ends[1].accuracy) < 0.16 && Math.abs(ends[0].eps - ends[1].eps) < 0.25 * ceiling.at(-1).eps) {
    const middle = Math.max(0.16, (ends[0].accuracy + ends[1].accuracy) / 2);
    ends[0].at = middle + 0.07; ends[1].at = middle - 0.1;
  }
  return ends.map((d) => Plot.text([d], { x: "eps", y: (e) => Math.max(0.06, e.at ?? e.accuracy), text: "words", textAnchor: "start", dx: 9, fill: d.colour, fontWeight: 600, lineHeight: 1.15 }));
}

function reading(d, shown) {
  const own = shown.both?.floor ?? shown.floor ?? [];
  const proven = own.findLast?.(([eps]) => eps <= d.eps * (1 + 1e-9) && eps >= d.eps * (1 - 1e-9));
  return [
    `${normName()} ≤ ${size(state.norm, d.eps)}`,
    shown.ceiling ? `robust ${percent(d.accuracy)} (${percent(d.low)} to ${percent(d.high)})` : null,
    shown.ceiling ? (proven ? `certified ${percent(proven[1])} (${percent(proven[2])} to ${percent(proven[3])})` : null) : `certified ${percent(d.accuracy)} (${percent(d.low)} to ${percent(d.high)})`,
    `${count(d.n)} images`,
  ].filter(Boolean).join("\n");
}

function captionOf(shown, ceiling, floor) {
  const words = [make("b", {}, content.models[state.model].label), `, ${content.models[state.model].title}. `];
  if (shown.both) words.push(`Both curves are of the same ${count(shown.both.n)} images. Hatched: neither certified nor broken. `);
  else if (shown.implied && !floor.length) words.push(`Its ${content.norms[shown.implied]} certificate says nothing at these sizes; choose ${content.norms[shown.implied]} to see it. `);
  else if (!shown.floor && content.models[state.model].top) words.push(`Certified is only that the label is among the first ${content.models[state.model].top} classes. `);
  else if (!shown.floor) words.push("Nothing is certified for it. ");
  else if (!ceiling.length) words.push("No attack was run on it in this norm. ");
  words.push("Bands are 95 % intervals over the images");
  words.push(models().length > 1 ? "; thin grey lines, the other models’ robust accuracy." : ".");
  return words;
}

// --- Models compared ----------------------------------------------------------------------------

/** The point of a curve at the size that is looked at, or null. */
const pointAt = (points) => {
  const found = (points ?? []).find(([eps]) => Math.abs(eps - state.eps) <= 1e-6 * (1 + state.eps));
  return found ? table([found])[0] : null;
};

function compare() {
  const rows = models().map((place) => {
    const shown = view(place);
    return {
      place, model: content.models[place].label,
      robust: pointAt(shown.ceiling), clean: shown.ceiling ? table(shown.ceiling)[0] : null,
      certified: shown.implied ? null : pointAt(shown.floor),
    };
  }).sort((a, b) => (b.robust?.accuracy ?? -1) - (a.robust?.accuracy ?? -1));
  const point = (key) => rows.filter((row) => row[key]).map((row) => ({ ...row, ...row[key] }));
  const shows = (row) => row.robust?.accuracy ?? 0;
  const words = (row) => [row.model, `without attack ${percent(row.clean?.accuracy)}`, `robust ${percent(row.robust?.accuracy)}`, `certified ${percent(row.certified?.accuracy)}`].join("\n");
  drawn(find("#compare"), (width) => {
    const narrow = width < 600;
    const left = narrow ? 8 : Math.min(330, 20 + longest(rows.map((row) => row.model)));
    return {
      height: 46 + rows.length * (narrow ? 44 : 34), marginLeft: left, marginRight: 20, marginTop: 30,
      x: { ...accuracyAxis, axis: "top" }, y: { domain: rows.map((row) => row.model), label: null, axis: null },
      marks: [
        narrow ? Plot.text(rows, { y: "model", text: (row) => clipped(row.model, width - 28, "600 12px"), frameAnchor: "left", dy: -15, fontWeight: 600 })
          : Plot.text(rows, { y: "model", text: (row) => clipped(row.model, left - 14), frameAnchor: "left", dx: -12, textAnchor: "end", fontWeight: (row) => 500 }),
        Plot.link(rows.filter((row) => row.robust && row.certified), { x1: (row) => row.certified.accuracy, x2: (row) => row.robust.accuracy, y1: "model", y2: "model", stroke: "var(--soft)", strokeDasharray: "2 3", strokeWidth: 1.5 }),
        Plot.ruleY(rows, { y: "model", x1: 0, x2: 1, stroke: "var(--line)" }),
        Plot.link(point("robust"), { x1: "low", x2: "high", y1: "model", y2: "model", stroke: "var(--robust)", strokeWidth: 5, strokeOpacity: 0.35 }),
        Plot.dot(point("clean"), { x: "accuracy", y: "model", r: 4.5, stroke: "var(--clean)", fill: "var(--paper)", strokeWidth: 1.6 }),
        Plot.dot(point("certified"), { x: "accuracy", y: "model", symbol: "square", r: 5, fill: "var(--certified)" }),
        Plot.dot(point("robust"), { x: "accuracy", y: "model", r: 5.5, fill: "var(--robust)" }),
        Plot.tip(rows, Plot.pointerY({ y: "model", x: shows, title: words })),
      ],
    };
  }, { points: rows, x: shows, y: "model", words });
  find("#compare figcaption").replaceChildren(...key([["var(--clean)", "circle", "without attack", true], ["var(--robust)", "circle", "robust accuracy"], ...(rows.some((row) => row.certified) ? [["var(--certified)", "square", `certified accuracy in ${normName()}`]] : [])]));
  curves();
}

function curves() {
  const points = models().filter((place) => view(place).ceiling).flatMap((place) => table(view(place).ceiling).map((d) => ({ ...d, place, model: content.models[place].label })));
  const several = new Set(points.map((d) => d.place)).size > 1;
  find("#curves").hidden = !several;
  if (!several) return;
  const to = Math.max(...points.map((d) => d.eps)) * 1.02;
  const mine = points.filter((d) => d.place === state.model);
  const words = atSize(points, (d) => d.model);
  drawn(find("#curves"), (width) => ({
    height: width < 600 ? 260 : Math.max(320, 84 + 15 * models().length), marginLeft: 46, marginBottom: 42, marginRight: width < 600 ? 16 : 210,
    x: axisOf(state.norm, to), y: accuracyAxis,
    marks: [
      ...marks(state.norm, to, width - 46 - (width < 600 ? 16 : 210)),
      Plot.line(points, { x: "eps", y: "accuracy", z: "model", stroke: "var(--soft)", strokeOpacity: 0.7 }),
      Plot.line(mine, { x: "eps", y: "accuracy", stroke: "var(--robust)", strokeWidth: 2.6 }),
      width < 600 ? null : Plot.text(spread(points.filter((d) => d.eps === Math.max(...points.filter((e) => e.model === d.model).map((e) => e.eps)))), { x: "eps", y: "at", text: (d) => clipped(d.model, 198, "12px"), textAnchor: "start", dx: 8, fill: (d) => d.place === state.model ? "var(--robust)" : "var(--soft)", fontSize: 12 }),
      Plot.ruleY([0]),
      Plot.dot(points, Plot.pointer({ x: "eps", y: "accuracy", fill: "var(--ink)", r: 4 })),
      Plot.tip(points, Plot.pointer({ x: "eps", y: "accuracy", title: words })),
    ],
  }), { points, x: "eps", y: "accuracy", words, series: (d) => d.model });
}

/** What is known at a point of a curve: of all curves that meet there, since a tip can show but one. */
function atSize(points, name) {
  const met = d3.group(points, (d) => `${d.eps} ${d.accuracy}`);
  return (d) => {
    const names = [...new Set(met.get(`${d.eps} ${d.accuracy}`).map(name))].join(", ");
    const where = d.eps ? `${normName()} ≤ ${size(state.norm, d.eps)}` : "without attack";
    return `${names}\n${where}: ${percent(d.accuracy)}\n${percent(d.low)} to ${percent(d.high)}, ${count(d.n)} images`;
  };
}

/** Labels moved apart so that none lies on another. */
function spread(ends, gap = Math.min(0.055, 1 / ends.length)) {
  const sorted = ends.map((d) => ({ ...d, at: d.accuracy })).sort((a, b) => a.at - b.at);
  sorted.forEach((d, place) => { if (place) d.at = Math.max(d.at, sorted[place - 1].at + gap); });
  const over = Math.max(0, (sorted.at(-1)?.at ?? 0) - 1);
  for (let place = sorted.length - 1, limit = 1; over && place >= 0; place--, limit = sorted[place + 1].at - gap) sorted[place].at = Math.min(sorted[place].at, limit);
  return sorted;
}

/** A key of colours and marks, for a caption. */
function key(entries) {
  return entries.flatMap(([colour, mark, words, hollow]) => [symbol(colour, mark, "", hollow), ` ${words}  `]);
}

function symbol(colour, mark, dashes = "", hollow = false, line = false) {
  const path = d3.symbol(d3[`symbol${mark[0].toUpperCase()}${mark.slice(1)}`], 42)();
  const holder = make("span", { ariaHidden: "true" });
  holder.innerHTML = `<svg width="${line ? 30 : 14}" height="14" viewBox="${line ? "-15 -7 30 14" : "-7 -7 14 14"}" style="vertical-align:-2px">${line ? `<line x1="-14" x2="14" stroke="${colour}" stroke-width="2" stroke-dasharray="${dashes}"/>` : ""}<path d="${path}" fill="${hollow ? "var(--paper)" : colour}" stroke="${colour}" stroke-width="1.4"/></svg>`;
  return holder;
}

// --- Each attack --------------------------------------------------------------------------------

function legend() {
  const attacks = Object.keys(view().attacks);
  find("#legend").replaceChildren(find("#legend legend"), ...attacks.map((attack) => {
    const { colour, mark, dashes } = look(attack);
    const box = make("input", { type: "checkbox", checked: !state.hidden.has(attack) });
    box.addEventListener("change", () => { state.hidden[box.checked ? "delete" : "add"](attack); byAttack(); });
    return make("label", {}, box, symbol(colour, mark, dashes, false, true), attack);
  }));
}

function byAttack() {
  const shown = view();
  const attacks = Object.entries(shown.attacks).filter(([attack]) => !state.hidden.has(attack));
  const figure = find("#by-attack");
  if (!shown.ceiling) {
    find(".plot", figure).replaceChildren(make("p", { className: "sub" }, "No attack was run on this model in this norm."));
    find("figcaption", figure).textContent = "";
    return;
  }
  const points = attacks.flatMap(([attack, curve]) => table(curve).map((d) => ({ ...d, attack })));
  const worst = table(shown.ceiling);
  const to = worst.at(-1).eps * 1.02 || 1;
  const words = atSize(points, (d) => d.attack);
  drawn(figure, (width) => ({
    height: width < 600 ? 290 : Math.max(370, 84 + 15 * attacks.length), marginLeft: 46, marginBottom: 42, marginRight: width < 600 ? 16 : 170,
    x: axisOf(state.norm, to), y: accuracyAxis,
    marks: [
      ...marks(state.norm, to, width - 46 - (width < 600 ? 16 : 170)),
      Plot.line(worst, { x: "eps", y: "accuracy", stroke: "var(--robust)", strokeWidth: 6, strokeOpacity: 0.28 }),
      Plot.ruleX(points, { x: "eps", y1: "low", y2: "high", stroke: (d) => look(d.attack).colour, strokeOpacity: 0.5 }),
      ...attacks.map(([attack, curve]) => Plot.line(table(curve), { x: "eps", y: "accuracy", stroke: look(attack).colour, strokeWidth: 2, strokeDasharray: look(attack).dashes || null })),
      ...attacks.map(([attack, curve]) => Plot.dot(table(curve), { x: "eps", y: "accuracy", fill: look(attack).colour, symbol: look(attack).mark, r: 4 })),
      width < 600 ? null : Plot.text(spread([...attacks.map(([attack, curve]) => ({ ...table(curve).at(-1), attack, colour: look(attack).colour })), { ...worst.at(-1), attack: "worst case", colour: "var(--robust)" }]), { x: "eps", y: "at", text: (d) => clipped(d.attack, 158, "12px"), textAnchor: "start", dx: 9, fill: "colour", fontSize: 12 }),
      Plot.ruleY([0]),
      Plot.tip(points, Plot.pointer({ x: "eps", y: "accuracy", title: words })),
    ],
  }), { points, x: "eps", y: "accuracy", words, series: (d) => d.attack });
  find("figcaption", figure).textContent = "Upright lines are 95 % intervals over the images.";
}

// --- Who broke what -----------------------------------------------------------------------------

/** What is known at the size that is looked at; undefined where nothing was attacked. */
const here = () => view().at[view().sizes.findIndex((eps) => Math.abs(eps - state.eps) <= 1e-6 * (1 + state.eps))];

function broke() {
  const now = here();
  for (const name of ["broken", "times", "overlap"]) find(`#${name}`).hidden = !now || !now.broke.length;
  find("#broke-say").textContent = now ? `Of ${count(now.n)} images ${count(now.right)} were right before any attack, and ${count(now.times[0])} of them no attack broke.` : "No attack was run on this model at this size.";
  if (!now || !now.broke.length) return;
  const rows = now.broke.map(([attack, broke, alone, added]) => ({ attack, broke, alone, added }));
  const right = Math.max(1, now.right);
  const words = (row) => `${row.attack}\nbroke ${count(row.broke)} of ${count(right)} images\nno other attack broke ${count(row.alone)} of them\nadded ${count(row.added)} to those above`;
  drawn(find("#broken"), (width) => {
    const left = Math.min(width * 0.4, 14 + longest(rows.map((row) => row.attack)));
    return {
      height: 52 + 32 * rows.length, marginLeft: left, marginRight: 86, marginBottom: 34, marginTop: 6,
      x: { domain: [0, Math.max(...rows.map((row) => row.broke), 1)], label: "images", grid: true, ticks: 4 },
      y: { domain: rows.map((row) => row.attack), label: null, tickSize: 0, tickFormat: (name) => clipped(name, left - 10) },
      marks: [
        Plot.barX(rows, { x: "broke", y: "attack", fill: (row) => look(row.attack).colour, fillOpacity: 0.4, inset: 4 }),
        Plot.barX(rows, { x: "alone", y: "attack", fill: (row) => look(row.attack).colour, inset: 4 }),
        Plot.text(rows, { x: "broke", y: "attack", text: (row) => `+${count(row.added)}`, textAnchor: "start", dx: 6 }),
        Plot.tip(rows, Plot.pointerY({ x: "broke", y: "attack", title: words })),
      ],
    };
  }, { points: rows, x: "broke", y: "attack", words });
  const times = now.times.map((images, attacks) => ({ images, attacks }));
  drawn(find("#times"), (width) => ({
    height: 220, marginLeft: 46, marginBottom: 40, marginTop: 20,
    x: { label: "attacks that broke it", labelAnchor: "center", tickSize: 0, tickFormat: (d) => d === 0 && width / times.length > 45 ? "none" : d }, y: { domain: [0, Math.max(1, ...now.times)], label: null, grid: true, ticks: 4 },
    marks: [
      Plot.barY(times, { x: "attacks", y: "images", fill: (d) => d.attacks ? "var(--robust)" : "var(--certified)", fillOpacity: 0.75, inset: 2 }),
      Plot.text(times, { x: "attacks", y: "images", text: (d) => count(d.images), dy: -8, fontSize: width / times.length < 40 ? 10 : 12.5 }),
      Plot.ruleY([0]),
    ],
  }), { points: times, x: "attacks", y: "images", words: (d) => `${count(d.images)} images that ${d.attacks || "no"} attack${d.attacks === 1 ? "" : "s"} broke` });
  const cells = now.overlap.flatMap((line, row) => line.map((share, column) => ({ row: rows[row].attack, column: rows[column].attack, share })));
  heat(find("#overlap"), rows.map((row) => row.attack), rows.map((row) => row.attack), cells, (d) => `of what ${d.row} broke,\n${d.column} broke ${percent(d.share)}`);
}

/** A heat map in ink alone, so that it reads the same in light, in dark and without colours. */
function heat(figure, rows, columns, cells, words) {
  figure.classList.toggle("wide", columns.length > 10);
  drawn(figure, (width) => {
    const left = Math.min(width * 0.34, 14 + longest(rows));
    const cell = Math.min(76, (width - left) / columns.length);
    const steep = longest(columns) > cell;
    const upright = steep && cell < 22; // names aslant would lie on each other, and numbers too
    const top = upright ? Math.min(140, 20 + longest(columns)) : steep ? Math.min(110, 20 + 0.7 * longest(columns)) : 26;
    return {
      height: top + 8 + rows.length * Math.min(40, Math.max(24, cell)), marginLeft: left, marginTop: top, marginRight: Math.max(steep ? 40 : 4, width - left - cell * columns.length), marginBottom: 4,
      x: { domain: columns, axis: "top", label: null, tickSize: 0, tickRotate: upright ? -90 : steep ? -40 : 0, tickFormat: (name) => clipped(name, 130) },
      y: { domain: rows, label: null, tickSize: 0, tickFormat: (name) => clipped(name, left - 10) },
      marks: [
        Plot.cell(cells, { x: "column", y: "row", fill: "var(--ink)", fillOpacity: (d) => 0.05 + 0.75 * (d.share ?? 0), inset: 0.75 }),
        upright ? null : Plot.text(cells, { x: "column", y: "row", text: (d) => d.share == null ? "–" : Math.round(100 * d.share), fill: (d) => (d.share ?? 0) > 0.5 ? "var(--paper)" : "var(--ink)", fontSize: cell < 34 ? 10 : 12.5 }),
        Plot.tip(cells, Plot.pointer({ x: "column", y: "row", title: words })),
      ],
      opacity: { type: "identity" },
    };
  }, { points: cells, x: "column", y: "row", words });
}

// --- Transfer, certificates, classes ------------------------------------------------------------

const SELF = "itself";
function transfer() {
  const chosen = find("#transferred").value;
  const mine = content.transfers.filter((d) => `${d.attack} ${d.norm} ${d.eps}` === chosen);
  const sources = [SELF, ...new Set(mine.filter((d) => d.source).map((d) => d.source))];
  const targets = [...new Set(mine.map((d) => content.models[d.model].label))];
  const cells = mine.map((d) => ({ row: content.models[d.model].label, column: d.source ?? SELF, share: d.accuracy, n: d.n }));
  heat(find("#matrix"), targets, sources, cells, (d) => `${d.row}, attack crafted on ${d.column}:\nrobust ${percent(d.share)}, ${count(d.n)} images`);
}

function certified() {
  const norm = find("#certified-norm").value;
  const runs = content.certified.filter((run) => run.norm === norm);
  const sigmas = [...new Set(runs.map((run) => run.sigma))].sort((a, b) => a - b);
  const strength = (sigma) => sigmas.length < 2 ? 1 : 0.45 + 0.55 * sigmas.indexOf(sigma) / (sigmas.length - 1);
  const named = runs.map((run) => ({ ...run, words: `${content.models[run.model].label}: ${run.title}` }));
  const points = named.flatMap((run, place) => table(run.curve).map((d) => ({ ...d, ...run, place })));
  const to = Math.max(...points.map((d) => d.eps)) || 1;
  const mine = (run) => run.model === state.model;
  const words = (d) => `${d.words}\nradius ${down(d.eps)}: ${percent(d.accuracy)}\n${percent(d.low)} to ${percent(d.high)}, ${count(d.n)} images`;
  drawn(find("#sigmas"), (width) => ({
    height: width < 600 ? 280 : 340, marginLeft: 46, marginBottom: 42, marginRight: 16,
    x: { ...axisOf(norm, to), label: `certified radius, ${content.norms[norm]}` }, y: accuracyAxis,
    marks: [
      ...marks(norm, to, width - 46 - 16),
      ...named.map((run, place) => Plot.line(table(run.curve), { x: "eps", y: "accuracy", curve: "step-before", stroke: "var(--certified)", strokeOpacity: strength(run.sigma), strokeWidth: mine(run) ? 3 : 1.6, strokeDasharray: DASHES[place % 4] || null })),
      Plot.ruleY([0]),
      Plot.tip(points, Plot.pointer({ x: "eps", y: "accuracy", title: words, lineWidth: 26 })),
    ],
  }), { points, x: "eps", y: "accuracy", words, series: (d) => d.place });
  find("#sigmas figcaption").replaceChildren(...named.map((run, place) => {
    const line = make("div", {});
    line.innerHTML = `<svg width="34" height="10" aria-hidden="true"><line x1="1" x2="33" y1="5" y2="5" stroke="var(--certified)" stroke-opacity="${strength(run.sigma)}" stroke-width="${mine(run) ? 3 : 1.6}" stroke-dasharray="${DASHES[place % 4]}"/></svg> `;
    line.append(run.words);
    return line;
  }));
}

function classes() {
  const now = here();
  const figure = find("#by-class");
  if (!now) {
    find(".plot", figure).replaceChildren(make("p", { className: "sub" }, "No attack was run on this model at this size."));
    find("figcaption", figure).textContent = "";
    return;
  }
  const name = (label) => content.classes[label] ?? `${label}`;
  const rows = now.classes.map(([label, n, clean, robust, low, high, certified]) => ({ label, name: name(label), n, clean, robust, low, high, certified }));
  if (find("#class-order").value === "class") rows.sort((a, b) => a.label - b.label);
  const hasProof = rows.some((row) => row.certified != null);
  const words = (row) => `${row.name}, ${count(row.n)} images\nwithout attack ${percent(row.clean)}\nrobust ${percent(row.robust)} (${percent(row.low)} to ${percent(row.high)})${row.certified != null ? `\ncertified ${percent(row.certified)}` : ""}`;
  drawn(figure, (width) => {
    const left = Math.min(width * 0.35, 16 + longest(rows.map((row) => row.name)));
    return {
      height: 40 + 24 * rows.length, marginLeft: left, marginRight: 60, marginTop: 26,
      x: { ...accuracyAxis, axis: "top" }, y: { domain: rows.map((row) => row.name), label: null, tickSize: 0, tickFormat: (text) => clipped(text, left - 10) },
      marks: [
        Plot.ruleY(rows, { y: "name", x1: "robust", x2: "clean", stroke: "var(--line)", strokeWidth: 1.5 }),
        Plot.ruleY(rows, { y: "name", x1: "low", x2: "high", stroke: "var(--robust)", strokeWidth: 5, strokeOpacity: 0.3 }),
        Plot.dot(rows, { x: "clean", y: "name", r: 4, stroke: "var(--clean)", fill: "var(--paper)", strokeWidth: 1.5 }),
        hasProof ? Plot.dot(rows, { x: "certified", y: "name", symbol: "square", r: 4.5, fill: "var(--certified)" }) : null,
        Plot.dot(rows, { x: "robust", y: "name", r: 4.5, fill: "var(--robust)" }),
        Plot.text(rows, { y: "name", text: (row) => `n = ${count(row.n)}`, frameAnchor: "right", dx: 52, fill: "var(--soft)", fontSize: 11.5 }),
        Plot.tip(rows, Plot.pointerY({ x: "robust", y: "name", title: words })),
      ],
    };
  }, { points: rows, x: "robust", y: "name", words });
  const entries = [["var(--clean)", "circle", "without attack", true], ["var(--robust)", "circle", "robust accuracy, with its 95 % interval"]];
  if (hasProof) entries.push(["var(--certified)", "square", "certified accuracy, same images"]);
  const more = content.classes.length > rows.length ? [`The ${rows.length} least robust of ${content.classes.length} classes; tables/by-class.csv has all.`] : [];
  find("figcaption", figure).replaceChildren(...key(entries), ...more);
}

// --- Images that were fooled --------------------------------------------------------------------

function gallery() {
  const [model, attack, label] = ["model", "attack", "class"].map((name) => find(`#gallery-${name}`).value);
  const chosen = content.examples.filter((d) => (model === "" || d.model === +model) && (attack === "" || d.attack === attack) && (label === "" || d.label === label));
  const shown = chosen.slice(0, state.pictures);
  find("#gallery-more").hidden = shown.length === chosen.length;
  find("#gallery-count").textContent = `${count(shown.length)} of ${count(chosen.length)} examples`;
  const picture = (place, alt) => make("img", { src: `data:image/png;base64,${content.pictures[place]}`, alt });
  find("#pictures").replaceChildren(...shown.map((d) => make("figure", {},
    make("div", { className: "three" },
      picture(d.pictures[0], `clean image of ${d.label}`), picture(d.pictures[1], `adversarial image seen as ${d.seen}`), picture(d.pictures[2], "their difference, magnified")),
    make("figcaption", {}, make("b", {}, `${d.label} → seen as ${d.seen}`), ` by ${d.attack}; ${content.norms[d.norm]} ${d.distance}${d.size ? ` of ${d.size}` : ""}; difference × ${d.factor}; image ${d.index}${model === "" ? `; ${content.models[d.model].label}` : ""}`))));
}

// --- Every image --------------------------------------------------------------------------------

const KINDS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array };
const unpacked = new Map();

/** The columns of a classifier in a norm, from the block that the page holds of them. */
async function columns(key) {
  if (!unpacked.has(key)) {
    unpacked.set(key, (async () => {
      const block = all("[data-block]").find((element) => element.dataset.block === key);
      const bytes = Uint8Array.from(atob(block.textContent), (letter) => letter.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
      const buffer = await new Response(stream).arrayBuffer();
      const { n, columns } = content.views[key].images;
      let from = 0;
      return { n, columns: columns.map((about) => {
        const kind = KINDS[about.kind];
        const end = from + n * kind.BYTES_PER_ELEMENT;
        const values = new kind(buffer.slice(from, end));
        from = end;
        return { ...about, values };
      }) };
    })());
  }
  return unpacked.get(key);
}

const PAGE = 25;
async function rows() {
  const key = `${state.model} ${state.norm}`;
  const { n, columns: every } = await columns(key);
  if (key !== `${state.model} ${state.norm}`) return; // something else was chosen meanwhile
  const one = (name) => every.find((column) => column.name === name)?.values;
  const near = (column) => Math.abs(column.eps - state.eps) <= 1e-6 * (1 + state.eps);
  const attacks = every.filter((column) => column.name === "after" && near(column));
  const votes = every.filter((column) => column.name === "votes" && near(column));
  const [index, label, clean, radius, first] = ["index", "label", "clean", "radius", "first"].map(one);
  const none = (column) => 2 ** (8 * column.values.BYTES_PER_ELEMENT) - 1;
  const broken = (row) => first && first[row] >= 0 && first[row] <= state.eps * (1 + 1e-6);
  const [wanted, fate, order] = ["class", "fate", "order"].map((name) => find(`#row-${name}`).value);
  const fates = {
    "": () => true,
    wrong: (row) => clean && clean[row] !== label[row],
    broken: (row) => broken(row) && clean[row] === label[row],
    held: (row) => first && !broken(row),
  };
  const by = attacks.find((column) => `by ${column.attack}` === fate);
  const keep = by ? (row) => by.values[row] > 0 && by.values[row] !== none(by) && clean[row] === label[row] : fates[fate] ?? fates[""];
  const chosen = d3.range(n).filter((row) => (wanted === "" || label[row] === +wanted) && keep(row));
  const last = (row) => first[row] < 0 ? Infinity : first[row];
  const sorts = { first: first && ((a, b) => last(a) - last(b)), last: first && ((a, b) => last(b) - last(a)), radius: radius && ((a, b) => radius[b] - radius[a]) };
  if (sorts[order]) chosen.sort(sorts[order]);
  const pages = Math.max(1, Math.ceil(chosen.length / PAGE));
  state.page = Math.min(state.page, pages - 1);
  find("#row-count").textContent = `${count(chosen.length)} of ${count(n)} images`;
  find("#row-page").textContent = `page ${count(state.page + 1)} of ${count(pages)}`;
  find("#row-back").disabled = state.page === 0;
  find("#row-next").disabled = state.page === pages - 1;
  const name = (place) => content.classes[place] ?? `${place}`;
  const head = ["Image", "Class", clean && "Without attack", ...attacks.map((column) => column.attack), ...votes.map((column) => `votes, ${column.attack}`), first && "First broken at", radius && "Certified radius"].filter(Boolean);
  const cell = (text, className = "") => make("td", { className, title: text }, text);
  const body = chosen.slice(state.page * PAGE, (state.page + 1) * PAGE).map((row) => make("tr", {},
    make("th", { scope: "row" }, count(index[row])), cell(name(label[row])),
    clean && cell(clean[row] === label[row] ? "right" : name(clean[row]), clean[row] === label[row] ? "held" : "lost"),
    ...attacks.map((column) => {
      const value = column.values[row];
      return value === none(column) ? cell("not run", "held") : value ? cell(name(value - 1), "lost") : cell("·", "held");
    }),
    ...votes.map((column) => cell(column.values[row] === none(column) ? "–" : `${column.values[row]} of ${column.of}`)),
    first && cell(first[row] < 0 ? "never" : first[row] === 0 ? "without attack" : size(state.norm, first[row]), first[row] < 0 ? "held" : ""),
    radius && cell(radius[row] < 0 ? "none" : `${down(radius[row])}`)));
  find("#row-table").replaceChildren(make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col", title: text }, text)))), make("tbody", {}, ...body));
}

function fates() {
  const select = find("#row-fate");
  const before = select.value;
  const entries = [["", "any"], ["held", "no attack broke it"], ["broken", "some attack broke it"], ["wrong", "wrong without attack"], ...Object.keys(view().attacks).map((attack) => [`by ${attack}`, `broken by ${attack}`])];
  fill(select, entries, entries.some(([value]) => value === before) ? before : "");
}

// --- What is chosen -----------------------------------------------------------------------------

function fill(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, words]) => make("option", { value }, words)));
  select.value = chosen;
}

function chosen() {
  if (!view()) state.model = models()[0];
  const mine = view().sizes.filter((eps) => eps > 0);
  const every = content.sizes[state.norm];
  if (!(mine.length ? mine : every).includes(state.eps)) {
    const offered = mine.length ? mine : every;
    state.eps = content.usual[state.norm].find((eps) => offered.some((own) => Math.abs(own - eps) < 1e-3 * eps)) ?? offered[Math.floor(offered.length / 2)];
    state.eps = offered.reduce((best, eps) => Math.abs(eps - state.eps) < Math.abs(best - state.eps) ? eps : best);
  }
  fill(find("#norm"), Object.entries(content.norms), state.norm);
  fill(find("#model"), models().map((place) => [place, content.models[place].label]), state.model);
  fill(find("#eps"), every.map((eps) => [eps, size(state.norm, eps)]), state.eps);
  const words = { model: content.models[state.model].label, norm: normName(), size: at() };
  for (const element of all("[data-say]")) element.textContent = words[element.dataset.say];
  for (const row of all("table.models tbody tr")) row.classList.toggle("chosen", +find("[data-model]", row).dataset.model === state.model);
}

function draw() {
  chosen();
  headline(); compare(); legend(); byAttack(); broke(); classes(); fates();
  if (find("#matrix")) transfer();
  if (find("#sigmas")) certified();
  return rows();
}

function sortable(head) {
  const body = find("tbody", head.closest("table"));
  const columns = all("th", head);
  columns.forEach((column, place) => {
    const button = make("button", { type: "button", className: "sort" });
    button.append(...column.childNodes);
    column.append(button);
    button.addEventListener("click", () => {
      const up = column.getAttribute("aria-sort") === "descending";
      for (const other of columns) other.removeAttribute("aria-sort");
      column.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => row.children[place].dataset.value ?? row.children[place].textContent.trim();
      const order = (a, b) => isNaN(value(a)) || isNaN(value(b)) ? value(a).localeCompare(value(b), "en", { numeric: true }) : value(a) - value(b);
      body.append(...[...body.children].sort((a, b) => up ? order(a, b) : order(b, a)));
    });
  });
}

function begin() {
  const on = (selector, event, act) => find(selector)?.addEventListener(event, act);
  on("#model", "change", (event) => { state.model = +event.target.value; draw(); });
  on("#norm", "change", (event) => { state.norm = event.target.value; draw(); });
  on("#eps", "change", (event) => { state.eps = +event.target.value; chosenSize(); });
  const chosenSize = () => { state.page = 0; draw(); };
  for (const button of all("[data-model]")) button.addEventListener("click", () => {
    state.model = +button.dataset.model;
    if (!view()) state.norm = Object.keys(content.norms).find((norm) => view(state.model, norm));
    draw();
    find("#headline").scrollIntoView({ block: "nearest" });
  });
  for (const head of all("table.sortable thead tr")) sortable(head);
  on("#class-order", "change", classes);
  const labels = [["", "any"], ...content.classes.map((name, place) => [place, name])];
  fill(find("#row-class"), labels, "");
  for (const name of ["class", "fate", "order"]) on(`#row-${name}`, "change", () => { state.page = 0; rows(); });
  on("#row-back", "click", () => { state.page--; rows(); });
  on("#row-next", "click", () => { state.page++; rows(); });
  if (find("#pictures")) {
    const any = (key, words) => [["", "any"], ...[...new Set(content.examples.map((d) => d[key]))].map((value) => [value, words(value)])];
    fill(find("#gallery-model"), any("model", (place) => content.models[place].label), "");
    fill(find("#gallery-attack"), any("attack", (name) => name), "");
    fill(find("#gallery-class"), any("label", (name) => name), "");
    for (const select of all("#gallery-controls select")) select.addEventListener("change", () => { state.pictures = 12; gallery(); });
    on("#gallery-more", "click", () => { state.pictures += 48; gallery(); });
    gallery();
  }
  if (find("#matrix")) {
    const kinds = [...new Map(content.transfers.map((d) => [`${d.attack} ${d.norm} ${d.eps}`, `${d.attack}, ${content.norms[d.norm]} ≤ ${size(d.norm, d.eps)}`]))];
    fill(find("#transferred"), kinds, kinds[0][0]);
    on("#transferred", "change", transfer);
  }
  if (find("#sigmas")) {
    const norms = [...new Set(content.certified.map((run) => run.norm))];
    fill(find("#certified-norm"), norms.map((norm) => [norm, content.norms[norm]]), norms[0]);
    on("#certified-norm", "change", certified);
  }
  draw().then(() => document.documentElement.classList.add("drawn"));
  let width = document.body.clientWidth;
  new ResizeObserver(() => { if (document.body.clientWidth !== width) { width = document.body.clientWidth; requestAnimationFrame(draw); } }).observe(document.body);
}

begin();
})();
