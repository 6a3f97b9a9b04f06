// Whose figures the page shows: of all calls, of one company, or of several. Pure.
//
// The service counts figures of all calls and of each company. Of several companies the page itself
// adds up the calls that are up; rates such as the ASR cannot be added, so they are left empty.

import { t } from "../text/catalogue.js";
import { plain, whole } from "../text/text.js";

// `companies`: those chosen as a filter; `who`: the login, null without one.
export function whoseText(companies, who) {
  if (who?.company_id !== undefined) return t("whose.company", { company: plain(who.company_id) });
  if (companies.length === 0) return t("whose.all");
  if (companies.length === 1) return t("whose.company", { company: plain(companies[0]) });
  const some = companies.length <= 3 ? companies.map(plain).join(" + ") : whole(companies.length);
  return t("whose.sum", { companies: some });
}

// The figures of several companies: the calls that are up, by state. `calls`: all calls.
export function sumOf(companies, calls) {
  const wanted = new Set(companies);
  const states = { trying: 0, ringing: 0, early: 0, answered: 0, held: 0 };
  let concurrent = 0;
  let since = null; // when the longest conversation was answered
  for (const call of calls) {
    if (!wanted.has(call.company_id)) continue;
    concurrent += 1;
    states[call.state] += 1;
    if (call.answered_at !== undefined && !(call.answered_at >= since && since !== null)) {
      since = call.answered_at;
    }
  }
  return { ...states, concurrent, longest_since: since };
}
