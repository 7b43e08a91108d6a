// Axes and line charts: scales, ticks, a crosshair, zooming by drag or keys.
function nice_ticks(low, high, most) {
  const raw = (high - low) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((s) => s >= raw * 0.999);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) ticks.push(i * step);
  return [ticks, step];
}
function padded(low, high) {
  if (!(low <= high)) return [0, 1];
  const room = high > low ? (high - low) * 0.06 : Math.abs(high) * 0.1 || 1;
  return [low - room, high + room];
}

function frame(node, y_range, y_text, label) {
  const width = Math.max(200, node.clientWidth), height = node.clientHeight;
  const [ticks, step] = nice_ticks(y_range[0], y_range[1], Math.max(2, Math.floor(height / 42)));
  const texts = ticks.map((tick) => y_text(tick, decimals(step)));
  // At least so wide that the charts of a column have their left ends in one line.
  const left = Math.max(width > 500 ? 64 : 46, 10 + 6.9 * Math.max(0, ...texts.map((text) => text.length)));
  const box = { left, right: width - 10, top: 10, bottom: height - 22 };
  const y = (value) => box.bottom - ((value - y_range[0]) / (y_range[1] - y_range[0])) * (box.bottom - box.top);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  ticks.forEach((tick, i) => root.append(
    svg("line", { x1: left, x2: box.right, y1: y(tick), y2: y(tick), class: "grid-line" }),
    svg("text", { x: left - 7, y: y(tick) + 4, "text-anchor": "end" }, texts[i])));
  if (y_range[0] <= 0 && y_range[1] >= 0)
    root.append(svg("line", { x1: left, x2: box.right, y1: y(0), y2: y(0), class: "zero" }));
  return { root, box, y, width, height };
}
function nothing(node, text) {
  const root = svg("svg", { role: "img", "aria-label": text },
    svg("text", { x: "50%", y: "50%", "text-anchor": "middle", class: "empty" }, text));
  node.replaceChildren(root);
  node.onpointermove = node.onpointerdown = node.onclick = node.onkeydown = node.ondblclick = null;
  node.removeAttribute("tabindex");
}

const CLOCK_STEPS = [1, 2, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 14400, 21600].map((s) => s * 1000);
function time_axis(root, box, zoom) {
  const x = (at) => box.left + ((at - zoom[0]) / (zoom[1] - zoom[0])) * (box.right - box.left);
  const seen = SESSIONS.filter((s) => s.place < zoom[1] && s.place + s.end - s.start > zoom[0]);
  let edge = -1e9;
  const label = (at, text) => {
    const width = text.length * 6.6, where = Math.min(Math.max(x(at), box.left + 4), box.right - width / 2);
    if (where - width / 2 < edge + 8) return false;
    edge = where + width / 2;
    root.append(svg("text", { x: where, y: box.bottom + 16, "text-anchor": "middle" }, text));
    return true;
  };
  for (const s of seen)
    if (s.place > zoom[0]) root.append(svg("line", { x1: x(s.place), x2: x(s.place), y1: box.top, y2: box.bottom, class: "session" }));
  if (seen.length > 3) {
    for (const s of seen) label(s.place + (s.end - s.start) / 2, seen.length > 9 ? s.label.slice(5) : s.label);
    return x;
  }
  for (const s of seen) {
    const at = Math.max(x(s.place), box.left) + 4;
    if (SESSIONS.length > 1 && box.right - at > 70) root.append(svg("text", { x: at, y: box.top + 6 }, s.label));
  }
  const step = CLOCK_STEPS.find((s) => ((zoom[1] - zoom[0]) / s) * 78 < box.right - box.left) || 43200000;
  for (const s of seen) {
    const first = Math.max(s.start, s.start + zoom[0] - s.place), end = Math.min(s.end, s.start + zoom[1] - s.place);
    for (let ms = Math.ceil(first / step) * step; ms <= end; ms += step) {
      const at = place(ms);
      const midnight = ms % 86400000 === 0;
      if (label(at, midnight ? day(ms).slice(5) : clock(ms, step < 60000)))
        root.append(svg("line", { x1: x(at), x2: x(at), y1: box.bottom, y2: box.bottom + 4, stroke: "var(--soft)" }));
    }
  }
  return x;
}

// A thinned curve of the data as places and values.
const curve_cache = new Map();
function curve(item) {
  if (!curve_cache.has(item)) curve_cache.set(item, { x: cumulated(item.t).map(place), v: item.v });
  return curve_cache.get(item);
}
function inside(points, zoom) {
  const key = (value) => value;
  return [Math.max(0, last_before(points.x, zoom[0], key)), Math.min(points.x.length - 1, last_before(points.x, zoom[1], key) + 1)];
}

// series: {name, color, dash, points: {x, v}, step}
function line_chart(node, options) {
  const { series, label, text } = options;
  const zoom = state.zoom;
  let low = options.zero ? 0 : Infinity, high = options.zero ? 0 : -Infinity;
  for (const one of series) {
    const [first, last] = inside(one.points, zoom);
    for (let i = first; i <= last; i++) {
      low = Math.min(low, one.points.v[i]);
      high = Math.max(high, one.points.v[i]);
    }
  }
  for (const one of options.points || []) {
    if (one.x < zoom[0] || one.x > zoom[1]) continue;
    low = Math.min(low, one.v);
    high = Math.max(high, one.v);
  }
  if (!series.some((one) => one.points.x.length)) return nothing(node, options.empty || "nothing to draw");
  const y_range = padded(low, high);
  const chart = frame(node, y_range, text, label);
  const { root, box, y } = chart;
  const x = time_axis(root, box, zoom);
  const clip = node.id + "-clip";
  root.append(svg("clipPath", { id: clip }, svg("rect", { x: box.left, y: 0, width: box.right - box.left, height: chart.height })));
  const layer = svg("g", { "clip-path": `url(#${clip})` });
  for (const one of series) {
    const [first, last] = inside(one.points, zoom);
    let path = "";
    for (let i = first; i <= last; i++) {
      const px = x(one.points.x[i]).toFixed(1), py = y(one.points.v[i]).toFixed(1);
      path += !path ? `M${px} ${py}` : one.step ? `H${px}V${py}` : `L${px} ${py}`;
    }
    if (one.step && path) path += `H${Math.min(box.right, x(LENGTH)).toFixed(1)}`;
    layer.append(svg("path", { d: path, fill: "none", stroke: one.color, "stroke-width": 1.7, "stroke-dasharray": one.dash, "stroke-linejoin": "round" }));
  }
  root.append(layer);
  const cross = svg("g", { visibility: "hidden" }), brush = svg("rect", { class: "brush", visibility: "hidden", y: box.top, height: box.bottom - box.top });
  root.append(cross, brush);
  node.replaceChildren(root);
  node.tabIndex = 0;
  const at_pixel = (px) => zoom[0] + ((Math.min(Math.max(px, box.left), box.right) - box.left) / (box.right - box.left)) * (zoom[1] - zoom[0]);
  const scaled = (event) => ((event.clientX - node.getBoundingClientRect().left) / node.clientWidth) * chart.width;
  const bounds = () => node.getBoundingClientRect();

  function look(at, tip_x, tip_y) {
    const px = x(at);
    cross.replaceChildren(svg("line", { x1: px, x2: px, y1: box.top, y2: box.bottom, class: "cross" }));
    const rows = [];
    for (const one of series) {
      const i = last_before(one.points.x, at, (value) => value);
      if (i < 0) continue;
      cross.append(svg("circle", { cx: px, cy: y(one.points.v[i]), r: 3.5, fill: one.color }));
      rows.push(tip_row(one.name, options.value(one.points.v[i]), one.color));
    }
    cross.setAttribute("visibility", "visible");
    show_tip(tip_x, tip_y, el("b", {}, instant(instant_at(at))), rows);
  }
  function leave() {
    cross.setAttribute("visibility", "hidden");
    hide_tip();
  }
  function zoom_to(a, b) {
    const least = Math.min(60000, LENGTH);
    const from = Math.max(0, Math.min(a, LENGTH - least)), to = Math.min(LENGTH, Math.max(b, from + least));
    leave();
    change({ zoom: [from, to] });
  }
  let start = null, key_at = null;
  node.onpointerdown = (event) => {
    if (event.pointerType === "mouse" && event.button === 0) start = scaled(event);
  };
  node.onpointermove = (event) => {
    const px = scaled(event);
    if (start !== null && Math.abs(px - start) > 5) {
      node.setPointerCapture(event.pointerId);
      brush.setAttribute("visibility", "visible");
      brush.setAttribute("x", Math.max(box.left, Math.min(px, start)));
      brush.setAttribute("width", Math.abs(Math.min(Math.max(px, box.left), box.right) - Math.max(start, box.left)));
      return hide_tip();
    }
    if (options.hover && options.hover(px, scaled_y(event), event)) return cross.setAttribute("visibility", "hidden");
    look(at_pixel(px), event.clientX, event.clientY);
  };
  const scaled_y = (event) => event.clientY - bounds().top;
  node.onpointerup = (event) => {
    const from = start, px = scaled(event);
    start = null;
    brush.setAttribute("visibility", "hidden");
    if (from !== null && Math.abs(px - from) > 5) zoom_to(at_pixel(Math.min(px, from)), at_pixel(Math.max(px, from)));
    else if (options.click) options.click(px, scaled_y(event));
  };
  node.onpointerleave = () => { if (start === null) leave(); };
  node.onblur = leave;
  node.ondblclick = () => zoom_to(0, LENGTH);
  node.onkeydown = (event) => {
    const width = zoom[1] - zoom[0], middle = key_at ?? (zoom[0] + zoom[1]) / 2;
    const move = { ArrowLeft: -0.01, ArrowRight: 0.01, PageUp: -0.1, PageDown: 0.1 }[event.key];
    if (move) {
      key_at = Math.min(zoom[1], Math.max(zoom[0], middle + move * width));
      look(key_at, bounds().left + x(key_at), bounds().top + 20);
    } else if (event.key === "+" || event.key === "=") zoom_to(middle - width / 4, middle + width / 4);
    else if (event.key === "-") zoom_to(middle - width, middle + width);
    else if (event.key === "Escape") zoom_to(0, LENGTH);
    else return;
    event.preventDefault();
  };
  return { ...chart, x, layer };
}
