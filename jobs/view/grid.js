// One page of pictures.

const grid = {
  cards: [],
  total: 0,
  page: 0,
  pages: 0,
  size: 1,
  at: 0,

  // Show a page of what is chosen; `fresh` chooses anew.
  async load(page, { fresh = false, focus = false } = {}) {
    const query = chosen.query();
    const address = query.toString();
    query.set("page", page);
    if (fresh) query.set("fresh", "1");
    const found = await trying(() => ask(`images?${query}`));
    if (!found) return false;
    if (address !== chosen.query().toString()) return false; // the filter changed meanwhile
    history.replaceState(null, "", address ? `?${address}` : location.pathname);
    Object.assign(this, { cards: found.cards, total: found.total, page: found.page, pages: found.pages, size: found.size, at: 0 });
    showReview(found.review);
    this.render();
    if (focus) this.focus(0);
    return true;
  },

  render() {
    document.getElementById("cards").replaceChildren(...this.cards.map((card, place) => this.draw(card, place)));
    document.getElementById("nothing").hidden = this.cards.length > 0;
    document.querySelector("#nothing p").textContent = data.numImages
      ? `No ${data.noun} of the ${data.numImages.toLocaleString("en")} fits these filters.`
      : "This run has no rows yet.";
    const first = this.page * this.size + 1;
    const last = first + this.cards.length - 1;
    const span = this.cards.length ? `${first.toLocaleString("en")}–${last.toLocaleString("en")} of ` : "";
    document.getElementById("result").textContent = `${span}${plural(this.total, data.noun)}`;
    document.getElementById("page-text").textContent = this.pages > 1 ? `${(this.page + 1).toLocaleString("en")} / ${this.pages.toLocaleString("en")}` : "";
    document.getElementById("previous").disabled = this.page === 0;
    document.getElementById("next").disabled = this.page + 1 >= this.pages;
    document.querySelector(".pager").hidden = this.pages < 2;
  },

  draw(card, place) {
    const objects = objectsOf(card);
    const node = element("button", "card");
    node.type = "button";
    node.tabIndex = place === this.at ? 0 : -1;
    const stage = stageOf(card, `thumb/${card.n}`, objects.filter((one) => chosen.fits(one)), { wanted: chosen.wanted(), tags: CARD_TAGS });
    const image = stage.querySelector("img");
    if (image) image.loading = "lazy";
    node.append(stage, this.text(card, objects));
    const badge = this.badge(card);
    if (badge) node.append(badge);
    const told = card.status === "ok" ? summaryOf(objects) : card.code || card.status;
    node.setAttribute("aria-label", [[card.name, whenOf(card)].filter(Boolean).join(", "), told, badge?.textContent].filter(Boolean).join(": "));
    node.addEventListener("click", () => desk.open(place));
    node.addEventListener("focus", () => this.mark(place));
    return node;
  },

  text(card, objects) {
    const text = element("span", "card-text");
    const title = element("span", "card-line");
    title.append(element("span", "", card.name), element("span", "", whenOf(card)));
    title.firstChild.title = card.frame === null ? card.uri : `${card.uri}, frame ${card.frame}`;
    const line = element("span", "card-line");
    if (card.status === "ok") line.append(element("span", "", summaryOf(objects)));
    else line.append(element("span", "code", `${card.status}/${card.code}`));
    line.append(element("span", "", card.w ? `${card.w} × ${card.h}` : ""));
    text.append(title, line);
    return text;
  },

  badge(card) {
    if (card.decided) return element("span", "badge done", "✓ decided");
    if (card.saidOf) return element("span", "badge part", `${card.saidOf} of ${card.objects.length + card.more}`);
    return null;
  },

  mark(place) {
    const nodes = document.getElementById("cards").children;
    if (nodes[this.at]) nodes[this.at].tabIndex = -1;
    this.at = place;
    if (nodes[place]) nodes[place].tabIndex = 0;
  },

  focus(place) {
    const nodes = document.getElementById("cards").children;
    if (!nodes.length) return;
    this.mark(Math.max(0, Math.min(place, nodes.length - 1)));
    nodes[this.at].focus();
  },

  // A card changed: draw it again, and nothing else.
  put(card) {
    const place = this.cards.findIndex((one) => one.n === card.n);
    if (place < 0) return;
    this.cards[place] = card;
    const old = document.getElementById("cards").children[place];
    const focused = document.activeElement === old;
    const fresh = this.draw(card, place);
    old.replaceWith(fresh);
    if (focused) fresh.focus();
  },

  columns() {
    return getComputedStyle(document.getElementById("cards")).gridTemplateColumns.split(" ").length;
  },

  key(event) {
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns(), ArrowDown: this.columns() };
    if (event.key in moves && event.target.closest("#cards, body") && !event.target.closest("form")) {
      const to = this.at + moves[event.key];
      if (!event.target.closest(".card")) this.focus(this.at);
      else if (to >= 0 && to < this.cards.length) this.focus(to);
    } else if (event.key === "[" && this.page > 0) this.load(this.page - 1, { focus: true });
    else if (event.key === "]" && this.page + 1 < this.pages) this.load(this.page + 1, { focus: true });
    else if (event.key === " " && event.target.closest(".card")) this.accept();
    else if (event.key === "/") document.getElementById("name").focus();
    else return false;
    return true;
  },

  async accept() {
    const place = this.at;
    let card = this.cards[place];
    if (card.more) card = await trying(() => ask(`image/${card.n}`)); // the grid lists the best alone
    if (card && (await decide(card, restOf(card)))) this.focus(place + 1);
  },

  start() {
    document.getElementById("previous").addEventListener("click", () => this.load(this.page - 1));
    document.getElementById("next").addEventListener("click", () => this.load(this.page + 1));
  },
};
