// Named views: addresses of the page that the user gave a name, in this browser's local storage; the
// service never receives them. Their addresses may name companies, so each role, and each company of
// company logins, has a list of its own.

const MAX_VIEWS = 50;
const MAX_NAME = 60; // characters
const MAX_ADDRESS = 6_000; // characters
// An open call, the kind of screen, and how it is read.
const LEFT_OUT = ["call", "call_id", "since", "wall", "rotate", "lang"];

let owner = null; // the login whose views these are

// `who`: the login, null without one.
export function use(who) {
  owner = who ?? null;
}

const key = () => `livestate-views:${JSON.stringify([owner.role, owner.company_id ?? null])}`;
const isView = (one) => typeof one?.name === "string" && typeof one?.address === "string"
  && /^(\?|$)/.test(one.address);

// The views by name: [{ name, address }]. `address` is a query such as "?state=held", or "" for the
// view without filters.
export function list() {
  if (owner === null) return [];
  try {
    const stored = JSON.parse(localStorage.getItem(key()) ?? "[]");
    return stored.filter(isView).map(({ name, address }) => ({ name, address }));
  } catch {
    return []; // not JSON, or the browser forbids storage
  }
}

// What of an address a view keeps.
export function viewOf(search) {
  const query = new URLSearchParams(search);
  for (const name of LEFT_OUT) query.delete(name);
  return query.size === 0 ? "" : `?${query}`;
}

// Keep a view under a name, in place of one that had it; false if it cannot be kept.
export function save(name, search) {
  const called = name.trim().slice(0, MAX_NAME);
  const address = viewOf(search);
  const others = list().filter((one) => one.name !== called);
  if (called === "" || address.length > MAX_ADDRESS || others.length >= MAX_VIEWS) return false;
  return write([...others, { name: called, address }]);
}

// Give a view another name; false if another view has it.
export function rename(name, next) {
  const called = next.trim().slice(0, MAX_NAME);
  const all = list();
  if (called === "" || (called !== name && all.some((one) => one.name === called))) return false;
  return write(all.map((one) => (one.name === name ? { ...one, name: called } : one)));
}

export function remove(name) {
  return write(list().filter((one) => one.name !== name));
}

function write(views) {
  if (owner === null) return false;
  try {
    views.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
    localStorage.setItem(key(), JSON.stringify(views));
    return true;
  } catch {
    return false; // full or forbidden
  }
}
