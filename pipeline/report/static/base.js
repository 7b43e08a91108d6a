"use strict";
// What all sections share: the data, elements, numbers, the axis of trading time, the state.
const DATA = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);

function fill_in(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") node.style.cssText = value;
    else node.setAttribute(name, value);
  }
  // Strings become text, never markup: names and parameters are other people's.
  for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
  return node;
}
const el = (name, attributes, ...children) =>
  fill_in(document.createElement(name), attributes, children);
const svg = (name, attributes, ...children) =>
  fill_in(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const range = (n) => Array.from({ length: n }, (_, i) => i);
const unique = (items) => [...new Set(items)];

// --- numbers and times -----------------------------------------------------------------------
function number(value, digits) {
  if (value === null || value === undefined) return "-";
  const text = Math.abs(value).toLocaleString("en-US", {
    minimumFractionDigits: digits, maximumFractionDigits: digits,
  });
  return (value < 0 && /[1-9]/.test(text) ? "\u2212" : "") + text;
}
const money = (value, currency) =>
  value === null ? "-" : number(value, 2) + (currency ? "\u00a0" + currency : "");
function decimals(step) {
  let digits = 0;
  while (digits < 9 && Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) > 1e-6) digits++;
  return digits;
}
const price = (value, tick) => number(value, Math.max(decimals(tick), tick < 1 ? 2 : 0));
const two = (n) => String(n).padStart(2, "0");
function clock(ms, seconds) {
  const at = new Date(ms);
  return two(at.getUTCHours()) + ":" + two(at.getUTCMinutes()) + (seconds ? ":" + two(at.getUTCSeconds()) : "");
}
const day = (ms) => new Date(ms).toISOString().slice(0, 10);
const instant = (ms) => day(ms) + " " + clock(ms, true) + "\u00a0UTC";
function span(us) {
  const s = Math.abs(us) / 1e6;
  if (s < 0.001) return Math.round(Math.abs(us)) + "\u00a0\u00b5s";
  if (s < 1) return number(s * 1000, s < 0.01 ? 2 : 0) + "\u00a0ms";
  if (s < 60) return number(s, 2) + "\u00a0s";
  const whole = Math.round(s);
  if (whole < 3600) return Math.floor(whole / 60) + "\u00a0min " + two(whole % 60) + "\u00a0s";
  return Math.floor(whole / 3600) + "\u00a0h " + two(Math.floor((whole % 3600) / 60)) + "\u00a0min";
}
function cumulated(steps) {
  let at = 0;
  return steps.map((step) => (at += step));
}

// --- trading time: sessions side by side -----------------------------------------------------
const SESSIONS = DATA.sessions.map(([label, start, end]) => ({ label, start, end, place: 0 }));
let LENGTH = 0;
for (const session of SESSIONS) {
  session.place = LENGTH;
  LENGTH += session.end - session.start;
}
LENGTH = Math.max(LENGTH, 1);
function last_before(items, value, key) {
  let low = 0, high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (key(items[middle]) <= value) low = middle + 1; else high = middle;
  }
  return low - 1;
}
function place(ms) {
  const session = SESSIONS[Math.max(0, last_before(SESSIONS, ms, (s) => s.start))];
  if (!session) return 0;
  return session.place + Math.min(Math.max(ms - session.start, 0), session.end - session.start);
}
function instant_at(at) {
  const session = SESSIONS[Math.max(0, last_before(SESSIONS, at, (s) => s.place))];
  return session ? session.start + (at - session.place) : 0;
}

// --- state: what is looked at, shared by all sections ----------------------------------------
const RUNS = DATA.runs;
const SEVERAL = RUNS.length > 1;
const ALL_READINGS = ["optimistic", "exact", "pessimistic"].filter((name) =>
  RUNS.some((run) => run.readings.includes(name)));
const CURRENCIES = unique(RUNS.flatMap((run) => run.curves.map((curve) => curve.currency)));
const state = {
  zoom: [0, LENGTH],
  currency: CURRENCIES[0],
  reading: RUNS[0].primary,   // of several runs the one that is compared
  hidden: new Set(),
  symbol: RUNS[0].symbols.length ? RUNS[0].symbols[0].name : "",
  run: 0,                     // whose fills are shown
  shown: RUNS[0].primary,     // their reading
  chosen: null,
};
const sections = [];          // functions that draw, all of them after every change
function redraw() {
  for (const draw of sections) draw();
}
function change(values) {
  Object.assign(state, values);
  redraw();
}

const READING_LOOK = { exact: [0, ""], optimistic: [2, "6 3"], pessimistic: [1, "2 3"] };
// Lines to compare: readings of the one run, or several runs in the chosen reading.
function lines() {
  const found = SEVERAL
    ? RUNS.map((run, i) => ({
        run, reading: state.reading, name: run.label, key: run.id,
        color: `var(--c${i % 8})`, dash: ["", "6 3", "2 3"][Math.floor(i / 8)],
      }))
    : ALL_READINGS.map((reading) => ({
        run: RUNS[0], reading, name: reading, key: reading,
        color: `var(--c${READING_LOOK[reading][0]})`, dash: READING_LOOK[reading][1],
      }));
  return found.filter((line) => line.run.readings.includes(line.reading));
}
const visible = () => lines().filter((line) => !state.hidden.has(line.key));
const of_line = (items, line) =>
  items.filter((item) => item.reading === line.reading && item.currency === state.currency);

// --- controls --------------------------------------------------------------------------------
function choice(name, options, current, choose) {
  return el("span", { class: "group", role: "group", "aria-label": name }, options.map((option) =>
    el("button", { type: "button", "aria-pressed": option === current, onclick: () => choose(option) }, option)));
}
function menu(name, options, current, choose) {
  const select = el("select", { onchange: () => choose(select.value) }, options.map(([value, text]) =>
    el("option", { value, selected: String(value) === String(current) ? "" : null }, text)));
  return el("label", {}, name, select);
}
function sample(color, dash) {
  return svg("svg", { "aria-hidden": "true" },
    svg("line", { x1: 0, x2: 26, y1: 6, y2: 6, stroke: color, "stroke-width": 2.5, "stroke-dasharray": dash }));
}
function legend(id) {
  const items = lines();
  $(id).replaceChildren(...(items.length < 2 ? [] : items.map((line) =>
    el("button", {
      type: "button", "aria-pressed": !state.hidden.has(line.key), title: "Show or hide",
      onclick: () => {
        if (!state.hidden.delete(line.key)) state.hidden.add(line.key);
        redraw();
      },
    }, sample(line.color, line.dash), line.name))));
}
function session_menu() {
  if (SESSIONS.length < 2) return null;
  const current = SESSIONS.findIndex((s) => s.place === state.zoom[0] && s.place + s.end - s.start === state.zoom[1]);
  const all = state.zoom[0] === 0 && state.zoom[1] === LENGTH;
  const options = [["all", "all"], ...SESSIONS.map((s, i) => [i, s.label])];
  if (!all && current < 0) options.unshift(["part", "a part"]);
  return menu("session", options, all ? "all" : current < 0 ? "part" : current, (value) => {
    const s = SESSIONS[value];
    if (value !== "part") change({ zoom: s ? [s.place, s.place + s.end - s.start] : [0, LENGTH] });
  });
}
const reading_choice = () => SEVERAL && ALL_READINGS.length > 1
  ? choice("reading", ALL_READINGS, state.reading, (reading) => change({ reading })) : null;
const currency_choice = () => CURRENCIES.length > 1
  ? choice("currency", CURRENCIES, state.currency, (currency) => change({ currency })) : null;

// --- the tip beside the pointer --------------------------------------------------------------
function show_tip(x, y, ...content) {
  const tip = $("tip");
  tip.replaceChildren(...content.flat().filter((item) => item !== null));
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = x + 16 + box.width > innerWidth ? x - box.width - 12 : x + 16;
  tip.style.left = Math.max(4, Math.min(left, innerWidth - box.width - 4)) + "px";
  tip.style.top = Math.max(4, Math.min(y + 14, innerHeight - box.height - 4)) + "px";
}
const hide_tip = () => { $("tip").hidden = true; };
const tip_row = (name, value, color) =>
  el("div", {}, el("span", {}, color ? el("i", { style: `background:${color}` }) : null, name), el("b", {}, value));
