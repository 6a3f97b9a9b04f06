// A stream through @microsoft/fetch-event-source in a browser. `report` is the test's.

import { fetchEventSource } from "/fetch-event-source/index.js";

window.follow = (url, token) => {
  fetchEventSource(url, {
    headers: { Authorization: `Bearer ${token}` },
    openWhenHidden: true,
    onmessage({ event, id, data }) {
      JSON.parse(data); // as an application does; its error would end the connection
      report(event, id, data);
    },
    onclose() {
      report("#end", "", "");
      throw new Error("come back"); // else it takes an orderly end for the end of all
    },
    onerror() {
      report("#error", "", "");
    },
  });
};
