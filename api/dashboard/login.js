// Log in: a token from the address's fragment, which no server ever sees, or from the form,
// becomes a cookie that no script can read.

const form = document.getElementById("form");
const field = document.getElementById("token");
const said = document.getElementById("said");

async function login(token) {
  said.textContent = "";
  try {
    const answer = await fetch("/api/v1/session", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token }),
    });
    if (answer.ok) {
      new BroadcastChannel("livestate login").postMessage("changed"); // other tabs have it too
      location.replace("/live-calls");
      return;
    }
    said.textContent = (await answer.json()).detail;
  } catch {
    said.textContent = "The service cannot be reached.";
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  login(field.value.trim());
});

const token = location.hash.slice(1);
if (token) {
  history.replaceState(null, "", "/login"); // out of the history and of everybody's sight
  login(token);
}
