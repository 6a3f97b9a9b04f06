// How the page asks to be looked at: its title, its icon, the words a screen reader speaks, and a
// tone for who wants one.

const ICONS = { "": "/static/icon.svg", warning: "/static/icon-warning.svg", alarm: "/static/icon-alarm.svg" };
const TONE_HZ = 660;
const TONE_SECONDS = 0.25;

export class Attention {
  constructor({ list, live, icon }) {
    this.list = list;
    this.live = live;
    this.icon = icon;
    this.known = new Map(); // what was alarming when last looked: name → level
    this.sound = false;
    this.audio = null;
  }

  // `alarms`: [name, level, text]; `truth` is the connection's word, null while it is live.
  show(alarms, truth) {
    const worst = alarms.some(([, level]) => level === "alarm") || truth !== null ? "alarm"
      : alarms.length > 0 ? "warning" : "";
    const count = alarms.length > 0 ? `(${alarms.length}!) ` : "";
    const title = truth === null ? `${count}Live calls` : `${count}${truth} · Live calls`;
    if (document.title !== title) document.title = title;
    if (this.icon.getAttribute("href") !== ICONS[worst]) this.icon.href = ICONS[worst];
    const fresh = alarms.filter(([name, level]) => this.known.get(name) !== level);
    const gone = this.known.size !== alarms.length;
    this.known = new Map(alarms.map(([name, level]) => [name, level]));
    if (fresh.length > 0) {
      this.live.textContent = fresh.map(([, level, text]) => `${level}: ${text}`).join(". ");
      if (this.sound) this.tone();
    }
    if (fresh.length > 0 || gone) this.list.dataset.count = String(alarms.length);
  }

  // The tone may only be switched on by a click, which is what lets a page make one.
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
