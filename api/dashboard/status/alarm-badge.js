// How many alarms of the service are raised, in the status bar of every page: a link to the panel.

import { setText } from "../elements.js";
import { t } from "../text/catalogue.js";
import { whole } from "../text/text.js";

export class AlarmBadge {
  // `fresh()`: one more alarm is not acknowledged. `changed(at)`: the alarms are
  // others than before. `open()`: show them in this page.
  constructor(link, { fresh, changed, open }) {
    Object.assign(this, { link, fresh, changed });
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // another tab or window
      event.preventDefault();
      open();
    });
    this.forget();
  }

  forget() {
    this.unacknowledged = null; // how many were not acknowledged
    this.at = null; // when the alarms changed last
    this.link.hidden = true;
    setText(this.link, "");
  }

  // `alarms`: of the last `kpi` event; undefined: there were none lately.
  show(alarms) {
    const { alarm = 0, warning = 0, open = 0, changed_at: at = null } = alarms ?? {};
    const raised = alarm + warning;
    this.link.hidden = raised === 0;
    this.link.dataset.level = alarm > 0 ? "alarm" : "warning";
    const text = open > 0 ? t("alarms.badge_open", { raised: whole(raised), open: whole(open) })
      : t("alarms.badge", { raised: whole(raised) });
    setText(this.link, raised === 0 ? "" : text);
    if (this.unacknowledged !== null && open > this.unacknowledged) this.fresh();
    if (at !== this.at) this.changed(at);
    this.unacknowledged = open;
    this.at = at;
  }
}
