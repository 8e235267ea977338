"use strict";
import { ask, at, closable, counted, exact, make, problem, size, whole } from "./dom.js";
import { Gallery } from "./gallery.js";
import { SampleView } from "./sample.js";
import { CheckView, showStats } from "./stats.js";

const FURTHER = ["side_min", "side_max", "bytes_min", "bytes_max", "where", "same"];
const FIELDS = ["q", "split", "label", ...FURTHER];
const NO_LABEL = "\u0000none";

/** The filters as they are in the address of the page; empty fields are left out. */
const query = () => {
  const found = new URLSearchParams();
  for (const name of FIELDS) {
    const value = at(name).value.trim();
    if (value) found.set(name, value === NO_LABEL ? "" : value);
  }
  if (at("damaged").checked) found.set("damaged", "1");
  return found.toString();
};

const restore = text => {
  const given = new URLSearchParams(text);
  for (const name of FIELDS) put(name, name === "label" && given.get(name) === "" ? NO_LABEL : given.get(name) ?? "");
  at("damaged").checked = given.get("damaged") === "1";
  if (FURTHER.some(name => given.get(name)) || at("damaged").checked) unfold(true);
};

/** Set a field; a choice that is missing from its list is added. */
const put = (name, value) => {
  const field = at(name);
  if (field.matches("select") && ![...field.options].some(option => option.value === value)) field.append(make("option", { value, text: exact(value) }));
  field.value = value;
};

const unfold = open => {
  at("further").hidden = !open;
  at("more").setAttribute("aria-expanded", String(open));
};

const countFilters = () => {
  const number = FURTHER.filter(name => at(name).value.trim()).length + (at("damaged").checked ? 1 : 0);
  at("more-badge").hidden = !number;
  at("more-badge").textContent = number;
};

const start = async () => {
  let about;
  try {
    about = await ask("api/about");
  } catch (error) {
    problem(error.message);
    return;
  }
  document.title = exact(about.name) + " · wdstools";
  at("name").replaceChildren(make("bdi", { text: exact(about.name) }));
  const total = about.totals;
  at("facts").textContent = [`version ${about.version}`, counted(total.samples, "sample"), counted(total.shards, "shard"), size(total.bytes)].join(" · ")
    + (about.where ? ` · where ${exact(about.where)}` : "");
  at("facts").title = `root digest ${about.root}\n${about.at}`;
  for (const split of about.splits) at("split").append(make("option", { value: split.name, text: `${split.name} (${whole(split.samples)})` }));
  for (const label of about.labels) at("label").append(make("option", { value: label, text: exact(label) }));
  at("label").append(make("option", { value: NO_LABEL, text: "(no label)" }));
  at("split").hidden = about.splits.length < 2;
  at("label").hidden = !about.labels.length;
  at("columns").hidden = !about.columns.length;
  at("columns").textContent = "Added columns: " + about.columns.join(", ");
  for (const level of about.levels) at("same").append(make("option", { value: level, text: `Groups, level ${level}` }));

  let waiting;
  const gallery = new Gallery({ open: (index, sample) => open(index, sample), told: found => told(found) });
  const view = new SampleView({
    gallery, levels: about.levels,
    closed: index => {
      if (location.hash) history.replaceState(null, "", location.pathname + location.search);
      if (index >= 0 && index < gallery.total) gallery.moveTo(index);
    },
  });
  const open = (index, sample) => {
    history.pushState(null, "", "#" + sample.number);
    view.level = at("same").value || view.level;
    view.show(sample.number, index);
  };
  const status = text => { if (at("status").textContent !== text) at("status").textContent = text; };
  const told = found => {
    if (found.error) {
      problem([found.error.message, found.error.where, found.error.expected && "expected " + found.error.expected, found.error.got && "got " + found.error.got].filter(Boolean).join(": "));
      status("");
      return;
    }
    const all = about.splits.reduce((sum, split) => sum + split.samples, 0);
    const groups = found.groups;
    const shown = found.total === all && found.finished ? counted(all, "sample") : `${whole(found.total)} of ${counted(all, "sample")}`;
    if (groups) status(groups.state === "working" ? "Looking for images that are the same…" : "");
    else status(found.finished ? shown : `${shown} so far, ${whole(found.scanned)} of ${counted(found.shards, "shard")} searched`);
    const unread = found.unread || [];
    problem(groups && groups.state !== "working" ? groups.message + (groups.hint ? ": " + groups.hint : "")
      : unread.length ? `Not shown: ${counted(unread.reduce((sum, one) => sum + one.samples, 0), "sample")} of ${counted(unread.length, "shard")} (${exact(unread[0].shard)}: ${unread[0].message})` : "");
    at("nothing").hidden = found.total > 0 || !found.finished;
    at("nothing-why").textContent = groups && groups.state !== "working" ? "" : query() ? "No sample matches these filters." : "This dataset has no samples.";
  };
  const apply = () => {
    clearTimeout(waiting);
    const text = query();
    countFilters();
    problem("");
    at("nothing").hidden = true;
    history.replaceState(null, "", location.pathname + (text ? "?" + text : "") + location.hash);
    return gallery.show(text);
  };
  const soon = () => { clearTimeout(waiting); waiting = setTimeout(apply, 220); };
  const clear = () => { for (const name of FIELDS) at(name).value = ""; at("damaged").checked = false; };
  const choose = chosen => {
    for (const [name, value] of Object.entries(chosen)) put(name, name === "label" && value === "" ? NO_LABEL : value);
    at("stats").close();
    apply();
  };
  const check = new CheckView({
    about,
    changed: () => { if (!view.dialog.open) apply(); },
    showDamaged: () => { clear(); at("damaged").checked = true; unfold(true); apply(); },
  });

  for (const name of FIELDS) at(name).addEventListener("input", at(name).matches("select") ? apply : soon);
  at("damaged").addEventListener("change", apply);
  at("filters").addEventListener("submit", event => { event.preventDefault(); apply(); });
  at("clear").addEventListener("click", () => { clear(); apply(); at("q").focus(); });
  at("more").addEventListener("click", () => unfold(at("further").hidden));
  at("open-stats").addEventListener("click", () => showStats(query(), about, choose));
  at("open-check").addEventListener("click", () => check.open());
  at("skip").addEventListener("click", event => { event.preventDefault(); gallery.moveTo(gallery.focus); });
  for (const radio of document.getElementsByName("size")) radio.addEventListener("change", () => gallery.resize(radio.value));
  for (const id of ["stats", "check", "help"]) closable(at(id));
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea") || document.querySelector("dialog[open]")) return;
    if (event.key === "/") at("q").focus();
    else if (event.key === "?") at("help").showModal();
    else return;
    event.preventDefault();
  });
  at("q").addEventListener("keydown", event => { if (event.key === "ArrowDown" && gallery.total) { event.preventDefault(); gallery.moveTo(gallery.focus); } });
  window.addEventListener("popstate", () => followHash());
  const followHash = () => {
    const number = /^#[0-9]{1,15}$/.test(location.hash) ? Number(location.hash.slice(1)) : -1;
    if (number < 0) { if (view.dialog.open) view.dialog.close(); } else if (number !== view.number) view.show(number, -1);
  };
  restore(location.search);
  followHash();
  await apply();
};

start();
