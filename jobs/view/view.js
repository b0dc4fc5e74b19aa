// Decisions on their way to the server, and keys.

const QUIET_MS = 12000;
let saveTimer = 0;
let unsaved = 0;

// What is said when all that is undecided is accepted.
function restOf(card) {
  if (!card.lookedAt || card.decided) return [];
  if (!card.objects.length) return [{ verdict: "accept", number: null }];
  return card.objects.filter((one) => !one.said).map((one) => ({ verdict: "accept", number: one.number }));
}

// Tell the server of decisions about a card; returns the card as it is then.
async function decide(card, decisions) {
  if (!decisions.length) return card;
  const done = await trying(() => tell(`decide/${card.n}`, { decisions }));
  if (!done) return undefined;
  grid.put(done.card);
  showReview(done.review);
  clearTimeout(saveTimer);
  saveTimer = setTimeout(save, QUIET_MS);
  return done.card;
}

async function save() {
  clearTimeout(saveTimer);
  const done = await trying(() => tell("save", {}));
  if (done) showReview(done.review);
}

function showReview(review) {
  unsaved = review.unsaved;
  const button = document.getElementById("save");
  button.disabled = unsaved === 0;
  button.textContent = unsaved ? `Save ${unsaved.toLocaleString("en")}` : "Saved";
  const share = data.numLookedAt ? review.decided / data.numLookedAt : 0;
  document.getElementById("progress-fill").style.width = `${100 * share}%`;
  document.getElementById("progress-text").textContent = `${review.decided.toLocaleString("en")} of ${data.numLookedAt.toLocaleString("en")} decided`;
}

function startKeys() {
  const help = document.getElementById("help");
  document.getElementById("help-close").addEventListener("click", () => help.close());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (event.target.closest("input:not([type=radio]):not([type=range]), select")) {
      if (event.key === "Escape" && !event.target.closest("dialog")) event.target.blur();
      return;
    }
    const inDesk = document.getElementById("desk").open;
    if (event.key === "?") help.showModal();
    else if (event.key === "s") save();
    else if (!(inDesk ? desk.key(event) : grid.key(event))) return;
    event.preventDefault();
  });
  // Browsers that press a focused button when the key is let go.
  document.addEventListener("keyup", (event) => {
    if (event.key === " " && event.target.closest(".card, .desk button")) event.preventDefault();
  });
}

document.getElementById("save").addEventListener("click", save);
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden" && unsaved) tell("save", {}, { keepalive: true }).then((done) => showReview(done.review), () => {});
});
chosen.start(() => grid.load(0, { fresh: true }));
grid.start();
chooser.start();
desk.start();
startKeys();
chosen.read(new URLSearchParams(location.search));
grid.load(0, { fresh: true });
