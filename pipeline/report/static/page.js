// Cards, colours, and drawing everything anew when the window changes.
function cards() {
  const node = $("cards");
  const card = (name, value, tone) => el("div", { class: "card" }, el("b", { class: tone || "" }, value), el("span", {}, name));
  const tone = (v) => (v > 0 ? "up" : v < 0 ? "down" : "");
  const share = (v) => (v === null ? "-" : number(100 * v, 1) + "\u00a0%");
  const parts = [];
  for (const node of document.querySelectorAll(".swatch")) node.style.background = `var(--c${node.dataset.run % 8})`;
  if (SEVERAL) return;   // their table is in the page
  for (const run of RUNS) for (const f of run.figures) {
    if (f.reading !== run.primary) continue;
    const c = f.currency;
    parts.push(el("p", { class: "cards-title" }, [`${f.reading} reading`, CURRENCIES.length > 1 ? c : null].filter(Boolean).join(", ")));
    parts.push(el("div", { class: "cards" },
      card(`net profit, ${c}`, money(f.net), tone(f.net)), card(`gross profit, ${c}`, money(f.gross)), card(`fees, ${c}`, money(f.fees)),
      card(`max drawdown, ${c}`, money(f.max_drawdown)),
      card("Sharpe, a year", f.sharpe === null ? "-" : number(f.sharpe, 2)),
      card("round trips won", share(f.hit_rate)), card("fills", number(f.fills, 0)),
      card("markout 1\u00a0s, ticks", number(f.markout_1s, 3), tone(f.markout_1s))));
  }
  node.replaceChildren(...parts);
}
cards();

const theme = $("theme");
const dark = matchMedia("(prefers-color-scheme: dark)");
theme.addEventListener("click", () => {
  const now = document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
  redraw();
});
dark.addEventListener("change", redraw);
let width = 0;
addEventListener("resize", () => {
  if (innerWidth === width) return;   // a phone's address bar changes the height alone
  width = innerWidth;
  requestAnimationFrame(redraw);
});
redraw();
