// The inspector: the book around a fill as a heat map, and the story of the order it filled.
function listed(run) {
  return run.depth.map((item) => ({ ...item, symbol_of: run.symbols[item.symbol] }));
}

// The fill that was chosen; before any was, the first of the list.
function looked_at_fill(run, symbol) {
  if (state.chosen || !run.depth.length || state.shown !== run.primary) return state.chosen;
  return run.depth.find((item) => run.symbols[item.symbol] === symbol) || run.depth[0];
}

function inspect(run, symbol) {
  const node = $("inspector");
  const items = listed(run);
  const row = looked_at_fill(run, symbol);
  if (!row) return node.replaceChildren();
  const at = state.shown === run.primary ? items.findIndex((item) => same_fill(item, row)) : -1;
  const item = items[at];
  const own = run.symbols[row.symbol];
  const fact = item && item.facts;
  const full = item ? { fill: item.fill, size: fact.side === "B" ? fact.size : -fact.size, price: fact.price } : row;
  const go = (i) => {
    const next = items[(i + items.length) % items.length];
    change({ chosen: { symbol: next.symbol, fill: next.fill }, symbol: next.symbol_of.name });
  };
  const why = unique(items.map((one) => one.why));
  const select = items.length > 1 && state.shown === run.primary ? el("select", { "aria-label": "Fill", onchange: () => go(Number(select.value)) },
    at < 0 ? el("option", { value: -1, selected: "" }, "choose a fill") : null,
    why.map((reason) => el("optgroup", { label: DATA.reasons[reason] }, items.map((one, i) => one.why !== reason ? null
      : el("option", { value: i, selected: i === at ? "" : null },
        `${one.fill} ${one.facts.side === "B" ? "bought" : "sold"} ${one.facts.size} ${one.symbol_of.name} ${one.facts.times.filled.slice(0, 19)}`))))) : null;
  const head = el("div", { class: "head" }, el("h3", {}, fill_title(full, own)), select && el("div", { class: "pick" },
    el("button", { type: "button", "aria-label": "Fill before", onclick: () => go(at < 0 ? 0 : at - 1) }, "\u2190"), select,
    el("button", { type: "button", "aria-label": "Next fill", onclick: () => go(at + 1) }, "\u2192")));
  const heat = el("div", { class: "heat" });
  const missing = item ? item.missing : "its book is not in this page; mbo report --fill " + row.fill + " adds it";
  const figure = el("figure", {}, el("figcaption", {}, "Depth around the fill ", el("span", {}, "size at each price, contracts; venue\u2019s clock")), missing ? el("p", { class: "hint" }, missing) : heat,
    missing ? null : heat_key(item));
  const focused = document.activeElement && node.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  node.replaceChildren(el("div", { class: "inspector" }, head, figure, item ? story(item, own) : el("div", { class: "story" }, brief(row, own))));
  if (focused) [...node.querySelectorAll("button, select")].find((one) => one.getAttribute("aria-label") === focused)?.focus();
  if (!missing) heat_map(heat, item, own);
}

function heat_key(item) {
  const key = (style, text) => el("span", { class: "key" }, el("span", { style: `display:inline-block;width:22px;height:10px;${style}` }), text);
  const left_out = item.trades_of > item.trades.length ? `, the ${item.trades.length} largest of ${item.trades_of}` : "";
  return el("div", { class: "legend" },
    key("background:linear-gradient(90deg,rgba(var(--bid),.12),rgb(var(--bid)))", "bids"),
    key("background:linear-gradient(90deg,rgba(var(--ask),.12),rgb(var(--ask)))", "asks"),
    key("border-top:2px solid var(--ink);height:0", "touch"),
    key("width:10px;border:1.5px solid var(--ink);border-radius:50%", "trades" + left_out),
    key("border-top:4px solid var(--c2);height:0", "our order at rest"),
    key("width:10px;background:var(--c2);border:1.5px solid var(--ink);border-radius:50%", "our fill"));
}

function story(item, symbol) {
  const f = item.facts, life = item.life;
  const list = (...rows) => el("dl", {}, rows.filter(Boolean).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  const when = (name, us) => f.times[name] ? [f.times[name].slice(11), us ? el("small", {}, `${span(us)} ${us < 0 ? "before" : "after"}`) : null] : "-";
  const ahead = (v) => (v === null ? "-" : `${number(v, 0)} contract${v === 1 ? "" : "s"}`);
  return el("div", { class: "story" },
    el("h4", {}, "The order\u2019s life"), list(
      ["day", f.times.filled.slice(0, 10) + " UTC"],
      ["decided", when("decided", life.decided)], ["arrived", when("arrived", life.arrived)],
      ["filled", when("filled", 0)], ["we knew", when("known", life.known)],
      ["order", `${f.order}, ${f.type}`],
      ["filled of it", `${number(f.order_filled, 0)} of ${number(f.order_size, 0)}, ${f.status}`],
      f.limit === null ? null : ["limit", price(f.limit, symbol.tick)],
      f.replaced ? ["replaced", f.replaced === 1 ? "once" : `${f.replaced} times`] : null),
    el("h4", {}, "Queue"), list(
      ["ahead at entry", ahead(f.ahead_at_entry) + (f.orders_ahead === null ? "" : `, ${number(f.orders_ahead, 0)} order${f.orders_ahead === 1 ? "" : "s"}`)],
      ["still ahead at the fill", ahead(f.ahead)], ["rule", `${words(f.reason)} (${f.role})`]),
    el("h4", {}, "Money"), list(
      ["realised", money(f.realised, f.currency)], ["fee", money(f.fee, f.currency)], ["position after", number(f.position, 0)],
      ...DATA.horizons.map((name, i) => ["markout " + name.replace(/(\d)(m?s)/, "$1\u00a0$2"), f.markouts[i] === null ? "-" : number(f.markouts[i], 2) + " ticks"])),
    el("h4", {}, "In the lake"), list(["event", f.event], ["record", f.record]));
}

function heat_map(node, item, symbol) {
  const canvas = el("canvas", { role: "img", "aria-label": "Depth of the book around the fill" });
  node.replaceChildren(canvas);
  const width = node.clientWidth, height = node.clientHeight, ratio = devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const g = canvas.getContext("2d");
  g.scale(ratio, ratio);
  const columns = [];
  for (const column of item.columns) columns.push(column === 0 ? columns[columns.length - 1] || [] : column);
  let low = 0, high = 0, most = 1;
  for (const column of columns) for (let i = 0; i < column.length; i += 2) {
    low = Math.min(low, column[i]);
    high = Math.max(high, column[i]);
    most = Math.max(most, Math.abs(column[i + 1]));
  }
  const at = (offset) => price(item.facts.price + offset * symbol.tick, symbol.tick);
  g.font = "11.5px system-ui, sans-serif";
  const left = 12 + Math.max(g.measureText(at(low)).width, g.measureText(at(high)).width);
  const box = { left, right: width - 8, top: 6, bottom: height - 24 };
  const rows = high - low + 1, cell = (box.bottom - box.top) / rows, w = (box.right - box.left) / columns.length;
  const y = (offset) => box.bottom - (offset - low + 0.5) * cell;
  const x = (us) => box.left + ((us + item.window) / (2 * item.window)) * (box.right - box.left);
  const soft = css("--soft"), ink = css("--ink"), ours = css("--c2");
  const shades = { true: css("--bid"), false: css("--ask") };
  const edge = (value) => Math.round(value * ratio) / ratio;
  columns.forEach((column, k) => {
    for (let i = 0; i < column.length; i += 2) {
      const size = column[i + 1];
      g.fillStyle = `rgba(${shades[size > 0]}, ${(0.06 + 0.84 * Math.sqrt(Math.abs(size) / most)).toFixed(3)})`;
      // Edges on whole pixels of the screen: cells neither overlap nor leave gaps.
      const [x0, x1] = [edge(box.left + k * w), edge(box.left + (k + 1) * w)];
      const [y0, y1] = [edge(y(column[i]) - cell / 2), edge(y(column[i]) + cell / 2)];
      g.fillRect(x0, y0, x1 - x0, y1 - y0);
    }
  });
  g.fillStyle = soft;
  g.textAlign = "right";
  g.textBaseline = "middle";
  const each = Math.ceil(16 / cell);
  for (let offset = Math.ceil(low / each) * each; offset <= high; offset += each) g.fillText(at(offset), left - 6, y(offset));
  g.textAlign = "center";
  g.textBaseline = "alphabetic";
  const [ticks, step] = nice_ticks(-item.window / 1e6, item.window / 1e6, Math.min(10, width / 80));
  for (const tick of ticks) g.fillText(tick ? `${tick > 0 ? "+" : ""}${number(tick, decimals(step))}\u00a0s` : "fill", Math.min(x(tick * 1e6), box.right - 14), height - 8);
  g.save();
  g.beginPath();
  g.rect(box.left, box.top, box.right - box.left, box.bottom - box.top);
  g.clip();
  g.strokeStyle = ink;
  g.lineWidth = 1.4;
  for (const side of [1, 2]) {
    g.beginPath();
    let before = null;
    for (const change_ of item.touch) {
      const px = x(Math.max(change_[0], -item.window)), level = change_[side];
      if (before !== null) g.lineTo(px, y(before));
      if (level !== null) before === null ? g.moveTo(px, y(level)) : g.lineTo(px, y(level));
      before = level;
    }
    if (before !== null) g.lineTo(box.right, y(before));
    g.stroke();
  }
  g.setLineDash([3, 3]);
  g.beginPath();
  g.moveTo(x(0), box.top);
  g.lineTo(x(0), box.bottom);
  g.stroke();
  g.setLineDash([]);
  const largest = Math.max(1, ...item.trades.map((trade) => Math.abs(trade[2])));
  for (const [us, offset, size] of item.trades) {
    g.beginPath();
    g.arc(x(us), y(offset), 2.5 + 5 * Math.sqrt(Math.abs(size) / largest), 0, 7);
    g.lineWidth = 1.3;
    g.stroke();
  }
  draw_order(g, item, x, y, box, { ours, ink, paper: css("--card") });
  g.restore();
  node.onpointermove = (event) => {
    const bounds = node.getBoundingClientRect();
    const k = Math.floor((event.clientX - bounds.left - box.left) / w), offset = low + Math.floor((box.bottom - (event.clientY - bounds.top)) / cell);
    if (k < 0 || k >= columns.length || offset < low || offset > high) return hide_tip();
    const column = columns[k];
    let size = 0;
    for (let i = 0; i < column.length; i += 2) if (column[i] === offset) size = column[i + 1];
    const us = ((k + 1) / columns.length) * 2 * item.window - item.window;
    show_tip(event.clientX, event.clientY, el("b", {}, at(offset)),
      tip_row(size > 0 ? "bid" : size < 0 ? "ask" : "size shown", number(Math.abs(size), 0)), tip_row(us < 0 ? "before the fill" : "after the fill", span(us)));
  };
  node.onpointerleave = hide_tip;
}

function draw_order(g, item, x, y, box, colors) {
  const { life } = item;
  const level = life.limit ?? 0;
  const until = Math.max(0, Math.min(life.ended ?? 0, item.window));
  if (life.rests && life.arrived !== null) {
    for (const [color, thick] of [[colors.paper, 7], [colors.ours, 4]]) {
      g.strokeStyle = color;
      g.lineWidth = thick;
      g.beginPath();
      g.moveTo(Math.max(box.left, x(life.arrived)), y(level));
      g.lineTo(x(until), y(level));
      g.stroke();
    }
  }
  const mark = (us, text) => {
    if (us === null || us < -item.window || us > 0) return;
    g.fillStyle = colors.ours;
    g.strokeStyle = colors.ink;
    g.lineWidth = 1.2;
    g.beginPath();
    g.rect(x(us) - 3.5, y(level) - 6, 7, 12);
    g.fill();
    g.stroke();
    tag(g, text, x(us), y(level) - 14, box, colors);
  };
  if (life.arrived !== null && life.arrived < -item.window) tag(g, `arrived ${span(life.arrived)} before`, box.left + 4, y(level) - 14, box, colors);
  else mark(life.arrived, "arrived");
  g.fillStyle = colors.ours;
  g.strokeStyle = colors.ink;
  g.lineWidth = 1.6;
  g.beginPath();
  g.arc(x(0), y(0), 6.5, 0, 7);
  g.fill();
  g.stroke();
}
function tag(g, text, px, py, box, colors) {
  const half = g.measureText(text).width / 2 + 5;
  const at = Math.min(Math.max(px, box.left + half + 2), box.right - half - 2);
  g.globalAlpha = 0.88;
  g.fillStyle = colors.paper;
  g.fillRect(at - half, py - 9, 2 * half, 15);
  g.globalAlpha = 1;
  g.fillStyle = colors.ink;
  g.textAlign = "center";
  g.fillText(text, at, py + 3);
}
