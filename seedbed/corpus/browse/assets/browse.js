"use strict";
// Every word of the corpus enters the page as text (textContent and attributes), never as markup.

const view = document.getElementById("view");
let about = null;
const CUT = 4; // times the next bar, from which on a bar is cut off
let asked = 0; // of the question under way: an answer that comes after the next question is dropped

function el(tag, attributes, ...children) {
  const space = ["svg", "rect", "line"].includes(tag) ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
  const node = document.createElementNS(space, tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(9)) if (child !== null && child !== undefined && child !== "") node.append(child);
  return node;
}

const count = (value) => value.toLocaleString("en-US");
const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
const digits = (value) =>
  typeof value !== "number" ? String(value ?? "-") : Number.isInteger(value) ? count(value) : value.toPrecision(3);
const size = (bytes) => (bytes < 1e4 ? `${count(bytes)} B` : bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(2)} MB`);

const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`); // for a shell

async function ask(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters || {}))
    for (const each of Array.isArray(value) ? value : [value]) if (each !== "" && each !== null && each !== undefined) query.append(name, each);
  const answer = await fetch(`/api/${path}?${query}`);
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

function address(name, parameters) {
  const query = new URLSearchParams(Object.entries(parameters || {}).filter(([, value]) => value !== "" && value !== null));
  return `#${name}${query.size ? `?${query}` : ""}`;
}

const tag = (verdict) => el("span", { class: `tag ${verdict}` }, verdict);

function hit(row, score) {
  const facts = [row.source, row.language, size(row.bytes_text)];
  if (score && row.score !== null) facts.push(`${score} ${digits(row.score)}`);
  if (row.similarity !== undefined && row.similarity !== null) facts.push(`similarity ${row.similarity.toFixed(3)}`);
  return el("div", { class: "hit" },
    tag(row.verdict), " ", el("a", { href: address("document", { at: row.at }) }, row.id),
    el("div", { class: "note" }, facts.filter(Boolean).join(" · "), row.rule ? ` · ${row.rule}: ${row.reason}` : ""),
    row.excerpt ? el("div", { class: "text" }, row.excerpt) : null);
}

// Documents: filters, and a page of rows after another.

function option(value, chosen, label) {
  return el("option", { value, selected: value === chosen }, label ?? value);
}

function select(name, title, values, chosen) {
  const options = values.map(([value, number]) => option(value, chosen, `${value} (${count(number)})`));
  return el("label", {}, title, el("select", { name }, option("", chosen, "any"), options));
}

function documents(query) {
  const given = Object.fromEntries(query);
  const submit = (event) => {
    event.preventDefault();
    location.hash = address("documents", Object.fromEntries(new FormData(event.currentTarget)));
  };
  const scores = [option("", given.score, "any"), about.scores.map((name) => option(name, given.score, name.replace("score.", "")))];
  const places = ["id", "url", "title", "text"].map((name) => option(name, given.in || "id"));
  const bound = (name, title) => el("input", { name, type: "number", step: "any", placeholder: title, "aria-label": title, value: given[name] });
  const form = el("form", { class: "filters", onsubmit: submit, onchange: (event) => event.currentTarget.requestSubmit() },
    el("label", { class: "wide" }, "contains", el("input", { name: "find", type: "search", value: given.find, placeholder: "any words" })),
    el("label", {}, "in the", el("select", { name: "in" }, places)),
    select("verdict", "verdict", about.facets.verdict, given.verdict),
    select("rule", "rule", about.facets.rule, given.rule),
    select("source", "source", about.facets.source, given.source),
    select("language", "language", about.facets.language, given.language),
    el("label", {}, "score", el("select", { name: "score" }, scores)),
    el("label", {}, "from, to", el("span", { class: "pair" }, bound("low", "least"), bound("high", "most"))));
  const rows = el("div", { class: "rows" });
  const state = el("p", { class: "lead", role: "status" });
  const more = el("button", { type: "button", hidden: true });
  const mine = asked;
  let shown = 0;
  async function next(cursor) {
    more.hidden = true;
    state.textContent = "looking ...";
    let answer = { next: cursor, rows: [] };
    do {
      answer = await ask("documents", { ...given, cursor: answer.next });
      if (mine !== asked) return;
      rows.append(...answer.rows.map((row) => hit(row, given.score && given.score.replace("score.", ""))));
      shown += answer.rows.length;
      state.textContent = `${plural(shown, "document")} so far`;
    } while (answer.next && !answer.rows.length);
    state.textContent = shown ? `${plural(shown, "document")}${answer.finished ? "" : ", and there may be more"}` : "no such document";
    more.hidden = answer.finished;
    more.textContent = "go on";
    more.onclick = () => next(answer.next).catch(failed);
  }
  view.replaceChildren(form, state, rows, more);
  return next("");
}

// Thresholds: a histogram with its thresholds, sliders that decide anew, and what lies nearest on either side.

function histogram(found, lines) {
  const heights = found.counts.map((bin) => bin[0] + bin[1] + bin[2]).sort((a, b) => b - a);
  const top = Math.max(1, heights[0] > CUT * heights[1] ? 2 * heights[1] : heights[0]); // one bar towers: it is cut off
  const width = 100 / found.counts.length;
  const drawing = el("svg", { class: "histogram", viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": "documents by score" });
  found.counts.forEach((bin, index) => {
    let above = 100;
    const all = bin[0] + bin[1] + bin[2];
    const scale = all > top ? 100 / all : 95 / top;
    ["kept", "own", "others"].forEach((kind, at) => {
      const drawn = Math.min(above, bin[at] ? Math.max(bin[at] * scale, 0.6) : 0);
      above -= drawn;
      if (drawn) drawing.append(el("rect", { class: kind, x: index * width, y: above, width: width * 0.92, height: drawn }));
    });
  });
  const places = lines.map(() => drawing.appendChild(el("line", { class: "line", y1: 0, y2: 100 })));
  const place = () => lines.forEach((line, index) => {
    const x = position(found.edges, line.value);
    places[index].setAttribute("x1", x);
    places[index].setAttribute("x2", x);
    places[index].style.visibility = line.value === null ? "hidden" : "visible";
  });
  place();
  return [drawing, place, heights[0] > top ? heights[0] : 0];
}

function position(edges, value) {
  const last = edges.length - 1;
  if (value === null || value <= edges[0]) return 0;
  if (value >= edges[last]) return 100;
  const bin = edges.findIndex((edge) => edge > value) - 1;
  return (100 * (bin + (value - edges[bin]) / (edges[bin + 1] - edges[bin]))) / last;
}

function valueAt(edges, share) {
  const place = Math.min(share * (edges.length - 1), edges.length - 1 - 1e-9);
  const bin = Math.floor(place);
  return edges[bin] + (place - bin) * (edges[bin + 1] - edges[bin]);
}

async function thresholds(query) {
  const mine = asked;
  view.replaceChildren(el("p", { class: "lead" }, "reading the scores ..."));
  const rules = await ask("rules");
  if (mine !== asked) return;
  const name = query.get("rule") || (rules.find((rule) => rule.values.some((value) => value !== null)) || rules[0]).name;
  const rule = rules.find((each) => each.name === name);
  if (!rule) throw new Error(`this run has no rule ${name}`);
  const options = rules.map((each) => option(each.name, name, `${each.name}${each.threshold === null ? " (off)" : ""}`));
  const chooser = el("select", { id: "rule", onchange: (event) => { location.hash = address("thresholds", { rule: event.target.value }); } }, options);
  const found = await ask("histogram", { rule: name });
  if (mine !== asked) return;
  const body = el("div");
  view.replaceChildren(el("form", { class: "filters" }, el("label", { class: "wide" }, "rule", chooser)), body);
  if (found.labels) {
    const rows = found.labels.map((label, at) => el("tr", {}, el("td", {}, label), found.counts[at].map((n) => el("td", { class: "n" }, count(n)))));
    const head = el("tr", {}, el("th", {}, rule.what), ["kept", "removed by it", "others"].map((title) => el("th", { class: "n" }, title)));
    body.append(el("p", { class: "lead" }, `${rule.side}: ${rule.threshold ?? "off"}`), el("div", { class: "scroll" }, el("table", {}, el("thead", {}, head), el("tbody", {}, rows))));
    return;
  }
  const bounds = rule.values.map((value, at) => ({ at, value, label: at ? "at most" : "at least" }));
  const used = bounds.filter((bound) => (rule.side === "between" ? true : bound.label === rule.side));
  const [drawing, place, cut] = histogram(found, used);
  const answer = el("div", { class: "answer", id: "answer", role: "status" });
  const sides = el("div", { class: "sides" });
  const whole = found.edges.every((edge) => edge >= 0) && rule.values.every((value) => value === null || Number.isInteger(value)) && found.edges[60] > 20;
  let waiting = null;
  const settings = () => {
    const values = used.map((bound) => bound.value);
    if (values.some((value) => value === null)) return [];
    const same = used.every((bound) => bound.value === rule.values[bound.at]);
    return same ? [] : [`${name}=${rule.side === "between" ? `[${values.join(", ")}]` : values[0]}`];
  };
  const decide = async () => {
    const turn = ++waiting;
    const set = settings();
    try {
      const [decided, near] = await Promise.all([ask("redecide", { set }), ask("near", { rule: name, set, n: 6 })]);
      if (mine !== asked || turn !== waiting) return;
      say(decided, set);
      sides.replaceChildren(...[["kept", "Nearest that it lets pass"], ["removed", "Nearest that it removes"]].map(([side, title]) =>
        el("div", { id: side }, el("h3", {}, title), near[side].map((row) => hit({ ...row, verdict: row.verdict }, rule.what)), near[side].length ? null : el("p", { class: "lead" }, "none"))));
    } catch (error) {
      answer.replaceChildren(el("span", { class: "error" }, error.message));
    }
  };
  const say = (decided, set) => {
    const [before, after] = decided.kept;
    const parts = [el("strong", {}, `${count(after)} of ${count(decided.documents)} kept`)];
    if (set.length) {
      const bytes = decided.kept_bytes.length ? ` · text ${decided.cuts ? "before cuts " : ""}${size(decided.kept_bytes[0])} → ${size(decided.kept_bytes[1])}` : "";
      parts.push(el("div", { class: "legend" }, `${after >= before ? "+" : ""}${count(after - before)}: ${count(decided.gained)} newly kept, ${count(decided.lost)} no longer kept${bytes}`));
      const others = Object.entries(decided.rules).map(([rule, [old, now]]) => `${rule} ${count(old)} → ${count(now)}`).join(", ");
      parts.push(el("div", { class: "legend" }, others), el("pre", {}, `seedbed corpus redecide ${quoted(about.path)} ${set.map((each) => `--set ${quoted(each)}`).join(" ")} --write`));
    }
    answer.replaceChildren(...parts);
  };
  let timer = null;
  const later = () => { place(); clearTimeout(timer); timer = setTimeout(decide, 120); };
  const sliders = used.map((bound) => {
    const range = el("input", { type: "range", min: 0, max: 1000, value: 10 * position(found.edges, bound.value), "aria-label": `${name} ${bound.label}` });
    const exact = el("input", { type: "number", step: "any", value: bound.value, placeholder: "off", "aria-label": `${name} ${bound.label}, exactly` });
    range.addEventListener("input", () => {
      const value = valueAt(found.edges, range.value / 1000);
      bound.value = whole ? Math.round(value) : Number(value.toPrecision(3));
      exact.value = bound.value;
      later();
    });
    exact.addEventListener("input", () => {
      bound.value = exact.value === "" ? null : Number(exact.value);
      range.value = 10 * position(found.edges, bound.value);
      later();
    });
    return el("div", { class: "slider" }, range, el("label", {}, `${rule.what}: ${bound.label}`), exact);
  });
  const scale = el("div", { class: "scale" }, [0, 0.25, 0.5, 0.75, 1].map((share) => el("span", {}, digits(Number(valueAt(found.edges, share).toPrecision(3))))));
  const legend = el("p", { class: "legend" }, ["kept", "own", "others"].map((kind, at) => [el("b", { class: kind }), ["kept", "removed by this rule", "removed or merged by others"][at]]),
    cut ? ` · the highest bar is cut off: ${plural(cut, "document")}` : "",
    found.without ? ` · ${plural(found.without, "document")} without this score` : "");
  body.append(drawing, scale, ...sliders, legend, answer, sides);
  return decide();
}

// Duplicates: clusters, the largest first, and the members of one beside the document that was kept.

async function duplicates(query) {
  const mine = asked;
  view.replaceChildren(el("p", { class: "lead" }, "counting ..."));
  if (query.get("id")) return cluster(query.get("id"));
  const start = Number(query.get("start") || 0);
  const found = await ask("clusters", { start });
  if (mine !== asked) return;
  const rows = found.rows.map((row) => el("div", { class: "hit" }, el("a", { href: address("duplicates", { id: row.id }) }, row.id), el("div", { class: "note" }, plural(row.documents, "document"))));
  view.replaceChildren(el("p", { class: "lead" }, found.clusters ? `${plural(found.merged, "document")} merged into ${count(found.clusters)} others. The largest clusters first.` : "No document was merged into another."),
    el("div", { class: "rows" }, rows), found.next === null ? "" : el("a", { href: address("duplicates", { start: found.next }) }, "go on"));
}

async function cluster(id) {
  const mine = asked;
  const found = await ask("cluster", { id });
  if (mine !== asked) return;
  const members = found.members.map((row) => {
    const place = el("div");
    const show = async () => {
      const compared = await ask("compare", { at: row.at, with: found.kept.at });
      place.replaceChildren(...differences(compared.changes, compared.more));
    };
    return el("div", {}, hit(row), found.kept ? el("button", { type: "button", onclick: () => show().catch(failed) }, "what differs") : null, place);
  });
  const head = found.kept ? hit(found.kept) : el("p", { class: "lead" }, `${id} is a document of an earlier run.`);
  view.replaceChildren(el("h3", {}, "Kept"), head, el("h3", {}, "Merged into it"), el("div", { class: "rows" }, members));
}

function differences(changes, more) {
  if (!changes.length) return [el("p", { class: "lead" }, "The texts are equal.")];
  const shown = changes.map((change) => el("div", { class: "change" },
    change.kept ? el("div", { class: "text" }, el("del", {}, `- ${change.kept}`)) : null,
    change.here ? el("div", { class: "text" }, el("ins", {}, `+ ${change.here}`)) : null));
  return more ? [...shown, el("p", { class: "lead" }, `and ${count(more)} more`)] : shown;
}

// One document: everything that `seedbed why` says.

async function page(query) {
  const mine = asked;
  const found = await ask("document", Object.fromEntries(query));
  if (mine !== asked) return;
  const parts = [el("h2", {}, found.title || found.id)];
  parts.push(el("p", {}, tag(found.verdict), " ", found.rule ? `${found.rule}: ${found.reason}` : `in ${found.split}`));
  const facts = [found.id, found.domain, found.language, found.licence, found.opt_out, found.date, found.url, found.origin, `${size(found.bytes_in)} read`, `${size(found.bytes_out)} kept`];
  parts.push(el("p", { class: "lead" }, facts.filter(Boolean).join(" · ")));
  if (found.partner) {
    parts.push(el("h3", {}, "Merged into"), el("a", { href: address("document", { id: found.partner.id }) }, found.partner.id),
      el("p", { class: "lead" }, `Jaccard similarity ${found.partner.similarity.toFixed(3)} of word n-grams; - stands there, + here`), differences(found.partner.changes, 0));
  }
  if (found.merged.documents) parts.push(el("p", {}, el("a", { href: address("duplicates", { id: found.id }) }, `${plural(found.merged.documents, "document")} merged into it`)));
  if (found.text.length) {
    parts.push(el("h3", {}, "The text, with what was marked, cut and replaced"), el("div", { class: "text" }, found.text.map(piece)));
    if (found.left_out) parts.push(el("p", { class: "lead" }, `and ${plural(found.left_out, "more character")}`));
  }
  if (found.scores.length) {
    const head = el("tr", {}, ["rule", "score", "threshold", ""].map((title, at) => el("th", { class: at === 1 && "n" }, title)));
    const rows = found.scores.map((row) => el("tr", { class: row.passed ? null : "fails" },
      el("td", {}, el("a", { href: address("thresholds", { rule: row.rule }) }, row.rule)), el("td", { class: "n" }, digits(row.score)), el("td", {}, limit(row)), el("td", {}, row.passed ? "" : "fails")));
    parts.push(el("h3", {}, "Every score"), el("div", { class: "scroll" }, el("table", {}, el("thead", {}, head), el("tbody", {}, rows))));
  }
  view.replaceChildren(el("section", { class: "page" }, parts));
}

function limit(row) {
  const said = [["at_least", "at least"], ["at_most", "at most"], ["one_of", "one of"], ["none_of", "none of"]]
    .filter(([name]) => row[name] !== undefined && row[name] !== null)
    .map(([name, label]) => `${label} ${Array.isArray(row[name]) ? row[name].slice(0, 6).join(", ") : digits(row[name])}`);
  return said.join(", ") || "off";
}

function piece(part) {
  if (!part.marks.length) return part.text;
  const fired = part.marks.some((mark) => mark.startsWith("made "));
  const inside = part.became === null ? part.text : [el("del", {}, part.text), part.became ? el("ins", {}, part.became) : null];
  return el("mark", { class: fired ? "fired" : null, title: part.marks.join("; ") }, inside);
}

// What the address asks for.

const views = { documents, thresholds, duplicates, document: page };

function failed(error) {
  view.append(el("p", { class: "error" }, error.message));
}

async function show() {
  asked += 1;
  const [name, query] = (location.hash.slice(1) || "documents").split(/\?(.*)/s);
  document.querySelectorAll("nav a").forEach((link) => {
    if (link.hash.slice(1) === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  });
  try {
    about ??= await ask("run");
    document.getElementById("run").textContent = `Seedbed · ${about.run} · ${plural(about.documents, "record")}`;
    await (views[name] || documents)(new URLSearchParams(query || ""));
    view.dataset.ready = name;
  } catch (error) {
    failed(error);
  }
}

// Keys: / looks for words, j and k go through what is listed.

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  if (event.key === "/") {
    const field = document.querySelector("input[type=search]");
    if (field) { event.preventDefault(); field.focus(); field.select(); }
  } else if (event.key === "j" || event.key === "k") {
    const links = [...document.querySelectorAll(".hit > a, .rows a")];
    const next = links[links.indexOf(document.activeElement) + (event.key === "j" ? 1 : -1)];
    if (next) { next.focus(); next.scrollIntoView({ block: "nearest" }); }
  }
});

addEventListener("hashchange", () => { delete view.dataset.ready; show(); scrollTo(0, 0); });
show();
