// What an unattended wall does: it shows its named views in turn (rotation.js), closes what was left
// open (unattended.js), and returns to its own view.
//
// A click or a key on a wall may narrow it: by a link, an alarm, the title of a column. The wall's own
// view is the one before the first of them. A minute after the last one it is shown again, or at once by
// the button or Escape; until then the named views wait.

import * as address from "../address.js";
import { byId, setText } from "../elements.js";
import { t } from "../text/catalogue.js";
import { whole } from "../text/text.js";
import { isWall } from "./appearance.js";
import { Rotation } from "./rotation.js";
import { Unattended } from "./unattended.js";
import * as views from "./views.js";

export class Wall {
  // `present()` is the query of the present view without an open call; `show(search)` shows another
  // one, and writes its address. `now()` is passing time, ms.
  constructor({ now, table, drawer, hold, present, show }) {
    Object.assign(this, { present, show });
    this.button = byId("own-view");
    this.rotation = new Rotation({
      views: views.list,
      now,
      show(search) {
        address.setHome(null); // this view is the wall's own now
        show(search);
      },
    });
    this.unattended = new Unattended({
      now, table, drawer, hold,
      input: () => isWall() && address.home() === null && address.setHome(this.present()),
      left: () => this.restore(),
    });
    this.button.addEventListener("click", () => this.restore());
  }

  // Whether a click or key has led to another view than its own.
  get away() {
    return isWall() && (address.home() ?? this.present()) !== this.present();
  }

  restore() {
    if (this.away) this.show(address.home());
    this.draw();
  }

  // Called twice a second.
  tick() {
    this.unattended.tick(isWall());
    this.rotation.tick(isWall() && !this.away);
    this.draw();
  }

  draw() {
    this.button.hidden = !this.away;
    setText(this.button, this.away
      ? t("wall.own_view", { seconds: whole(Math.ceil(this.unattended.leftMs / 1000)) }) : "");
  }
}
