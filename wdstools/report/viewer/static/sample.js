"use strict";
// One sample: its picture, and everything that is known about it.

import { ask, at, copier, counted, exact, make, pause, readable, say, size, whole } from "./dom.js";

const TEXTS = new Set(["txt", "cls", "json"]);
const MOST_TEXT = 200_000;

export class SampleView {
  constructor({ gallery, levels, closed }) {
    this.gallery = gallery;
    this.levels = levels;
    this.level = "exact";
    this.dialog = at("sample");
    this.index = -1;
    this.number = -1;
    at("close").addEventListener("click", () => this.dialog.close());
    at("previous").addEventListener("click", () => this.walk(-1));
    at("next").addEventListener("click", () => this.walk(1));
    at("actual").addEventListener("click", () => this.actual());
    this.dialog.addEventListener("close", () => { this.number = -1; at("picture").removeAttribute("src"); closed(this.index); });
    this.dialog.addEventListener("keydown", event => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, pre")) return;
      if (event.key === "ArrowLeft") this.walk(-1);
      else if (event.key === "ArrowRight") this.walk(1);
      else if (event.key === "1") this.actual();
      else return;
      event.preventDefault();
    });
    const picture = at("picture");
    picture.addEventListener("load", () => picture.classList.add("loaded"));
    picture.addEventListener("error", () => { if (picture.getAttribute("src")) this.noPicture("This picture cannot be shown."); });
  }

  /** Show the picture pixel for pixel, or scaled to fit. */
  actual(on = at("actual").getAttribute("aria-pressed") !== "true") {
    at("actual").setAttribute("aria-pressed", String(on));
    at("frame").classList.toggle("actual", on);
  }

  noPicture(text) {
    at("picture").hidden = true;
    at("no-picture").hidden = !text;
    at("no-picture").textContent = text;
  }

  /** Show a sample by its number; `index` is its place in the gallery, -1 if it is not in it. */
  async show(number, index) {
    this.number = number;
    this.index = index;
    if (!this.dialog.open) this.dialog.showModal();
    this.noPicture("");
    at("picture").hidden = false;
    at("picture").classList.remove("loaded");
    at("picture").removeAttribute("src");
    at("details").setAttribute("aria-busy", "true");
    at("previous").disabled = index <= 0;
    at("next").disabled = index < 0 || index + 1 >= this.gallery.total;
    let sample;
    try {
      sample = await ask(`api/sample/${number}`);
    } catch (error) {
      if (this.number !== number) return;
      this.settled();
      at("picture").hidden = true;
      at("details").replaceChildren(make("h2", { id: "sample-key", text: "This sample cannot be shown" }), make("p", { kind: "bad", text: error.message }));
      return;
    }
    if (this.number !== number) return;
    this.draw(sample);
    this.settled();
    say(exact(sample.key));
    await this.look(number, sample);
  }

  /** Mark the details as complete, and show the position of the sample. */
  settled() {
    at("details").setAttribute("aria-busy", "false");
    at("position").textContent = this.index < 0 ? "" : `${whole(this.index + 1)} of ${whole(this.gallery.total)}`;
  }

  /** Show whether the sample is whole, once it is read. */
  async look(number, sample) {
    let state;
    try {
      state = await ask(`api/state/${number}`);
    } catch (error) {
      state = { whole: false, message: error.message };
    }
    if (this.number !== number) return;
    at("whole").textContent = state.whole ? `Read just now: ${state.proof}.` : "";
    if (!state.whole && !sample.findings.length) {
      at("details").querySelector(".chips").after(make("div", { kind: "finding", role: "alert" },
        make("b", { text: "Not as it was packed" + (state.code ? ": " + state.code : "") }), make("p", { text: exact(state.message) }),
        ...(state.expected || state.got ? [make("p", { kind: "soft" }, make("code", { text: `expected ${exact(state.expected || "–")}, got ${exact(state.got || "–")}` }))] : [])));
    }
  }

  async walk(step) {
    const there = this.index + step;
    if (this.index < 0 || there < 0 || there >= this.gallery.total) return;
    const sample = await this.gallery.sampleAt(there);
    if (!sample) return;
    history.replaceState(null, "", "#" + sample.number);
    await this.show(sample.number, there);
    this.gallery.go(there);
  }

  draw(sample) {
    const caption = readable(sample.caption || "");
    const picture = at("picture");
    if (sample.picture) {
      picture.alt = caption ? caption.slice(0, 300) : exact(sample.key);
      picture.src = `picture/${sample.number}`;
    } else this.noPicture("This sample has no picture.");
    const chips = [sample.split, sample.label === null ? null : exact(sample.label),
      sample.width === null ? null : `${sample.width} × ${sample.height}`, sample.format, size(sample.bytes)];
    at("details").replaceChildren(
      make("h2", { id: "sample-key" }, make("bdi", { text: exact(sample.key) })),
      make("ul", { kind: "chips", role: "list" }, ...chips.filter(Boolean).map(text => make("li", {}, make("bdi", { text })))),
      ...this.damage(sample),
      ...(caption ? [make("p", { kind: "text", dir: "auto", text: caption })] : []),
      this.alike(sample),
      ...this.columns(sample),
      this.members(sample),
      this.place(sample),
      this.commands(sample),
    );
    at("details").parentElement.scrollTop = this.dialog.scrollTop = 0;
  }

  damage(sample) {
    return sample.findings.map(finding => make("div", { kind: "finding", role: "note" },
      make("b", { text: finding.kind + (finding.cause ? ": " + finding.cause : "") }), make("p", { text: exact(finding.message) }),
      ...(finding.expected || finding.got ? [make("p", { kind: "soft" }, make("code", { text: `expected ${finding.expected || "–"}, got ${finding.got || "–"}` }))] : [])));
  }

  members(sample) {
    const rows = sample.members.map(member => {
      const row = make("tr", {}, make("th", { scope: "row" }, make("code", { text: exact(member.ext) })), make("td", { kind: "number", text: size(member.bytes) }),
        make("td", { kind: "number soft", text: "at " + whole(member.offset) }));
      const acts = make("td", { kind: "number" });
      const text = TEXTS.has(member.ext) || TEXTS.has(member.ext.split(".").pop());
      if (text && member.bytes <= MOST_TEXT) acts.append(make("button", { type: "button", kind: "small", text: "Show", "aria-label": "Show " + exact(member.ext),
        onclick: event => this.reveal(event.currentTarget, row, sample.number, member) }));
      acts.append(make("a", { href: `member/${sample.number}/${encodeURIComponent(member.ext)}`, text: "Save", download: true }));
      row.append(acts);
      return row;
    });
    return section("Members", make("table", { kind: "members" }, make("tbody", {}, ...rows)));
  }

  /** Its added columns: scores, captions, the first numbers of an embedding. */
  columns(sample) {
    const shown = ({ type, value }) => {
      if (value === null) return "–";
      if (!Array.isArray(value)) return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(6))) : String(value);
      const all = Number(type.match(/\[(\d+)\]/)[1]);
      return value.map(number => typeof number === "number" ? Number(number.toPrecision(4)) : number).join(", ") + (all > value.length ? `, … ${counted(all, "number")}` : "");
    };
    const rows = sample.columns.map(column => make("tr", {}, make("th", { scope: "row" }, make("code", { text: column.name })),
      make("td", { kind: "value", dir: "auto", text: readable(shown(column)) }), make("td", { kind: "number soft", text: column.type })));
    const problem = sample.columns_error ? [make("p", { kind: "soft", text: exact(sample.columns_error) })] : [];
    return rows.length || problem.length ? [section("Columns", ...problem, make("table", { kind: "members columns" }, make("tbody", {}, ...rows)))] : [];
  }

  async reveal(button, row, number, member) {
    if (row.nextElementSibling?.classList.contains("shown")) {
      row.nextElementSibling.remove();
      button.textContent = "Show";
      return;
    }
    let text;
    try {
      const answer = await fetch(`member/${number}/${encodeURIComponent(member.ext)}`, { cache: "no-store" });
      if (!answer.ok) throw new Error((await answer.json()).message);
      text = new TextDecoder().decode(await answer.arrayBuffer());
      if (member.ext.endsWith("json")) text = JSON.stringify(JSON.parse(text), null, 2);
    } catch (error) {
      text = text ?? String(error.message || error);
    }
    button.textContent = "Hide";
    row.after(make("tr", { kind: "shown" }, make("td", { colspan: 4 }, make("pre", { tabindex: 0, dir: "auto", text: readable(text) }))));
  }

  place(sample) {
    const end = sample.offset === null || sample.length === null ? null : sample.offset + sample.length;
    const facts = [
      ["Shard", exact(sample.shard.path)],
      ["Row", `${whole(sample.shard.row)} of ${whole(sample.shard.samples)}`],
      ["Bytes", end === null ? null : `${whole(sample.offset)} to ${whole(end)} of ${whole(sample.shard.bytes)}`],
      ["Address", exact(sample.shard.url)],
      ["Source", sample.source === null ? null : exact(sample.source)],
      ["XXH3-128", sample.xxh3_128],
      ["SHA-256", sample.sha256],
      ["Shard’s SHA-256", sample.shard.sha256],
    ].filter(([, value]) => value);
    return section("Location", make("dl", { kind: "facts" }, ...facts.flatMap(([name, value]) => [
      make("dt", { text: name }), make("dd", {}, make("code", { text: value }))])),
      make("p", { kind: "soft", id: "whole", text: "Reading it…" }));
  }

  commands(sample) {
    return section("Commands", make("ul", { kind: "commands", role: "list" }, ...sample.commands.map(command => make("li", {},
      make("span", { kind: "soft", text: command.what }),
      make("div", { kind: "command" }, make("code", { tabindex: 0, text: exact(command.text) }), copier(command.text, command.verb))))));
  }

  /** The samples that are the same image as this one, at a chosen level. */
  alike(sample) {
    const list = make("div", { kind: "alike" });
    const choice = make("select", { "aria-label": "Level", onchange: event => { this.level = event.currentTarget.value; this.findAlike(sample.number, list); } },
      ...this.levels.map(level => make("option", { value: level, text: level, selected: level === this.level })));
    this.findAlike(sample.number, list);
    return section("Same images", make("div", { kind: "row" }, make("span", { kind: "soft", text: "compared at level" }), choice), list);
  }

  async findAlike(number, list) {
    list.replaceChildren(make("p", { kind: "soft", text: "Looking…" }));
    const level = this.level;
    for (;;) {
      let found;
      try {
        found = await ask(`api/alike/${number}?level=${level}`);
      } catch (error) {
        list.replaceChildren(make("p", { kind: "bad", text: error.message }));
        return;
      }
      if (this.number !== number || this.level !== level) return;
      if (found.state === "working") { await pause(400); continue; }
      if (found.state !== "ready") {
        list.replaceChildren(make("p", { kind: "soft", text: sentence(found.message) }));
        if (found.hint) list.append(make("div", { kind: "command" }, make("code", { text: found.hint }), copier(found.hint, "command")));
        return;
      }
      const others = found.samples.filter(one => one.number !== number);
      if (!others.length) list.replaceChildren(make("p", { kind: "soft", text: "No other sample is the same." }));
      else {
        list.replaceChildren(make("p", { kind: "soft", text: counted(found.size - 1, "other sample") + (found.size - 1 > others.length ? `, ${whole(others.length)} shown` : "") }),
          make("ul", { kind: "small-tiles", role: "list" }, ...others.map(one => make("li", {}, make("a", { href: "#" + one.number,
            onclick: event => { event.preventDefault(); history.replaceState(null, "", "#" + one.number); this.show(one.number, -1); } },
            make("img", { src: `thumb/${one.number}`, alt: exact(one.key || ""), loading: "lazy" }),
            make("span", { text: one.split }), make("bdi", { text: exact(one.key || "") }))))));
      }
      return;
    }
  }
}

const sentence = text => text.charAt(0).toUpperCase() + text.slice(1) + ".";
const section = (title, ...children) => make("section", {}, make("h3", { text: title }), ...children);
