"use strict";
const strips = [...document.querySelectorAll(".strip")];
const filters = document.querySelector(".filters");
if (filters) {
  const count = filters.querySelector("output");
  const apply = () => {
    const direction = filters.querySelector("select").value;
    const verdict = filters.querySelector("input:checked").value;
    let shown = 0;
    for (const strip of strips) {
      const fits = (!direction || strip.dataset.direction === direction) && (verdict === "*" || strip.dataset.verdict === verdict);
      strip.hidden = !fits;
      shown += fits;
    }
    count.textContent = `${shown} of ${strips.length} shown`;
  };
  filters.hidden = false;
  filters.addEventListener("change", apply);
  apply();
}
window.addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
