// One picture, large, with all its detections or labels in a table.

const lightbox = {
  cards: [],
  at: 0,

  open(cards, at) {
    this.cards = cards;
    this.show(at);
    document.getElementById("lightbox").showModal();
  },

  show(at) {
    if (at < 0 || at >= this.cards.length) return;
    this.at = at;
    const { card, shown, wanted } = this.cards[at];
    const stage = drawStage(card, { shown, wanted, tags: LIGHTBOX_TAGS });
    stage.addEventListener("highlight", (event) => this.markRow(event.detail));
    document.getElementById("lightbox-stage").replaceChildren(stage);
    document.getElementById("lightbox-place").textContent = `${at + 1} of ${this.cards.length}`;
    document.getElementById("lightbox-previous").disabled = at === 0;
    document.getElementById("lightbox-next").disabled = at + 1 === this.cards.length;
    document.getElementById("lightbox-name").textContent = card.name;
    document.getElementById("lightbox-uri").textContent = card.uri;
    document.getElementById("lightbox-facts").textContent = factsOf(card);
    this.fillTable(card, shown);
  },

  fillTable(card, shown) {
    document.getElementById("lightbox-rows").replaceChildren(...shown.map((found) => this.row(found)));
    document.querySelector(".lightbox-table thead").hidden = shown.length === 0;
    const hidden = card.dets.length - shown.length;
    const more = [];
    if (hidden) more.push(`${hidden} below the minimum score`);
    if (card.more) more.push(`${card.more} more that are not drawn`);
    document.getElementById("lightbox-more").textContent = more.join(", ");
  },

  row(found) {
    const row = element("tr");
    row.dataset.index = found.index;
    const name = element("td");
    const swatch = element("span", "swatch");
    swatch.style.background = found.label.color;
    name.append(swatch, found.label.name);
    row.append(name, element("td", "num", data.found === "class" ? scoreText(found.score) : found.score.toFixed(3)));
    if (found.x1 !== undefined) row.append(...this.place(found));
    const mark = (index) => {
      const frame = document.querySelector("#lightbox-stage .frame");
      if (frame) highlight(frame, index);
    };
    row.addEventListener("pointerenter", () => mark(found.index));
    row.addEventListener("pointerleave", () => mark(null));
    return row;
  },

  place(found) {
    const size = `${Math.round(found.x2 - found.x1)} × ${Math.round(found.y2 - found.y1)}`;
    return [element("td", "num", `${Math.round(found.x1)}, ${Math.round(found.y1)}`), element("td", "num", size)];
  },

  markRow(index) {
    for (const row of document.getElementById("lightbox-rows").children) {
      const hot = row.dataset.index === String(index);
      row.classList.toggle("hot", hot);
    }
  },

  start() {
    const dialog = document.getElementById("lightbox");
    document.getElementById("lightbox-close").addEventListener("click", () => dialog.close());
    document.getElementById("lightbox-previous").addEventListener("click", () => this.show(this.at - 1));
    document.getElementById("lightbox-next").addEventListener("click", () => this.show(this.at + 1));
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
    dialog.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.show(this.at + step);
    });
  },
};

function factsOf(card) {
  const facts = [];
  if (card.w && card.h) facts.push(`${card.w} × ${card.h} px`);
  if (card.frame !== null) facts.push(`frame ${card.frame}`);
  if (card.time !== null) facts.push(`${card.time.toFixed(3)} s`);
  if (card.status !== "ok") facts.push(`failed in ${card.status}${card.code ? ` (${card.code})` : ""}: ${card.error}`);
  else facts.push(plural(card.dets.length + card.more, data.found));
  return facts.join(" · ");
}

function plural(number, noun) {
  const ending = number === 1 ? "" : noun.endsWith("s") ? "es" : "s";
  return `${number.toLocaleString("en")} ${noun}${ending}`;
}
