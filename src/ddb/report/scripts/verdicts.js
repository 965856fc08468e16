"use strict";
/* The verdicts of stage prune, computed from the scores that the page holds, with the rules of
   ddb/stages/prune/rules.py and ddb/refill.py. Nothing here touches the page: tests run it beside `prune.decide`.

   run: { cell, rounds, means, budgets, targets, rows }
     cell: candidates of a prompt below which a rule uses the whole direction; rounds: prune.max_rounds
     means[label]: mean probability of a class; budgets["0>1"]: most images to keep; targets[label]: target classes
     rows: { from, to, prompt, variant, source, order, psi, psiTo, psiSource, rho }: an array each, with an entry for
       every painted candidate in the order of the table. order: rank of the candidate's id; the scores are float32
       numbers, null where there is no usable score
   settings: the section `prune` of the configuration */
const Verdicts = (() => {
  /* The verdicts under `settings`: { reasons, planned, unpainted, rules }, the first two with an entry a row.
     reasons: "kept", "psi", "rho", "psi+rho", "over_budget", or "" without a verdict; planned: whether a run asks for
     the candidate; unpainted: number of candidates that it would ask for and that are not painted; rules: the rule of
     each head by direction and prompt, as [from, to, prompt, psi rule, rho rule]. */
  function decide(run, settings) {
    const rows = exact(run.rows);
    const { planned, unpainted } = plan(run, rows, settings);
    const { reason, rules } = judge(run, rows, planned, settings);
    const asked = new Set(planned);
    const every = rows.from.map((_, n) => n);
    return {
      reasons: every.map((n) => reason.get(n) || ""),
      planned: every.map((n) => asked.has(n)),
      unpainted,
      rules,
    };
  }

  /* JSON holds the shortest digits of float32 numbers; the rules compare their exact values. */
  function exact(rows) {
    const scores = {};
    for (const name of ["psi", "psiTo", "psiSource", "rho"]) {
      scores[name] = rows[name].map((value) => (value === null ? null : Math.fround(value)));
    }
    return { ...rows, ...scores };
  }

  /* The candidates that a run with these settings asks for: variant 0, and for each further round the rejected
     sources of directions that are short of kept images (ddb.refill.retries). */
  function plan(run, rows, settings) {
    const planned = [], where = new Map();
    let unpainted = 0;
    rows.from.forEach((_, n) => {
      where.set(`${rows.source[n]}>${rows.to[n]}#${rows.variant[n]}`, n);
      if (rows.variant[n] === 0) planned.push(n);
    });
    for (let variant = 1; variant < run.rounds && !unpainted; variant++) {
      const { reason } = judge(run, rows, planned, settings);
      const again = rejectedSources(run, rows, planned, reason);
      const asked = new Set(planned);
      for (const [source, label] of again) {
        for (const target of run.targets[label]) {
          const n = where.get(`${source}>${target}#${variant}`);
          if (n === undefined) unpainted += 1;
          else if (!asked.has(n)) {
            asked.add(n);
            planned.push(n);
          }
        }
      }
      if (!again.size) break;
    }
    return { planned, unpainted };
  }

  /* Sources to paint again: Map from source to its label (ddb.refill.rejected_sources). */
  function rejectedSources(run, rows, planned, reason) {
    const directions = new Map();
    for (const n of planned.filter((n) => reason.has(n))) {
      const name = `${rows.from[n]}>${rows.to[n]}`;
      if (!directions.has(name)) directions.set(name, { sources: new Map(), kept: new Set(), passed: 0, tried: 0 });
      const own = directions.get(name);
      own.tried += 1;
      own.sources.set(rows.source[n], rows.from[n]);
      if (["kept", "over_budget"].includes(reason.get(n))) {
        own.passed += 1;
        own.kept.add(rows.source[n]);
      }
    }
    const chosen = new Map();
    for (const [name, own] of directions) {
      const short = (run.budgets[name] || 0) - own.passed;
      if (short <= 0) continue;
      const open = [...own.sources].filter(([source]) => !own.kept.has(source));
      const count = own.passed ? Math.ceil(short / (own.passed / own.tried)) : open.length;
      for (const [source, label] of open.slice(0, count)) chosen.set(source, label);
    }
    return chosen;
  }

  /* The verdicts of these rows alone: { reason: Map from row to reason, rules }. Rows without scores have none. */
  function judge(run, rows, planned, settings) {
    const directions = new Map(), reason = new Map(), rules = [];
    for (const n of planned) {
      if ([rows.psi, rows.psiTo, rows.psiSource, rows.rho].some((scores) => scores[n] === null)) continue;
      const name = `${rows.from[n]}>${rows.to[n]}`;
      if (!directions.has(name)) directions.set(name, []);
      directions.get(name).push(n);
    }
    for (const [name, members] of directions) {
      const psi = new Set(), rho = new Set();
      for (const [prompt, own] of grouped(members, (n) => rows.prompt[n])) {
        const cell = own.length >= run.cell ? own : members;
        const [byPsi, psiRule] = psiHead(rows, cell, run.means[rows.from[own[0]]], settings);
        const [byRho, rhoRule] = rhoHead(rows, cell, settings);
        for (const n of own) {
          if (byPsi.has(n)) psi.add(n);
          if (byRho.has(n)) rho.add(n);
        }
        rules.push([rows.from[own[0]], rows.to[own[0]], prompt, psiRule, rhoRule]);
      }
      const passed = members.filter((n) => !psi.has(n) && !rho.has(n));
      const over = new Set(overBudget(rows, passed, run.budgets[name]));
      for (const n of members) {
        const heads = [psi.has(n) && "psi", rho.has(n) && "rho"].filter(Boolean).join("+");
        reason.set(n, heads || (over.has(n) ? "over_budget" : "kept"));
      }
    }
    return { reason, rules };
  }

  function grouped(members, keyOf) {
    const found = new Map();
    for (const n of members) {
      if (!found.has(keyOf(n))) found.set(keyOf(n), []);
      found.get(keyOf(n)).push(n);
    }
    return found;
  }

  /* A head gives [Set of rejected rows, name of the rule]. */
  function psiHead(rows, cell, mean, settings) {
    const { psi, psiTo, psiSource, order } = rows;
    const first = (n, m) => psi[m] - psi[n] || psiTo[n] - psiTo[m] || order[n] - order[m];
    const rules = {
      off: () => [],
      literal: () => cell.filter((n) => psi[n] >= mean),
      value: () => cell.filter((n) => psi[n] >= settings.psi_threshold),
      relative: () => cell.filter((n) => psi[n] >= settings.psi_ratio * psiSource[n]),
      quantile: () => [...cell].sort(first).slice(0, Math.floor(settings.fallback_quantile * cell.length)),
    };
    const chain = { relative: ["relative", "quantile"], quantile: ["quantile"], none: [] }[settings.fallback];
    return firstMild([settings.psi, ...chain], rules, cell, settings);
  }

  function rhoHead(rows, cell, settings) {
    const { rho, order } = rows;
    const first = (n, m) => rho[n] - rho[m] || order[n] - order[m];
    const lowest = (share) => [...cell].sort(first).slice(0, Math.floor(share * cell.length));
    const rules = {
      off: () => [],
      value: () => cell.filter((n) => rho[n] <= settings.rho_threshold),
      mean: () => {
        const mean = sum(cell.map((n) => rho[n])) / cell.length;
        return cell.filter((n) => rho[n] <= mean);
      },
      quantile: () => lowest(settings.rho_threshold),
      fallback_quantile: () => lowest(settings.fallback_quantile),
    };
    const chain = settings.fallback === "none" ? [] : ["fallback_quantile"];
    return firstMild([settings.rho, ...chain], rules, cell, settings);
  }

  /* The first rule that rejects at most the share max_pruned; the last rule if none does. */
  function firstMild(names, rules, cell, settings) {
    for (const name of names.slice(0, -1)) {
      const rejected = rules[name]();
      if (rejected.length / cell.length <= settings.max_pruned) return [new Set(rejected), name];
    }
    const last = names[names.length - 1];
    return [new Set(rules[last]()), last];
  }

  /* Of the passed rows those beyond the budget, which keeps low variants first, then high rho. */
  function overBudget(rows, passed, budget) {
    if (budget === undefined) return [];
    const { rho, variant, order } = rows;
    const first = (n, m) => variant[n] - variant[m] || rho[m] - rho[n] || order[n] - order[m];
    return [...passed].sort(first).slice(budget);
  }

  /* The sum of float64 numbers, rounded once (Shewchuk 1997, as Python's math.fsum). */
  function sum(values) {
    const partials = [];
    for (let value of values) {
      let used = 0;
      for (let other of partials) {
        if (Math.abs(value) < Math.abs(other)) [value, other] = [other, value];
        const high = value + other, low = other - (high - value);
        if (low) partials[used++] = low;
        value = high;
      }
      partials.length = used;
      partials.push(value);
    }
    let total = partials.pop() || 0;
    while (partials.length) {
      const before = total, next = partials.pop();
      total = before + next;
      const low = next - (total - before);
      if (low) {
        const beyond = partials[partials.length - 1];
        if (partials.length && low < 0 === beyond < 0) {
          const doubled = low * 2, rounded = total + doubled;
          if (doubled === rounded - total) total = rounded;
        }
        break;
      }
    }
    return total;
  }

  return { decide, sum };
})();
