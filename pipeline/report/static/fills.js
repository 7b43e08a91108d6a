// Fills on the price: markers one can point at; a fill that is clicked opens in the inspector.
const fill_cache = new Map();
function fills_of(run, reading) {
  const own = run.fills.find((item) => item.reading === reading);
  if (!own) return null;
  if (!fill_cache.has(own)) {
    const ms = cumulated(own.t);
    fill_cache.set(own, {
      of: own.of,
      rows: ms.map((at, i) => ({
        ms: at, x: place(at), symbol: own.symbol[i], fill: own.fill[i], order: own.order[i], price: own.price[i],
        size: own.size[i], role: own.role[i], reason: own.reason[i], position: own.position[i],
        realised: own.realised[i], fee: own.fee[i], markouts: own.markouts.map((column) => column[i]),
      })),
    });
  }
  return fill_cache.get(own);
}
const depth_of = (run, reading, row) => reading !== run.primary ? undefined
  : run.depth.find((item) => item.symbol === row.symbol && item.fill === row.fill);
const same_fill = (a, b) => a && b && a.symbol === b.symbol && a.fill === b.fill;
const words = (text) => text.replaceAll("_", " ");
const fill_title = (row, symbol) =>
  `Fill ${row.fill}: ${row.size > 0 ? "bought" : "sold"} ${Math.abs(row.size)} ${symbol.name} at ${price(row.price, symbol.tick)}`;

function triangle(x, y, up, size) {
  const s = up ? 1 : -1;
  return `M${x.toFixed(1)} ${(y - s * size).toFixed(1)}l${size} ${s * 1.75 * size}h${-2 * size}Z`;
}

function fills_section() {
  const run = RUNS[state.run];
  if (!run.readings.includes(state.shown)) state.shown = run.primary;
  const names = run.symbols.map((symbol) => symbol.name);
  const number_of = Math.max(0, names.indexOf(state.symbol));
  const symbol = run.symbols[number_of];
  const all = fills_of(run, state.shown);
  $("fills-controls").replaceChildren(...[
    SEVERAL ? menu("run", RUNS.map((r, i) => [i, r.label]), state.run, (i) => change({ run: Number(i), chosen: null })) : null,
    run.readings.length > 1 ? menu("reading", run.readings.map((r) => [r, r]), state.shown, (shown) => change({ shown, chosen: null })) : null,
    names.length > 1 ? menu("symbol", names.map((n) => [n, n]), names[number_of], (name) => change({ symbol: name })) : null,
    session_menu(),
  ].filter(Boolean));
  const key = (path, color, text, fill) => el("span", { class: "key" },
    svg("svg", { viewBox: "0 0 26 12", "aria-hidden": "true" }, svg("path", { d: path, fill: fill || color, stroke: color })), text);
  $("fills-legend").replaceChildren(
    key("M13 1l5.5 9.6h-11Z", "rgb(var(--bid))", "bought"), key("M13 11l5.5-9.6h-11Z", "rgb(var(--ask))", "sold"),
    key("M13 1a5 5 0 1 0 .1 0Z", "var(--ink)", "its book is in this page: click it", "none"));
  const prices = symbol ? run.prices.filter((item) => item.symbol === number_of) : [];
  const series = prices.map((item) => ({ name: symbol.name + " mid", color: "var(--c7)", dash: "", points: curve(item) }));
  let at = [];
  const near = (px, py) => {
    let best = null, least = 14 ** 2;
    for (const item of at) {
      const d = (item.px - px) ** 2 + (item.py - py) ** 2;
      if (d < least) [best, least] = [item, d];
    }
    return best;
  };
  const mine = all && symbol ? all.rows.filter((row) => row.symbol === number_of) : [];
  const chart = line_chart($("price-chart"), {
    series, points: mine.map((row) => ({ x: row.x, v: row.price })), label: "Price and fills", empty: "no price to draw",
    text: (v, digits) => number(v, digits), value: (v) => price(v, symbol.tick / 2),
    hover: (px, py, event) => {
      const item = near(px, py);
      $("price-chart").style.cursor = item ? "pointer" : "";
      if (item) show_tip(event.clientX, event.clientY, brief(item.row, symbol));
      return Boolean(item);
    },
    click: (px, py) => {
      const item = near(px, py);
      if (item) change({ chosen: item.row });
    },
  });
  if (chart) {
    const paths = { buy: "", sell: "", rings: "" };
    const size = Math.max(3.2, Math.min(5.5, 90 / Math.sqrt(mine.length + 1)));
    for (const row of mine) {
      if (row.x < state.zoom[0] || row.x > state.zoom[1]) continue;
      const px = chart.x(row.x), py = chart.y(row.price);
      at.push({ px, py, row });
      paths[row.size > 0 ? "buy" : "sell"] += triangle(px, py, row.size > 0, size);
      if (depth_of(run, state.shown, row)) paths.rings += `M${(px - 8).toFixed(1)} ${py.toFixed(1)}a8 8 0 1 0 16 0a8 8 0 1 0 -16 0`;
    }
    chart.layer.append(
      svg("path", { d: paths.buy, fill: "rgb(var(--bid))", "fill-opacity": 0.8 }),
      svg("path", { d: paths.sell, fill: "rgb(var(--ask))", "fill-opacity": 0.8 }),
      svg("path", { d: paths.rings, fill: "none", stroke: "var(--ink)", "stroke-opacity": 0.75 }));
    const looked_at = looked_at_fill(run, symbol);
    const chosen = at.find((item) => same_fill(item.row, looked_at));
    if (chosen) chart.layer.append(svg("circle", { cx: chosen.px, cy: chosen.py, r: 12, fill: "none", stroke: "var(--accent)", "stroke-width": 3 }));
  }
  $("price-caption").textContent = symbol
    ? `${symbol.name}: mid at every minute${prices.some((item) => item.of > item.v.length) ? " (thinned)" : ""}, and our fills in the ${state.shown} reading` : "No symbol is drawn";
  const drawn = all ? all.rows.length : 0;
  $("fills-hint").textContent = !all || !all.of ? "No fills."
    : (drawn < all.of ? `${drawn.toLocaleString("en-US")} of ${all.of.toLocaleString("en-US")} fills are drawn, evenly spread. ` : "")
      + `The book around ${run.depth.length} fill${run.depth.length === 1 ? "" : "s"} of the ${run.primary} reading is in this page`
      + (run.depth.length < all.of ? "; mbo report --fill N adds any other." : ".");
  inspect(run, symbol);
}
sections.push(fills_section);

function brief(row, symbol) {
  return [
    el("b", {}, fill_title(row, symbol)),
    tip_row("at", instant(row.ms)), tip_row(row.role, words(row.reason)), tip_row("position after", number(row.position, 0)),
    tip_row("realised", money(row.realised, symbol.currency)), tip_row("fee", money(row.fee, symbol.currency)),
    tip_row("markout 10\u00a0s", number(row.markouts[2], 2) + " ticks"),
  ];
}
