// How the page reports alarms: title, icon, announcements for screen readers, and an optional tone.

import { wordText } from "../status/texts.js";
import { t } from "../text/catalogue.js";

const ICONS = { "": "static/icon.svg", warning: "static/icon-warning.svg", alarm: "static/icon-alarm.svg" };
const CALM = new Set([null, "paused"]); // the data is live: the page's icon shows no alarm
const TONE_HZ = 660;
const TONE_SECONDS = 0.25;

export class Attention {
  constructor({ list, announcements, icon }) {
    this.list = list;
    this.announcements = announcements;
    this.icon = icon;
    this.known = new Map(); // figure → level, when last shown
    this.sound = false;
    this.audio = null;
  }

  // `alarms`: [figure, level, text] of alarms that the service has raised: for them the badge of alarms
  // sounds the tone. `trouble`: the word of the status bar, null while it is live.
  show(alarms, trouble) {
    const worst = alarms.some(([, level]) => level === "alarm") || !CALM.has(trouble) ? "alarm"
      : alarms.length > 0 ? "warning" : "";
    const count = alarms.length > 0 ? `(${alarms.length}!) ` : "";
    const title = count + (trouble === null ? t("page.live_calls")
      : t("attention.title_trouble", { word: wordText(trouble) }));
    if (document.title !== title) document.title = title;
    if (this.icon.getAttribute("href") !== ICONS[worst]) this.icon.href = ICONS[worst];
    const fresh = alarms.filter(([name, level]) => this.known.get(name) !== level);
    const gone = this.known.size !== alarms.length;
    this.known = new Map(alarms.map(([name, level]) => [name, level]));
    if (fresh.length > 0) {
      this.announcements.textContent = fresh.map(([, level, text]) => (
        t("attention.announced", { level: t(`alarm.${level}`), text }))).join(". ");
    }
    if (fresh.length > 0 || gone) this.list.dataset.count = String(alarms.length);
  }

  // Another login: keep nothing that was shown or announced.
  forget() {
    this.known = new Map();
    this.announcements.textContent = "";
    delete this.list.dataset.count;
    document.title = t("page.live_calls");
    this.icon.href = ICONS[""];
  }

  // Call it with true only after a click: before one, browsers block sound.
  setSound(on) {
    this.sound = on;
    if (on) this.audio ??= new AudioContext();
  }

  tone() {
    const { audio } = this;
    if (audio === null) return;
    const tone = audio.createOscillator();
    const volume = audio.createGain();
    tone.frequency.value = TONE_HZ;
    volume.gain.value = 0.2;
    tone.connect(volume).connect(audio.destination);
    tone.start();
    tone.stop(audio.currentTime + TONE_SECONDS);
  }
}
