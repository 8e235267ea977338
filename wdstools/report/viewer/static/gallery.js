"use strict";
// A gallery of any length: only visible rows exist. Positions are rows, not pixels of the page, because no browser scrolls
// tens of millions of pixels: the scroll bar covers the whole gallery, and small movements scroll by pixels.

import { ask, at, exact, make, pause, readable, Refused, size as bytesText, whole } from "./dom.js";

const CHUNK = 60, GAP = 12, TEXT = 62, FAR = 4_000_000;
const SIDES = { s: 104, m: 164, l: 264 };

export class Gallery {
  constructor({ open, told }) {
    this.box = at("gallery");
    this.space = at("space");
    this.list = at("tiles");
    this.open = open;
    this.told = told;
    this.least = "m";
    this.query = "";
    this.total = 0;
    this.finished = true;
    this.focus = 0;
    this.chunks = new Map();
    this.asked = new Map();
    this.shown = new Map();
    this.search = new AbortController();
    this.top = 0;         // pixels from the gallery's true beginning
    this.last = 0;        // the last position of the scroll bar
    this.columns = 1;
    this.box.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.box.addEventListener("keydown", event => this.key(event));
    new ResizeObserver(() => this.layout()).observe(this.box);
  }

  /** Show the samples that new filters leave. */
  async show(query) {
    this.search.abort();
    this.search = new AbortController();
    this.query = query;
    this.chunks.clear();
    this.asked.clear();
    this.total = 0;
    this.finished = false;
    this.focus = 0;
    this.clear();
    this.top = this.last = this.box.scrollTop = 0;
    this.box.setAttribute("aria-busy", "true");
    await this.follow(this.search.signal);
  }

  /** Poll while the search is running. */
  async follow(signal) {
    const inGroups = new URLSearchParams(this.query).get("same");
    for (let turn = 0; ; turn += 1) {
      let found;
      try {
        found = await ask(`api/samples?${this.query}&start=0&count=${turn ? 0 : CHUNK}`, { signal });
      } catch (error) {
        if (error.name === "AbortError") return;
        this.box.setAttribute("aria-busy", "false");
        this.finished = true;
        this.layout();
        this.told({ error: error instanceof Refused ? error.document : { message: String(error) } });
        return;
      }
      if (inGroups && !found.finished) {  // they have no order until all have arrived
        this.told({ ...found, total: 0 });
        await pause(300);
        turn = -1;
        continue;
      }
      if (!turn && found.samples.length) this.chunks.set(0, found.samples);
      this.finished = found.finished;
      if (found.total !== this.total || !turn || found.finished) {
        const more = found.total > this.total && this.chunks.get(0)?.length < CHUNK;
        this.total = found.total;
        if (more) this.chunks.delete(0);
        this.layout();
      }
      this.told(found);
      if (found.finished) break;
      await pause(200);
      if (signal.aborted) return;
    }
    this.box.setAttribute("aria-busy", "false");
  }

  resize(name) {
    this.least = name;
    const row = Math.floor(this.top / this.step) * this.columns;
    this.layout();
    this.go(row);
  }

  get step() { return this.side + TEXT + GAP; }
  get rows() { return Math.ceil(this.total / this.columns); }
  get height() { return this.rows * this.step + GAP; }
  get reach() { return Math.max(0, this.height - this.box.clientHeight); }

  layout() {
    const width = this.box.clientWidth - 2 * GAP, least = SIDES[this.least];
    if (width <= 0) return;
    this.columns = Math.max(this.least === "l" ? 1 : 2, Math.floor((width + GAP) / (least + GAP)));
    this.side = Math.floor((width + GAP) / this.columns) - GAP;
    this.space.style.height = Math.min(this.height, FAR) + "px";
    this.top = Math.min(this.top, this.reach);
    this.clear();
    this.draw();
  }

  /** From the position of the bar to the true one: large moves in proportion, small ones by pixels. */
  scrolled() {
    const now = this.box.scrollTop, limit = this.box.scrollHeight - this.box.clientHeight, moved = now - this.last;
    this.last = now;
    if (this.height <= FAR) this.top = now;
    else if (now <= 0) this.top = 0;
    else if (now >= limit - 1) this.top = this.reach;
    else if (Math.abs(moved) > 3 * this.box.clientHeight) this.top = this.reach * now / limit;
    else this.top = Math.max(0, Math.min(this.reach, this.top + moved));
    this.draw();
    if (this.height > FAR) {
      clearTimeout(this.settling);
      this.settling = setTimeout(() => {
        // the bar may have moved before its event arrived: do not undo what the user did
        if (this.box.scrollTop === this.last) this.settle();
        else this.scrolled();
      }, 150);
    }
  }

  /** Move the bar to match the position. */
  settle() {
    const limit = this.box.scrollHeight - this.box.clientHeight;
    this.box.scrollTop = this.height <= FAR ? this.top : limit * this.top / (this.reach || 1);
    this.last = this.box.scrollTop;
    this.draw();
  }

  /** Scroll a sample into view. */
  go(index) {
    const first = Math.floor(index / this.columns) * this.step, view = this.box.clientHeight;
    if (first < this.top) this.top = Math.max(0, first - GAP);
    else if (first + this.step > this.top + view) this.top = Math.min(this.reach, first + this.step + GAP - view);
    this.settle();
  }

  clear() {
    this.list.replaceChildren();
    this.shown.clear();
  }

  draw() {
    const view = this.box.clientHeight, base = this.box.scrollTop - this.top;
    const first = Math.max(0, Math.floor(this.top / this.step) - 1) * this.columns;
    const last = Math.min(this.total, Math.ceil((this.top + view) / this.step + 1) * this.columns);
    for (const [index, tile] of this.shown) {
      if (index < first || index >= last) { tile.remove(); this.shown.delete(index); }
    }
    for (let index = first; index < last; index += 1) {
      let tile = this.shown.get(index);
      if (!tile) {
        tile = this.empty(index);
        this.shown.set(index, tile);
        this.list.append(tile);
      }
      const row = Math.floor(index / this.columns), column = index % this.columns;
      tile.style.transform = `translate(${GAP + column * (this.side + GAP)}px, ${base + GAP + row * this.step}px)`;
    }
    for (let chunk = Math.floor(first / CHUNK); chunk * CHUNK < last; chunk += 1) this.need(chunk);
  }

  async need(chunk) {
    if (this.chunks.has(chunk)) { this.fill(chunk); return; }
    if (this.asked.has(chunk)) return;
    const signal = this.search.signal;
    this.asked.set(chunk, true);
    try {
      await pause(this.asked.size > 4 ? 120 : 0);   // while the bar is being dragged
      if (signal.aborted || !this.sees(chunk)) return;
      const found = await ask(`api/samples?${this.query}&start=${chunk * CHUNK}&count=${CHUNK}`, { signal });
      if (found.samples.length === Math.min(CHUNK, this.total - chunk * CHUNK)) this.chunks.set(chunk, found.samples);
      if (this.chunks.size > 200) this.forget(chunk);
      this.fill(chunk, found.samples);
    } catch (error) {
      if (error.name !== "AbortError") this.told({ error: error.document || { message: String(error) } });
    } finally {
      if (!signal.aborted) this.asked.delete(chunk);
    }
  }

  sees(chunk) {
    for (const index of this.shown.keys()) if (Math.floor(index / CHUNK) === chunk) return true;
    return false;
  }

  forget(near) {
    for (const chunk of this.chunks.keys()) if (Math.abs(chunk - near) > 60) this.chunks.delete(chunk);
  }

  fill(chunk, samples = this.chunks.get(chunk)) {
    samples.forEach((sample, place) => {
      const tile = this.shown.get(chunk * CHUNK + place);
      if (tile && !tile.dataset.number) this.dress(tile, sample, chunk * CHUNK + place);
    });
  }

  /** The sample at a place of the gallery, if it is known. */
  sample(index) {
    return this.chunks.get(Math.floor(index / CHUNK))?.[index % CHUNK];
  }

  async sampleAt(index) {
    if (!this.sample(index)) {
      const chunk = Math.floor(index / CHUNK);
      const found = await ask(`api/samples?${this.query}&start=${chunk * CHUNK}&count=${CHUNK}`);
      this.chunks.set(chunk, found.samples);
    }
    return this.sample(index);
  }

  empty(index) {
    const tile = make("li", { kind: "tile", "aria-setsize": this.total, "aria-posinset": index + 1 });
    tile.style.width = this.side + "px";
    tile.style.height = this.side + TEXT + "px";
    const frame = make("span", { kind: "frame" });
    frame.style.height = this.side + "px";
    tile.append(frame);
    return tile;
  }

  dress(tile, sample, index) {
    tile.dataset.number = sample.number;
    tile.classList.toggle("odd", sample.alike > 0 && sample.group % 2 === 1);
    const frame = tile.firstElementChild;
    if (sample.error) {
      tile.append(make("span", { kind: "caption bad", text: sample.error }));
      frame.classList.add("broken");
      return;
    }
    const caption = readable((sample.caption || "").replace(/\s+/g, " ").trim());
    const link = make("a", { href: "#" + sample.number, tabindex: index === this.focus ? 0 : -1,
      onclick: event => { if (!event.ctrlKey && !event.metaKey && !event.shiftKey) { event.preventDefault(); this.open(index, sample); } },
      onfocus: () => { this.focused(index); } });
    const dense = this.side * devicePixelRatio > 300;
    const image = make("img", { alt: caption ? caption.slice(0, 150) : exact(sample.key), decoding: "async", draggable: "false",
      src: `thumb/${sample.number}?side=${dense ? 512 : 256}` });
    image.addEventListener("load", () => frame.classList.add("loaded"));
    image.addEventListener("error", () => {
      frame.classList.add("broken");
      image.remove();
      frame.append(make("span", { text: "no picture" }));
    });
    frame.append(image);
    if (sample.damaged) frame.append(make("span", { kind: "flag", text: "damaged" }));
    if (sample.alike) frame.append(make("span", { kind: "flag same", text: sample.alike + " alike", title: "group " + (sample.group + 1) }));
    const about = [sample.label === null ? "" : exact(sample.label), sample.width === null ? "" : `${sample.width}×${sample.height}`];
    link.append(frame, make("span", { kind: "caption", dir: "auto", text: caption || exact(sample.key) }),
      make("span", { kind: "about" }, make("bdi", { text: about[0] || sample.split }),
        make("span", { text: about[1] || bytesText(sample.bytes) })));
    tile.append(link);
    if (this.wanted === index) { this.wanted = undefined; link.focus({ preventScroll: true }); }
  }

  focused(index) {
    this.shown.get(this.focus)?.querySelector("a")?.setAttribute("tabindex", -1);
    this.focus = index;
    this.shown.get(index)?.querySelector("a")?.setAttribute("tabindex", 0);
  }

  /** Move the keyboard focus to a sample. */
  moveTo(index) {
    const there = Math.max(0, Math.min(this.total - 1, index));
    this.go(there);
    this.focused(there);
    const link = this.shown.get(there)?.querySelector("a");
    if (link) link.focus({ preventScroll: true });
    else this.wanted = there;
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.total) return;
    const page = Math.max(1, Math.floor(this.box.clientHeight / this.step)) * this.columns;
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns, PageDown: page, PageUp: -page };
    if (event.key in moves) {
      const there = this.focus + moves[event.key];
      if (there >= 0 && there < this.total) this.moveTo(there);
      else if (Math.abs(moves[event.key]) > 1) this.moveTo(there < 0 ? this.focus % this.columns : this.total - 1);
    } else if (event.key === "Home") this.moveTo(0);
    else if (event.key === "End") this.moveTo(this.total - 1);
    else return;
    event.preventDefault();
  }

  describe() {
    return whole(this.total);
  }
}
