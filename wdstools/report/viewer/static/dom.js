"use strict";
// Elements, texts and answers. Whatever comes from a dataset becomes text (textContent), never markup.

export const at = id => document.getElementById(id);

/** An element with a text, a class, attributes and children; children that are strings become text. */
export const make = (tag, { text, kind, ...rest } = {}, ...children) => {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  if (kind) element.className = kind;
  for (const [name, value] of Object.entries(rest)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
};

const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
const DIRECTION = /[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

/** A readable caption: control characters become their visible symbols; it keeps its own direction. */
export const readable = text => text.replace(CONTROL, c => {
  const code = c.charCodeAt(0);
  return code < 0x20 ? String.fromCharCode(0x2400 + code) : code === 0x7f ? "\u2421" : "\ufffd";
});

/** A name that cannot be mistaken for another: invisible characters are written out. */
export const exact = text => text.replace(/\n|\t/g, c => c === "\n" ? "\u240a" : "\u2409").replace(CONTROL, c => readable(c))
  .replace(DIRECTION, c => "<U+" + c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0") + ">");

export const whole = number => number.toLocaleString("en");

/** Bytes for people, in powers of 1000, as the command line writes them. */
export const size = bytes => {
  if (bytes < 999.5) return Math.round(bytes) + " B";
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes / 1000, unit = 0;
  while (value >= 999.95 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return value.toLocaleString("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 }) + " " + units[unit];
};

export const counted = (number, noun) => whole(number) + " " + noun + (number === 1 ? "" : "s");

export class Refused extends Error {
  constructor(document) {
    super(document.message || "the server does not answer");
    this.document = document;
  }
}

/** A response of the server; throws Refused with its error. */
export const ask = async (path, { signal, method } = {}) => {
  let answer;
  try {
    answer = await fetch(path, { signal, method, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused({ message: "the page's server has ended: start wdstools view again", code: "gone" });
  }
  let document;
  try {
    document = await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused({ message: "the answer was cut off" });
  }
  if (!answer.ok) throw new Refused(document);
  return document;
};

export const pause = milliseconds => new Promise(done => setTimeout(done, milliseconds));

/** Announces something to screen readers. */
export const say = text => { at("said").textContent = ""; at("said").textContent = text; };

export const problem = text => {
  at("problem").textContent = text || "";
  at("problem").hidden = !text;
};

/** A button that copies a text, and says so. */
export const copier = (text, what) => make("button", {
  type: "button", kind: "copy", text: "Copy", "aria-label": "Copy " + what,
  onclick: async event => {
    const button = event.currentTarget;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      say(what + " copied");
    } catch {
      const range = document.createRange();
      range.selectNodeContents(button.parentElement.querySelector("code") || button);
      const chosen = getSelection();
      chosen.removeAllRanges();
      chosen.addRange(range);
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1600);
  },
});

/** Dialogs that close with their button or a click outside them. */
export const closable = dialog => {
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
};

/** One bar of a list: name, number, and length relative to the longest. */
export const bar = (name, number, most, { text, onclick } = {}) => {
  const fill = make("span", { kind: "fill" });
  fill.style.width = (most ? Math.max(number ? 0.6 : 0, 100 * number / most) : 0) + "%";
  const label = make("span", { kind: "bar-name", dir: "auto", text: name, title: name });
  return make("li", {}, make(onclick ? "button" : "span", { kind: "bar-row", type: onclick ? "button" : null, onclick },
    label, make("span", { kind: "track" }, fill), make("span", { kind: "bar-number", text: text ?? whole(number) })));
};
