"use strict";
/* The charts of scores, whose points open pictures, and the thresholds that can be tried. */
(() => {
  const { data, element } = Page;
  if (!data) return;
  const rows = data.run.rows;
  const charts = [...document.querySelectorAll(".scatter svg")].map((svg) => ({ svg, dots: [...svg.querySelectorAll("[data-row]")] }))
    .filter((chart) => chart.dots.length);

  const rowOf = (dot) => Number(dot.dataset.row);

  function label(dot) {
    const row = rowOf(dot);
    dot.setAttribute("class", `${Page.kind(Page.reasons[row])} dot`);
    dot.setAttribute("aria-label", `${data.sources[rows.source[row]]}: ψ ${rows.psi[row].toFixed(3)}, ρ ${Page.signed(rows.rho[row], 2)}, ${data.words[Page.reasons[row]]}`);
  }

  /* Points are buttons: one of a chart is in the order of Tab, arrow keys go to the next one by psi. */
  for (const { svg, dots } of charts) {
    svg.setAttribute("role", "group");
    dots.sort((one, two) => rows.psi[rowOf(one)] - rows.psi[rowOf(two)]);
    dots.forEach((dot, n) => {
      dot.setAttribute("role", "button");
      dot.setAttribute("tabindex", n ? -1 : 0);
      label(dot);
    });
    svg.addEventListener("click", (event) => {
      if (event.target.dataset?.row) Page.openPicture(rowOf(event.target));
    });
    svg.addEventListener("keydown", (event) => {
      const place = dots.indexOf(event.target);
      if (place < 0) return;
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Enter" || event.key === " ") Page.openPicture(rowOf(dots[place]));
      else if (by && dots[place + by]) {
        dots[place].setAttribute("tabindex", -1);
        dots[place + by].setAttribute("tabindex", 0);
        dots[place + by].focus();
      } else return;
      event.preventDefault();
    });
  }
  Page.onVerdicts(() => charts.forEach(({ dots }) => dots.forEach(label)));

  const panel = document.querySelector(".thresholds");
  if (!panel || !data.run.settings) return;
  const own = data.run.settings, asRun = data.reasons;
  const note = panel.querySelector("[role=status]"), code = panel.querySelector("code"), counts = panel.querySelector(".kept-counts");
  const loose = panel.querySelector("[name=fallback]");
  const whole = Verdicts.decide(data.run, own).reasons;
  const decided = asRun.some((reason) => reason !== "");
  if (decided && whole.some((reason, n) => reason !== asRun[n])) return; /* another version of ddb made the verdicts */

  const heads = {};
  for (const fieldset of panel.querySelectorAll("fieldset")) {
    const name = fieldset.dataset.head, scores = rows[name].filter((score) => score !== null);
    const [slider, number] = fieldset.querySelectorAll("input"), rule = fieldset.querySelector("select");
    const [low, high] = name === "psi" ? [0, 1] : [Math.min(...scores, 0), Math.max(...scores, 0)];
    const step = name === "psi" ? 0.005 : 10 ** Math.floor(Math.log10((high - low || 1) / 100));
    Object.assign(slider, { min: Math.floor(low / step) * step, max: Math.ceil(high / step) * step, step });
    if (name === "psi") Object.assign(number, { min: 0, max: 1 });
    const digits = Math.max(0, -Math.floor(Math.log10(step)));
    slider.value = number.value = own[`${name}_threshold`];
    rule.options[0].textContent = `as in the run (${own[name]})`;
    heads[name] = { slider, number, rule };
    slider.addEventListener("input", () => {
      number.value = Number(Number(slider.value).toFixed(digits));
      rule.value = "value";
      update();
    });
    number.addEventListener("input", () => {
      if (number.value === "" || !number.checkValidity()) return;
      slider.value = number.value;
      rule.value = "value";
      update();
    });
    rule.addEventListener("change", update);
  }

  function settings() {
    const tried = { ...own };
    for (const [name, { number, rule }] of Object.entries(heads)) {
      if (rule.value !== "run") tried[name] = rule.value;
      if (rule.value === "value") tried[`${name}_threshold`] = Number(number.value);
    }
    if (loose.checked) tried.fallback = "none";
    return tried;
  }

  /* `--set` for every setting that differs from the run's. */
  function line(tried) {
    const changed = Object.keys(tried).filter((key) => tried[key] !== own[key]);
    return changed.length ? [data.command, ...changed.map((key) => `--set prune.${key}=${tried[key]}`)].join(" ") : "";
  }

  function keptByDirection(reasons) {
    const kept = new Map();
    rows.from.forEach((_, n) => {
      const name = Page.direction(n);
      kept.set(name, (kept.get(name) || 0) + (reasons[n] === "kept"));
    });
    return kept;
  }

  function fellBack(tried, rules) {
    const found = new Set();
    for (const [from, to, , psi, rho] of rules) {
      const name = `${data.classes[from]} → ${data.classes[to]}`;
      if (psi !== tried.psi) found.add(`${name}: ψ ${psi.replace("_", " ")}`);
      if (rho !== tried.rho) found.add(`${name}: ρ ${rho.replace("_", " ")}`);
    }
    return [...found];
  }

  function cuts(tried) {
    for (const { svg, dots } of charts) {
      for (const old of svg.querySelectorAll(".cut")) old.remove();
      const { low, high, top, bottom } = Object.fromEntries(Object.entries(svg.dataset).map(([key, value]) => [key, Number(value)]));
      const psi = { value: tried.psi_threshold, literal: data.run.means[rows.from[rowOf(dots[0])]] }[tried.psi];
      if (psi !== undefined) cut(svg, { x1: `${100 * psi}%`, x2: `${100 * psi}%`, y1: top, y2: bottom });
      const rho = tried.rho === "value" ? tried.rho_threshold : undefined;
      if (rho === undefined || rho < low || rho > high) continue;
      const y = bottom - (bottom - top) * (rho - low) / (high - low);
      cut(svg, { x1: "0%", x2: "100%", y1: y, y2: y });
    }
  }

  function cut(svg, places) {
    const made = svg.querySelector("line").cloneNode();
    for (const [key, value] of Object.entries({ class: "cut", ...places })) made.setAttribute(key, value);
    svg.insertBefore(made, svg.querySelector(".dot"));
  }

  function update() {
    const tried = settings(), found = Verdicts.decide(data.run, tried), words = line(tried);
    const before = keptByDirection(decided ? asRun : whole), after = keptByDirection(found.reasons);
    counts.replaceChildren(...[...after].map(([name, kept]) => element("span", {}, `${name}: `, element("b", {}, `${kept} kept`), ` (run: ${before.get(name)})`)));
    const moved = found.reasons.filter((reason, n) => reason !== (decided ? asRun : whole)[n]).length;
    const back = fellBack(tried, found.rules);
    note.textContent = [
      words ? `${moved} verdicts differ from the run’s.` : "The verdicts of the run.",
      back.length ? `More than ${Math.round(100 * tried.max_pruned)}% would be rejected, so another rule is used instead: ${back.join("; ")}.` : "",
      found.unpainted ? `A run would paint ${found.unpainted} more first (prune.max_rounds).` : "",
    ].filter(Boolean).join(" ");
    code.textContent = words;
    code.parentElement.hidden = !words;
    cuts(tried);
    Page.setVerdicts(found.reasons);
  }

  panel.querySelector("[name=reset]").addEventListener("click", () => {
    for (const [name, { slider, number, rule }] of Object.entries(heads)) {
      slider.value = number.value = own[`${name}_threshold`];
      rule.value = "run";
    }
    loose.checked = false;
    update();
  });
  panel.querySelector("[name=copy]").addEventListener("click", () => {
    getSelection().selectAllChildren(code);
    navigator.clipboard?.writeText(code.textContent).catch(() => document.execCommand("copy"));
  });
  loose.addEventListener("change", update);
  panel.hidden = false;
  update();
})();
