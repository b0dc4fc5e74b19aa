// What a card of the server holds, as the drawing functions take it: detections as people left them.

const labelPlaces = new Map(data.labels.map((label, place) => [label.name, place]));

// The place of a label; one that a person made up comes last, in gray.
function labelPlace(name) {
  if (!labelPlaces.has(name)) {
    labelPlaces.set(name, data.labels.length);
    data.labels.push({ name, color: "#9aa4b2", ink: "#000000", count: 0 });
  }
  return labelPlaces.get(name);
}

// `number` is null of what people added; `act` says what was decided, null for nothing.
function objectsOf(card) {
  const found = card.objects.map((one, index) => {
    const said = one.said;
    const label = labelPlace(said && said.label !== null ? said.label : one.label);
    const moved = Boolean(said && said.action === "move");
    const box = said && said.box ? said.box : one.box;
    return {
      ...detection([label, one.score, box, moved ? null : one.mask], index),
      number: one.number,
      was: one.label,
      track: one.track,
      act: said ? said.action : null,
      who: said ? said.who : "",
    };
  });
  card.added.forEach((one) => {
    const index = found.length;
    found.push({ ...detection([labelPlace(one.label), null, one.box, null], index), number: null, was: "", track: null, act: "add", who: one.who });
  });
  return found;
}

const ACTS = { accept: "accepted", reject: "rejected", relabel: "relabelled", move: "moved", add: "added" };

// Mark in a drawn stage what was decided of each object.
function markActs(stage, objects) {
  const acts = new Map(objects.map((one) => [String(one.index), one.act]));
  for (const node of stage.querySelectorAll("[data-index]")) {
    const act = acts.get(node.dataset.index);
    if (act) node.classList.add(`act-${act}`);
  }
}

// The picture of a card; where it cannot be had, the reason in its place.
function stageOf(card, picture, objects, { wanted, tags }) {
  const shown = objects.filter((one) => one.x1 !== undefined);
  const stage = drawStage({ ...card, picture: card.missing ? null : picture }, { shown, wanted, tags });
  markActs(stage, shown);
  const image = stage.querySelector("img");
  if (image) {
    image.addEventListener("error", async () => {
      const reason = await fetch(picture).then((answer) => answer.text()).catch(() => "The picture cannot be shown.");
      stage.replaceChildren(drawBlank({ ...card, missing: reason }));
    });
  }
  return stage;
}

function plural(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

function whenOf(card) {
  if (card.frame === null) return "";
  return card.time === null ? `#${card.frame}` : `${card.time.toFixed(2)} s`;
}

// "2 dog, 1 person", most frequent first, of what was not rejected.
function summaryOf(objects) {
  const counts = new Map();
  for (const one of objects) if (one.act !== "reject") counts.set(one.label.name, (counts.get(one.label.name) || 0) + 1);
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  return sorted.map(([name, number]) => `${number} ${name}`).join(", ") || "nothing";
}
