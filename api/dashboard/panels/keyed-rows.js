// Rows of a panel's table by key, in the order of the document.

export class KeyedRows {
  // `make(key)`: a new row, with its `element` and `show(figures)`.
  constructor(body, make) {
    Object.assign(this, { body, make });
    this.rows = new Map();
  }

  forget() {
    this.rows.clear();
    this.body.replaceChildren();
  }

  // `list`: the figures of all rows; `keyOf(figures)`: the row's key.
  show(list, keyOf) {
    const { body, rows } = this;
    const known = new Set(list.map(keyOf));
    for (const [key, row] of rows) {
      if (known.has(key)) continue;
      row.element.remove();
      rows.delete(key);
    }
    // Under the pointer or the focus no row moves: one hits the row that one aims at.
    const frozen = body.matches(":hover") || body.contains(document.activeElement);
    let place = body.firstElementChild;
    for (const figures of list) {
      const key = keyOf(figures);
      let row = rows.get(key);
      if (row === undefined) {
        row = this.make(key);
        rows.set(key, row);
        body.append(row.element);
      }
      if (!frozen && row.element !== place) body.insertBefore(row.element, place);
      place = row.element.nextElementSibling;
      row.show(figures);
    }
  }
}
