"use strict";
/* What the other scripts share: the counterfactuals that the page holds, and their verdicts of the moment. */
const Page = (() => {
  const source = document.getElementById("gallery");
  const data = source ? JSON.parse(source.textContent) : null;
  const listeners = [];
  const page = { data, reasons: data ? data.reasons : [], element, signed, openPicture: () => {} };

  /* Call `listener` whenever the verdicts change. */
  page.onVerdicts = (listener) => listeners.push(listener);
  page.setVerdicts = (reasons) => {
    page.reasons = reasons;
    for (const listener of listeners) listener();
  };
  page.direction = (row) => `${data.classes[data.run.rows.from[row]]} → ${data.classes[data.run.rows.to[row]]}`;
  page.kind = (reason) => `reason-${reason.replace("+", "-") || "none"}`;
  page.shade = (reason) => (reason === "kept" ? "kept" : ["", "over_budget"].includes(reason) ? "spare" : "rejected");

  /* An element with attributes and children; strings become text, never HTML. */
  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function signed(value, digits) {
    const text = Math.abs(value).toFixed(digits);
    return Number(text) === 0 ? text : (value > 0 ? "+" : "−") + text;
  }

  if (data) for (const part of document.querySelectorAll(".only-script")) part.hidden = false;
  window.addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details")) part.open = true;
  });
  return page;
})();
