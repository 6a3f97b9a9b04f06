// The alarms panel: each alarm with value, limit, begin and acknowledgement, and the rules below.

import { setText } from "../elements.js";
import { errorText } from "../session/responses.js";
import { t, wantsLanguage } from "../text/catalogue.js";
import { gap, length, percent, plain, tenths, timeOfDay, whole } from "../text/text.js";
import { make, nodeLink, tableWith, trunkLink } from "./dom.js";

const TIMEOUT_MS = 10_000;
const seconds = (value) => gap(value * 1000);
// rule → how its values are written
const FORMATS = {
  live_calls: whole, cps: tenths, failures_per_minute: whole, pdd_p95_ms: gap,
  feed_stale: seconds, node_silent: seconds,
};
const format = (rule, value) => (FORMATS[rule] ?? percent)(value);

export class Alarms {
  // `again()`: ask for the document at once.
  constructor({ again }) {
    this.again = again;
    this.table = tableWith(t("panels.alarms"), [
      t("alarms.alarm"), t("alarms.worst"), t("alarms.since"), t("alarms.state"),
      t("alarms.acknowledged"),
    ]);
    this.table.className = "alarms";
    this.summary = make("p");
    this.problem = make("p", { className: "bad" });
    this.problem.setAttribute("role", "alert");
    this.notes = make("div", { className: "notes" });
    this.rules = make("ul", { className: "rules" });
    this.element = make("div", {}, this.summary, this.problem, this.notes, this.table,
      make("h2", { textContent: t("alarms.rules") }), this.rules);
    this.rows = new Map(); // id of an alarm → its row
    this.company = null; // whose alarms these are
    this.table.tBodies[0].addEventListener("click", ({ target }) => {
      const button = target.closest("button");
      if (button !== null) this.acknowledge(button);
    });
  }

  forget() {
    this.rows.clear();
    this.company = null;
    for (const part of [this.table.tBodies[0], this.notes, this.rules]) part.replaceChildren();
    for (const part of [this.summary, this.problem]) setText(part, "");
  }

  draw({ alarms, rules, file, company_id: company, as_of: now }) {
    this.company = company;
    const raised = alarms.filter((one) => one.cleared_at === undefined);
    setText(this.summary, raised.length === 0 ? t("alarms.none_raised")
      : t("alarms.raised_now", { count: whole(raised.length) }));
    this.table.hidden = alarms.length === 0;
    this.note(file);
    const texts = rules.map(ruleText);
    if (texts.join() !== [...this.rules.children].map((one) => one.textContent).join()) {
      this.rules.replaceChildren(...texts.map((textContent) => make("li", { textContent })));
    }
    const body = this.table.tBodies[0];
    // Under the pointer or the focus no row moves: what has changed is shown in its place.
    const busy = body.matches(":hover") || body.contains(document.activeElement);
    const rows = alarms.map((one) => this.rowOf(one));
    if (busy && body.children.length > 0) {
      for (const row of rows) if (this.rows.get(row.dataset.alarm) !== row) this.replaceRow(row);
    } else {
      this.rows = new Map(rows.map((row) => [row.dataset.alarm, row]));
      if (rows.some((row, index) => body.children[index] !== row) || rows.length !== body.children.length) {
        body.replaceChildren(...rows);
      }
    }
    for (const age of body.querySelectorAll("[data-since]")) {
      setText(age, t("alarms.for", { length: length(now - Number(age.dataset.since)) }));
    }
  }

  // The row of an alarm: the same element while nothing of the alarm changes.
  rowOf(alarm) {
    const shown = JSON.stringify(alarm);
    const known = this.rows.get(alarm.id);
    if (known?.shown === shown && known.zone === timeOfDay(0)) return known;
    return Object.assign(row(alarm), { shown, zone: timeOfDay(0) });
  }

  replaceRow(row) {
    const known = this.rows.get(row.dataset.alarm);
    if (known === undefined) return; // a new alarm waits until no row would move
    known.replaceWith(row);
    this.rows.set(row.dataset.alarm, row);
  }

  note(file) {
    const lines = [];
    if (file?.trouble) lines.push(t("alarms.unreadable", { reason: file.trouble }));
    for (const reason of file?.bad ?? []) lines.push(t("alarms.bad_value", { reason }));
    if (lines.join() === [...this.notes.children].map((one) => one.textContent).join()) return;
    this.notes.replaceChildren(...lines.map((textContent) => make("p", { className: "bad", textContent })));
  }

  async acknowledge(button) {
    const query = this.company === null ? "" : `?${new URLSearchParams({ company_id: this.company })}`;
    button.disabled = true;
    setText(this.problem, "");
    let reason = null;
    try {
      const response = await fetch(`api/v1/live/alarms/${button.dataset.alarm}${query}`, {
        method: "POST", headers: wantsLanguage(), signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      if (!response.ok) reason = await errorText(response);
    } catch {
      reason = t("panels.no_answer");
    }
    button.disabled = false;
    if (reason !== null) {
      setText(this.problem, t("alarms.not_acknowledged", { reason }));
      return;
    }
    this.again();
  }
}

function row(alarm) {
  const { rule, subject, value, peak, limit } = alarm;
  const raised = alarm.cleared_at === undefined;
  const sign = make("span", { className: "sign", title: t(`alarm.${alarm.level}`) });
  const title = make("strong", { textContent: `${t(`alarm.${alarm.level}`)}: ${t(`alarms.rule.${rule}`)}` });
  const head = make("th", { scope: "row" }, sign, title);
  if (subject !== undefined) {
    const link = rule === "node_silent" ? nodeLink : trunkLink;
    head.append(" ", link(subject, t("links.calls_of", { name: plain(subject) })));
  }
  head.append(make("small", { textContent: limit === null ? format(rule, value) : t(
    rule.endsWith("asr_drop") ? "alarms.value_before" : "alarms.value_limit",
    { value: format(rule, value), limit: format(rule, limit) },
  ) }));
  const since = make("td", {}, timeOfDay(alarm.raised_at));
  if (raised) {
    const age = make("small");
    age.dataset.since = alarm.raised_at;
    since.append(age);
  }
  const state = raised ? t("alarms.raised") : t(`alarms.${alarm.cleared_why}`, { time: timeOfDay(alarm.cleared_at) });
  const element = make("tr", {}, head, make("td", { className: "number", textContent: format(rule, peak) }),
    since, make("td", { textContent: state }), make("td", {}, acknowledgement(alarm)));
  element.dataset.level = raised ? alarm.level : "";
  element.dataset.alarm = alarm.id;
  return element;
}

function acknowledgement({ id, rule, subject, acknowledged_by: by, acknowledged_at: at }) {
  if (by !== undefined) {
    return make("span", {}, make("bdi", { textContent: plain(by) }), make("small", { textContent: timeOfDay(at) }));
  }
  const button = make("button", { type: "button", textContent: t("alarms.acknowledge") });
  const what = [t(`alarms.rule.${rule}`), subject].filter(Boolean).map(plain).join(" ");
  button.setAttribute("aria-label", t("alarms.acknowledge_what", { what }));
  button.dataset.alarm = id;
  return button;
}

function ruleText({ rule, warning, alarm, low_is_bad: low, ...times }) {
  const limits = [["warning", warning], ["alarm", alarm]].filter(([, limit]) => limit !== null)
    .map(([level, limit]) => t(low ? "alarms.below" : "alarms.from", {
      level: t(`alarm.${level}`),
      limit: rule.endsWith("asr_drop") ? t("alarms.of_before", { limit: percent(limit) }) : format(rule, limit),
    }));
  return t("alarms.rule_text", {
    rule: t(`alarms.rule.${rule}`),
    limits: limits.join(", "),
    raise: length(times.raise_after_seconds * 1000),
    clear: length(times.clear_after_seconds * 1000),
  });
}
