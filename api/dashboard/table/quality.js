// The audio quality of a call as text, as measured by its nodes or by a media proxy. Pure.
//
// Each figure may be missing; a call without any has no quality, and nothing is shown.

import { t } from "../text/catalogue.js";
import { tenths, whole } from "../text/text.js";

// Below R 70 of ITU-T G.107, which is a MOS of 3.6 (its annex B), many users are dissatisfied. The
// tenths count, because those are shown.
const POOR_TENTHS = 36;

export const isPoor = ({ mos }) => mos !== undefined && Math.round(10 * mos) < POOR_TENTHS;

// [text of each figure that there is], the MOS first.
function figures({ mos, jitter_ms: jitter, loss_pct: loss }) {
  return [
    mos === undefined ? "" : t("quality.mos", { mos: tenths(mos) }),
    jitter === undefined ? "" : t("quality.jitter", { jitter: whole(Math.round(jitter)) }),
    loss === undefined ? "" : t("quality.loss", { loss: tenths(loss) }),
  ].filter((text) => text !== "");
}

// "MOS 3.2 · jitter 24 ms · loss 1.8 % · poor"; empty if nothing was measured.
export function qualityText(record) {
  return [...figures(record), ...(isPoor(record) ? [t("quality.poor")] : [])].join(" · ");
}

// The first figure alone, for a cell.
export function qualityCell(record) {
  const [first = ""] = figures(record);
  return isPoor(record) ? `${first} · ${t("quality.poor")}` : first;
}
