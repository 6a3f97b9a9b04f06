// `window.livestate`: the page's state, read-only, for tests and for the browser's console.

export function exposeState(live) {
  const { connection, fold, shared } = live;
  window.livestate = Object.freeze({
    state: () => ({
      connection: connection.state,
      version: fold.id === "" ? null : Number(fold.id.split("-").pop()),
      id: fold.id,
      digest: fold.digest,
      calls: fold.calls.size,
      complete: fold.complete,
      divergences: fold.divergences,
      reconnects: connection.reconnects,
      goodbye: connection.goodbye,
      staleSince: connection.staleSince,
      tab: shared.role,
    }),
    calls: () => Object.fromEntries(fold.calls),
    figures: () => structuredClone(live.figures),
  });
}
