// Equity, drawdown and position.
function equity_section() {
  const symbols = unique(RUNS.flatMap((run) => run.symbols.map((symbol) => symbol.name)));
  if (!symbols.includes(state.symbol)) state.symbol = symbols[0] || "";
  $("equity-controls").replaceChildren(...[
    currency_choice(), reading_choice(), session_menu(),
    symbols.length > 1 ? menu("symbol", symbols.map((s) => [s, s]), state.symbol, (symbol) => change({ symbol })) : null,
  ].filter(Boolean));
  legend("equity-legend");
  for (const node of document.querySelectorAll("[data-unit]")) node.textContent = state.currency;
  const pick = (what) => visible().flatMap((line) => of_line(line.run.curves, line).map((item) => ({
    ...line, points: curve(item[what]),
  })));
  const value = (v) => money(v, state.currency);
  const text = (v, digits) => number(v, digits);
  line_chart($("equity-chart"), { series: pick("equity"), zero: true, text, value, label: "Equity over time", empty: "no marks" });
  line_chart($("drawdown-chart"), { series: pick("drawdown"), zero: true, text, value, label: "Drawdown over time", empty: "no marks" });
  // One line: positions that flip in seconds hide one another.
  const run = RUNS[state.run], reading = run.readings.includes(state.shown) ? state.shown : run.primary;
  $("position-of").textContent = `of ${state.symbol}, ${SEVERAL ? run.label + ", " : ""}${reading} reading`;
  const positions = run.positions
    .filter((item) => item.reading === reading && run.symbols[item.symbol].name === state.symbol)
    .map((item) => ({ name: state.symbol, color: "var(--c0)", dash: "", points: curve(item), step: true }));
  line_chart($("position-chart"), {
    series: positions, zero: true, label: "Position over time", empty: "no fills",
    text: (v, digits) => (digits ? "" : number(v, 0)), value: (v) => number(v, 0) + " contracts",
  });
}
sections.push(equity_section);
