"use strict";
// Statistics of the shown samples, and the check.

import { ask, at, bar, counted, exact, make, pause, say, size, whole } from "./dom.js";

const FEW = 12;
let turn = 0;

/** Draw the statistics of the filtered samples; `choose` filters them further. */
export const showStats = async (query, about, choose) => {
  const mine = turn += 1, body = at("stats-body");
  at("stats").showModal();
  body.replaceChildren(make("p", { kind: "soft", text: "Counting…" }));
  for (;;) {
    let found;
    try {
      found = await ask(`api/stats?${query}`);
    } catch (error) {
      body.replaceChildren(make("p", { kind: "bad", text: error.message }));
      return;
    }
    if (mine !== turn || !at("stats").open) return;
    if (found.stats) body.replaceChildren(...draw(found, about, choose));
    else body.replaceChildren(make("p", { kind: "soft", text: found.groups?.message || "Looking for images that are the same…" }));
    if (found.finished) return;
    await pause(300);
  }
};

const draw = (found, about, choose) => {
  const stats = found.stats;
  const facts = [["samples", whole(stats.samples)], ["payload", size(stats.bytes)],
    ["captions", stats.samples ? Math.round(100 * stats.captioned / stats.samples) + " %" : "–"], ["labels", whole(stats.labels.filter(Boolean).length)]];
  const parts = [make("ul", { kind: "figures", role: "list" }, ...facts.map(([name, text]) => make("li", {}, make("b", { text }), make("span", { text: name }))))];
  if (!found.finished) parts.push(make("p", { kind: "soft", text: `Counting: ${whole(found.scanned)} of ${counted(found.shards, "shard")}…` }));
  for (const one of found.unread) parts.push(make("p", { kind: "bad", text: `Not counted: ${exact(one.shard)}, ${counted(one.samples, "sample")}: ${one.message}` }));
  const charts = [splitsAndLabels(stats, choose),
    shapes(stats), histogram("Width, pixels", stats.widths, whole), histogram("Height, pixels", stats.heights, whole),
    histogram("Bytes of an image", stats.image_bytes, size), histogram("Caption, characters", stats.caption_lengths, whole), tags(stats, choose)];
  parts.push(make("div", { kind: "charts" }, ...charts.flat().filter(Boolean)));
  return parts;
};

const chart = (title, note, ...children) => make("section", { kind: "chart" }, make("h3", { text: title }), note ? make("p", { kind: "soft", text: note }) : null, ...children);

const few = rows => {
  const list = make("ul", { kind: "bars", role: "list" }, ...rows.slice(0, FEW));
  if (rows.length <= FEW) return [list];
  const rest = make("button", { type: "button", kind: "small", text: `Show ${whole(rows.length - FEW)} more`, onclick: () => { list.append(...rows.slice(FEW)); rest.remove(); } });
  return [list, rest];
};

const splitsAndLabels = (stats, choose) => {
  const splits = Object.entries(stats.counts).map(([name, labels]) => [name, Object.values(labels).reduce((a, b) => a + b, 0)]);
  const most = Math.max(...splits.map(([, n]) => n), 0);
  const made = [chart("Splits", "", ...few(splits.map(([name, n]) => bar(name, n, most, { onclick: () => choose({ split: name }) }))))];
  const labels = stats.labels.map(label => [label, Object.values(stats.counts).reduce((sum, of) => sum + (of[label] || 0), 0)]);
  if (labels.length > 1 || (labels.length === 1 && labels[0][0])) {
    const top = Math.max(...labels.map(([, n]) => n));
    made.push(chart("Labels", "", ...few(labels.map(([name, n]) => bar(name ? exact(name) : "(no label)", n, top, { onclick: () => choose({ label: name }) })))));
  }
  return made;
};

const shapes = stats => {
  if (!stats.shapes.length) return null;
  const most = stats.shapes[0].images;
  return chart("Most common sizes", "", ...few(stats.shapes.map(one => bar(`${one.width} × ${one.height}`, one.images, most))));
};

const histogram = (title, found, shown) => {
  if (!found) return null;
  if (found.least === found.most) return chart(title, `${shown(found.least)}, all ${whole(found.values)}`);
  const most = Math.max(...found.counts);
  let edges = found.edges.map(edge => shown(edge).replace(".0 ", " "));
  if (new Set(edges).size < edges.length) edges = found.edges.map(whole);
  const mean = shown === size ? size(found.mean) : found.mean.toLocaleString("en", { maximumFractionDigits: 0 });
  return chart(title, `${shown(found.least)} to ${shown(found.most)}, median ${shown(found.median)}, mean ${mean}`,
    make("ul", { kind: "bars", role: "list" }, ...found.counts.map((n, i) => bar(
      found.edges[i + 1] === found.edges[i] + 1 ? edges[i] : `${edges[i]} to <${edges[i + 1]}`, n, most))));
};

const tags = (stats, choose) => {
  if (!stats.hashtags.length) return null;
  const most = stats.hashtags[0].captions;
  return chart("Hashtags", `${stats.hashtags_exact ? "" : "at least "}${whole(stats.distinct_hashtags)} different`,
    ...few(stats.hashtags.map(one => bar(exact(one.tag), one.captions, most, { onclick: () => choose({ q: one.tag }) }))));
};

/** The dialog of the check: what was found, and a button that starts another. */
export class CheckView {
  constructor({ about, changed, showDamaged }) {
    this.about = about;
    this.changed = changed;
    this.showDamaged = showDamaged;
    this.badge(about.check);
    if (about.check.state === "working") this.follow();
  }

  open() {
    this.draw(this.about.check);
    at("check").showModal();
  }

  badge(check) {
    const badge = at("check-badge");
    badge.hidden = check.state === "none";
    badge.textContent = check.state === "working" ? "…" : check.state === "done" ? (check.findings ? whole(check.findings) : "✓") : "!";
    badge.className = "badge" + (check.findings || check.state === "failed" ? " bad" : "");
    badge.title = check.state === "done" ? counted(check.findings, "finding") : "";
  }

  draw(check) {
    const parts = [];
    if (check.state === "working") {
      const text = check.total ? `${check.unit === "bytes" ? size(check.done) : whole(check.done)} of ${check.unit === "bytes" ? size(check.total) : whole(check.total)}` : "";
      parts.push(make("p", { text: "Checking… " + text }), make("progress", { max: check.total || 1, value: check.total ? check.done : null, "aria-label": "Check" }));
    } else if (check.state === "failed") parts.push(make("p", { kind: "bad", text: "The check could not be run: " + check.message }));
    else if (check.state === "done") {
      parts.push(make("p", {}, make("b", { kind: check.findings ? "bad" : "good", text: check.findings ? counted(check.findings, "finding") : "Nothing is damaged" }),
        ` at level ${check.level}` + (check.source ? `, from ${exact(check.source)}` : "")));
      if (check.findings) parts.push(make("button", { type: "button", kind: "primary", text: "Show damaged samples", onclick: () => { at("check").close(); this.showDamaged(); } }));
    } else parts.push(make("p", { text: "Nothing has been checked yet." }));
    if (check.elsewhere.length) {
      parts.push(make("h3", { text: "Not in a shard" }), make("ul", { kind: "findings" }, ...check.elsewhere.map(one => make("li", { text: exact(one.text) }))));
    }
    if (check.state !== "working") {
      const level = make("select", { "aria-label": "Level" }, ...this.about.check_levels.map(one => make("option", { value: one, text: one, selected: one === "digest" })));
      parts.push(make("div", { kind: "row" }, level, make("button", { type: "button", id: "start-check", text: check.state === "done" ? "Check again" : "Check now", onclick: () => this.start(level.value) })),
        make("p", { kind: "soft", text: `size checks names and sizes; digest reads every byte (${size(this.about.totals.bytes)}${this.about.local ? "" : ", from remote storage"}); samples also checks every header and caption; decode also decodes every image.` }));
    }
    at("check-body").replaceChildren(...parts);
  }

  async start(level) {
    try {
      this.update(await ask(`api/check?level=${level}`, { method: "POST" }));
      await this.follow();
    } catch (error) {
      at("check-body").append(make("p", { kind: "bad", text: error.message }));
    }
  }

  async follow() {
    for (;;) {
      await pause(300);
      const check = await ask("api/check");
      this.update(check);
      if (check.state !== "working") {
        say(check.state === "done" ? counted(check.findings, "finding") : check.message);
        this.changed();
        return;
      }
    }
  }

  update(check) {
    this.about.check = check;
    this.badge(check);
    if (at("check").open) this.draw(check);
  }
}
