"use strict";
/* All counterfactuals, in pages, filtered and searched; one at a time in a dialog. */
(() => {
  const { data, element, signed } = Page;
  if (!data) return;
  const PER_PAGE = 24;
  const rows = data.run.rows;
  const part = document.querySelector(".gallery");
  const filters = part.querySelector(".filters"), cards = part.querySelector(".cards");
  const pager = part.querySelector(".pager"), status = part.querySelector("[role=status]");
  const dialog = part.querySelector("dialog");
  const choose = pager.querySelector("select");
  const made = new Map();
  let shown = [], page = 0, opened = null;

  const stored = new Map();
  for (const strip of document.querySelectorAll(".strip[data-row]")) {
    const [original, mask, counterfactual, attribution] = [...strip.querySelectorAll("figure")].map((figure) =>
      figure.querySelector("img")?.src);
    stored.set(Number(strip.dataset.row), { original, mask, counterfactual, attribution });
  }
  document.querySelector(".without-script").hidden = true;

  const webp = (text) => (text ? `data:image/webp;base64,${text}` : "");
  const searched = rows.from.map((_, n) => `${data.sources[rows.source[n]]}\n${data.prompts[rows.prompt[n]]}`.toLowerCase());

  function pictures(row) {
    const own = stored.get(row) || {};
    return {
      original: own.original || webp(data.originals[rows.source[row]]),
      counterfactual: own.counterfactual || webp(data.pictures[row]),
      mask: own.mask || "",
      overlay: own.mask ? "" : webp(data.masks[row]),
      attribution: own.attribution || "",
    };
  }

  function image(source, words) {
    if (!source) return element("div", { class: "absent" }, "none");
    return element("img", { src: source, alt: words });
  }

  function scores(row) {
    if (rows.psi[row] === null) return "no scores";
    return `ψ ${rows.psi[row].toFixed(3)}  ρ ${signed(rows.rho[row], 2)}`;
  }

  function verdict(row) {
    const reason = Page.reasons[row];
    return element("span", { class: `verdict ${Page.shade(reason)}` }, data.words[reason]);
  }

  /* A card is made once; its verdict is written anew. */
  function card(row) {
    if (!made.has(row)) {
      const own = pictures(row), name = Page.direction(row);
      const pair = element("button", { type: "button", class: "pair", "aria-label": `${name}, ${data.sources[rows.source[row]]}` },
        image(own.original, ""), image(own.counterfactual, ""));
      pair.addEventListener("click", () => open(row));
      const article = element("article", { class: "card" }, pair, element("p", { class: "name" }, name),
        element("p", { class: "judged" }), element("p", { class: "scores" }, scores(row)));
      made.set(row, article);
    }
    const article = made.get(row);
    article.querySelector(".judged").replaceChildren(verdict(row));
    return article;
  }

  function value(name) {
    return filters.querySelector(`[name=${name}]`)?.value ?? "";
  }

  function fits(row) {
    const direction = value("direction"), prompt = value("prompt"), word = value("search").trim().toLowerCase();
    const reason = filters.querySelector("[name=verdict]:checked").value;
    return (!direction || direction === `${rows.from[row]}>${rows.to[row]}`)
      && (!prompt || Number(prompt) === rows.prompt[row])
      && (!word || searched[row].includes(word))
      && (reason === "*" || reason === Page.reasons[row]);
  }

  function filter() {
    shown = rows.from.map((_, n) => n).filter(fits);
    const pages = Math.max(1, Math.ceil(shown.length / PER_PAGE));
    page = Math.min(page, pages - 1);
    choose.replaceChildren(...Array.from({ length: pages }, (_, n) => element("option", { value: n }, `${n + 1} of ${pages}`)));
    draw();
  }

  function draw() {
    const own = shown.slice(page * PER_PAGE, (page + 1) * PER_PAGE);
    const wanted = own.map(card);
    if (wanted.length !== cards.children.length || wanted.some((one, n) => one !== cards.children[n])) {
      cards.replaceChildren(...wanted);
    }
    choose.value = page;
    pager.querySelector("[name=previous]").disabled = page === 0;
    pager.querySelector("[name=next]").disabled = (page + 1) * PER_PAGE >= shown.length;
    const first = page * PER_PAGE + 1;
    const range = own.length ? `${first} to ${first + own.length - 1} of ` : "";
    status.textContent = `${range}${shown.length} shown, ${rows.from.length} in all.`;
  }

  function turn(to) {
    page = to;
    draw();
    cards.scrollIntoView({ block: "nearest" });
  }

  function figure(content, words) {
    return element("figure", {}, content, element("figcaption", {}, words));
  }

  function fact(name, text) {
    return [element("dt", {}, name), element("dd", {}, text)];
  }

  /* The dialog's content for one counterfactual. */
  function content(row) {
    const own = pictures(row), reason = Page.reasons[row];
    const [from, to] = [data.classes[rows.from[row]], data.classes[rows.to[row]]];
    const mask = own.mask ? image(own.mask, "Mask: the segmented object and the changed pixels")
      : element("div", { class: "overlaid" }, image(own.original, ""), own.overlay ? image(own.overlay, "Mask: the segmented object and the changed pixels") : "");
    const figures = [figure(image(own.original, `Original image: ${from}`), "original"), figure(mask, "mask"),
      figure(image(own.counterfactual, `Counterfactual: ${to}`), "counterfactual")];
    if (own.attribution) figures.push(figure(image(own.attribution, `Attribution map for ${to}`), "attribution"));
    const facts = [...fact("Source", data.sources[rows.source[row]]), ...fact("Prompt", data.prompts[rows.prompt[row]] || "none")];
    if (rows.psi[row] !== null) {
      facts.push(...fact("ψ", `${rows.psiSource[row].toFixed(3)} on the source, ${rows.psi[row].toFixed(3)} on the counterfactual`),
        ...fact("ρ", `${signed(rows.rho[row], 3)}${rows.exact[row] ? "" : ", integrated"}`));
    }
    if (rows.variant[row]) facts.push(...fact("Variant", String(rows.variant[row])));
    const meaning = data.meanings[reason].replaceAll("{source}", () => from).replaceAll("{target}", () => to);
    return [element("h3", {}, element("span", {}, Page.direction(row)), " ", verdict(row)),
      element("div", { class: "pictures" }, ...figures), element("p", {}, `${meaning}.`), element("dl", {}, ...facts)];
  }

  function open(row) {
    opened = row;
    const close = element("button", { type: "button", autofocus: "" }, "Close");
    close.addEventListener("click", () => dialog.close());
    const step = (by, words) => {
      const place = shown.indexOf(row), next = place < 0 ? undefined : shown[place + by];
      const button = element("button", { type: "button" }, words);
      button.disabled = next === undefined;
      button.addEventListener("click", () => open(next));
      return button;
    };
    dialog.replaceChildren(...content(row), element("p", { class: "steps" }, step(-1, "Previous"), step(1, "Next"), close));
    if (!dialog.open) dialog.showModal();
    close.focus();
  }

  dialog.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const place = shown.indexOf(opened);
    if (by && place >= 0 && shown[place + by] !== undefined) open(shown[place + by]);
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  filters.addEventListener("input", () => {
    page = 0;
    filter();
  });
  choose.addEventListener("change", () => turn(Number(choose.value)));
  pager.querySelector("[name=previous]").addEventListener("click", () => turn(page - 1));
  pager.querySelector("[name=next]").addEventListener("click", () => turn(page + 1));
  Page.onVerdicts(() => {
    filter();
    if (dialog.open) open(opened);
  });
  Page.openPicture = open;
  filter();
})();
