// Asking the page's own server. Locations are below the page's own, which holds the token.

async function ask(path) {
  return answered(await fetch(path, { cache: "no-store" }));
}

async function tell(path, content, more = {}) {
  const body = JSON.stringify(content);
  return answered(await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body, ...more }));
}

async function answered(response) {
  if (response.ok) return response.json();
  throw new Error((await response.text()) || `the server answered ${response.status}`);
}

// Do something that asks the server; what goes wrong is shown, and nothing else changes.
async function trying(work) {
  try {
    return await work();
  } catch (error) {
    const gone = error instanceof TypeError;
    showMessage(gone ? "veedor view does not answer: has it ended? Start it again." : error.message);
    return undefined;
  }
}

const MESSAGE_MS = 7000;
let messageTimer = 0;
function showMessage(text) {
  const box = document.getElementById("message");
  box.textContent = text;
  if (box.matches(":popover-open")) box.hidePopover();
  box.showPopover(); // above an open dialog
  clearTimeout(messageTimer);
  messageTimer = setTimeout(() => box.hidePopover(), MESSAGE_MS);
}
