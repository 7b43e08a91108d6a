// Profit taken apart, and markouts: bars by part, lines by horizon.
// series: {name, color, values: {part: value}}
function bar_chart(node, parts, series, label) {
  const values = series.flatMap((one) => parts.map((part) => one.values[part] ?? 0));
  if (!parts.length || !series.length) return nothing(node, "nothing to draw");
  const { root, box, y } = frame(node, padded(Math.min(0, ...values), Math.max(0, ...values)), (v, d) => number(v, d), label);
  const slot = (box.right - box.left) / parts.length;
  const gap = slot > 12 ? slot * 0.18 : 0, width = Math.min(46, (slot - gap) / series.length);
  let edge = -1e9;
  parts.forEach((part, i) => {
    const left = box.left + slot * i + (slot - width * series.length) / 2;
    series.forEach((one, j) => {
      const value = one.values[part];
      if (value === null || value === undefined) return;
      const top = Math.min(y(value), y(0)), height = Math.max(Math.abs(y(value) - y(0)), value ? 1 : 0);
      root.append(svg("rect", { x: left + j * width, y: top, width: Math.max(width - (width > 5 ? 1 : 0), 0.6), height, fill: one.color }));
    });
    const short = part.length > 16 ? part.replace(/ .*/, "") : part;
    const brief = short.length * 6.6 > slot ? short.replace(/^\d{4}-/, "").replace(/:00\u2013.*/, "h") : short;
    const middle = box.left + slot * (i + 0.5), half = brief.length * 3.4;
    if (middle - half > edge + 6 && middle + half < box.right + 14) {
      edge = middle + half;
      root.append(svg("text", { x: middle, y: box.bottom + 16, "text-anchor": "middle" }, brief));
    }
  });
  const shade = svg("rect", { y: box.top, height: box.bottom - box.top, width: slot, fill: "var(--ink)", opacity: 0.06, visibility: "hidden" });
  root.append(shade);
  node.replaceChildren(root);
  node.tabIndex = 0;
  let at = -1;
  function look(i, tip_x, tip_y) {
    at = Math.max(0, Math.min(parts.length - 1, i));
    shade.setAttribute("x", box.left + slot * at);
    shade.setAttribute("visibility", "visible");
    show_tip(tip_x, tip_y, el("b", {}, parts[at]), series.map((one) => tip_row(one.name, money(one.values[parts[at]] ?? null, state.currency), one.color)));
  }
  function leave() {
    shade.setAttribute("visibility", "hidden");
    hide_tip();
  }
  node.onpointermove = (event) => {
    const px = event.clientX - node.getBoundingClientRect().left;
    look(Math.floor((px - box.left) / slot), event.clientX, event.clientY);
  };
  node.onpointerleave = node.onblur = leave;
  node.onkeydown = (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move) return;
    event.preventDefault();
    const bounds = node.getBoundingClientRect();
    look(at + move, bounds.left + box.left + slot * (at + move + 0.5), bounds.top + 20);
  };
}

function split_section() {
  legend("split-legend");
  $("split-controls").replaceChildren(...[currency_choice(), reading_choice()].filter(Boolean));
  const totals = visible().map((line) => {
    const [own] = of_line(line.run.figures, line);
    return { ...line, values: own ? { gross: own.gross, fees: -own.fees, net: own.net } : {} };
  });
  bar_chart($("split-total"), ["gross", "fees", "net"], totals, "Gross profit, fees and net profit");
  for (const split of ["direction", "session", "hour"]) {
    const series = visible().map((line) => ({
      ...line, values: Object.fromEntries(of_line(line.run.splits[split], line).map((row) => [row.part, row.net])),
    }));
    let parts = unique(series.flatMap((one) => Object.keys(one.values)));
    if (split === "session") parts.sort();
    bar_chart($("split-" + split), parts, series, `Net profit by ${split}`);
  }
}
sections.push(split_section);

// series: {name, color, dash, values: [by horizon]}
function horizon_chart(node, series, label) {
  const known = series.flatMap((one) => one.values).filter((v) => v !== null && v !== undefined);
  if (!known.length) return nothing(node, "no markouts");
  const { root, box, y } = frame(node, padded(Math.min(0, ...known), Math.max(0, ...known)), (v, d) => number(v, d), label);
  const x = (i) => box.left + 24 + (i / (DATA.horizons.length - 1)) * (box.right - box.left - 48);
  DATA.horizons.forEach((name, i) =>
    root.append(svg("text", { x: x(i), y: box.bottom + 16, "text-anchor": "middle" }, name.replace(/(\d)(m?s)/, "$1\u00a0$2"))));
  for (const one of series) {
    const points = one.values.map((v, i) => (v === null || v === undefined ? null : [x(i), y(v)])).filter(Boolean);
    root.append(svg("path", { d: "M" + points.map((p) => p.map((c) => c.toFixed(1)).join(" ")).join("L"), fill: "none", stroke: one.color, "stroke-width": 2, "stroke-dasharray": one.dash }));
    for (const [px, py] of points) root.append(svg("circle", { cx: px, cy: py, r: 3.5, fill: one.color }));
  }
  node.replaceChildren(root);
  node.tabIndex = 0;
  let at = -1;
  const look = (i, tip_x, tip_y) => {
    at = Math.max(0, Math.min(DATA.horizons.length - 1, i));
    show_tip(tip_x, tip_y, el("b", {}, DATA.horizons[at] + " after the fill"),
      series.map((one) => tip_row(one.name, number(one.values[at], 3) + " ticks", one.color)));
  };
  node.onpointermove = (event) => {
    const px = event.clientX - node.getBoundingClientRect().left;
    look(Math.round(((px - x(0)) / (x(1) - x(0)))), event.clientX, event.clientY);
  };
  node.onpointerleave = node.onblur = hide_tip;
  node.onkeydown = (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move) return;
    event.preventDefault();
    const bounds = node.getBoundingClientRect();
    look(at + move, bounds.left + x(at + move), bounds.top + 20);
  };
}

function markout_section() {
  const values = (line, role) => {
    const [own] = of_line(line.run.figures, line);
    return DATA.horizons.map((name) => (own ? own[`${role}markout_${name}`] : null));
  };
  legend("markouts-legend");
  $("markouts-controls").replaceChildren(...[currency_choice(), reading_choice()].filter(Boolean));
  horizon_chart($("markouts-reading"), visible().map((line) => ({ ...line, values: values(line, "") })), "Mean markout by horizon");
  const run = RUNS[state.run];
  const reading = SEVERAL ? state.reading : run.primary;
  $("markouts-of").textContent = (SEVERAL ? run.label + ", " : "") + reading + " reading";
  const line = { run, reading };
  const roles = [["resting (maker)", "maker_", 0, ""], ["taking (taker)", "taker_", 1, "6 3"]].map(([name, role, c, dash]) => ({
    name, color: `var(--c${c})`, dash, values: values(line, role),
  }));
  const there = roles.filter((one) => one.values.some((v) => v !== null && v !== undefined));
  horizon_chart($("markouts-role"), there, "Mean markout by role and horizon");
  $("roles-legend").replaceChildren(...there.map((one) => el("span", { class: "key" }, sample(one.color, one.dash), one.name)));
}
sections.push(markout_section);
