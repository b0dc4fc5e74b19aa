// One picture, large, to decide what is in it.

const desk = {
  card: null,
  objects: [],
  at: 0,

  async open(place) {
    grid.mark(place);
    document.getElementById("desk").showModal();
    await this.show(place);
  },

  // Show the picture at a place of the grid's page; its list may be shortened there, so it is asked for.
  async show(place) {
    grid.mark(place);
    const card = await trying(() => ask(`image/${grid.cards[place].n}`));
    if (!card || place !== grid.at) return;
    this.put(card);
    this.select(this.nextOpen(-1));
    document.getElementById("objects").focus();
    const after = grid.cards[place + 1];
    if (after && !after.missing) new Image().src = `picture/${after.n}`;
  },

  put(card) {
    this.card = card;
    this.objects = objectsOf(card);
    this.at = Math.min(this.at, Math.max(0, this.objects.length - 1));
    const stage = stageOf(card, `picture/${card.n}`, this.objects, { wanted: null, tags: LIGHTBOX_TAGS });
    stage.addEventListener("highlight", (event) => this.hover(event.detail));
    stage.addEventListener("click", (event) => {
      const box = event.target.closest(".box");
      if (box) this.select(Number(box.dataset.index));
    });
    document.getElementById("desk-stage").replaceChildren(stage);
    this.about(card);
    this.list();
  },

  about(card) {
    const place = grid.page * grid.size + grid.at;
    document.getElementById("desk-place").textContent = `${(place + 1).toLocaleString("en")} of ${grid.total.toLocaleString("en")}`;
    document.getElementById("desk-previous").disabled = place === 0;
    document.getElementById("desk-next").disabled = place + 1 >= grid.total;
    document.getElementById("desk-name").textContent = card.name;
    document.getElementById("desk-uri").textContent = card.uri;
    const facts = [card.w ? `${card.w} × ${card.h} px` : "", card.frame === null ? "" : `frame ${card.frame}`, card.time === null ? "" : `${card.time.toFixed(3)} s`];
    if (card.status !== "ok") facts.push(`failed in ${card.status}${card.code ? ` (${card.code})` : ""}: ${card.error}`);
    else if (!this.objects.length) facts.push(card.decided ? "rightly empty" : "nothing was found");
    document.getElementById("desk-facts").textContent = facts.filter(Boolean).join(" · ");
    const state = document.getElementById("desk-state");
    state.textContent = card.decided ? "decided" : "";
    state.className = card.decided ? "pill done" : "pill";
    document.getElementById("acts").hidden = !card.lookedAt;
    document.querySelector("[data-act=next]").lastChild.textContent = this.objects.length ? "Accept the rest, next" : "Rightly empty, next";
    for (const name of ["accept", "reject", "relabel"]) document.querySelector(`[data-act=${name}]`).disabled = !this.objects.length;
  },

  list() {
    document.getElementById("objects").replaceChildren(...this.objects.map((one, place) => this.row(one, place)));
  },

  row(one, place) {
    const row = element("div", `object${one.act ? ` act-${one.act}` : ""}`);
    row.setAttribute("role", "option");
    row.id = `object-${place}`;
    row.dataset.index = place;
    const swatch = element("span", "swatch");
    swatch.style.background = one.label.color;
    const name = element("span", "object-name", one.label.name);
    if (one.was && one.was !== one.label.name) name.prepend(element("s", "", one.was), " ");
    if (one.track !== null) name.append(element("span", "object-track", `#${one.track}`));
    const note = element("span", "object-act", one.act ? ACTS[one.act] : "");
    if (one.who) note.title = `by ${one.who}`;
    row.append(swatch, name, note, element("span", "num", one.score === null ? "" : one.score.toFixed(2)));
    row.addEventListener("click", () => this.select(place));
    row.addEventListener("pointerenter", () => this.hover(place));
    row.addEventListener("pointerleave", () => this.hover(null));
    return row;
  },

  frame() {
    return document.querySelector("#desk-stage .frame");
  },

  select(place) {
    this.at = Math.max(0, Math.min(place, this.objects.length - 1));
    const list = document.getElementById("objects");
    for (const row of list.children) row.setAttribute("aria-selected", Number(row.dataset.index) === this.at);
    list.setAttribute("aria-activedescendant", this.objects.length ? `object-${this.at}` : "");
    list.children[this.at]?.scrollIntoView({ block: "nearest" });
    this.hover(null);
  },

  // The object under the pointer stands out, or else the one that is selected.
  hover(index) {
    const frame = this.frame();
    const hot = index === null ? (this.objects.length ? this.at : null) : Number(index);
    for (const row of document.getElementById("objects").children) row.classList.toggle("hot", Number(row.dataset.index) === hot);
    if (!frame) return;
    frame.classList.toggle("has-hot", hot !== null && this.objects.length > 1);
    for (const node of frame.querySelectorAll("[data-index]")) node.classList.toggle("hot", hot !== null && Number(node.dataset.index) === hot);
  },

  // The next object of which nothing is said, else the one that is selected.
  nextOpen(from) {
    const open = this.objects.findIndex((one, place) => place > from && one.act === null);
    return open >= 0 ? open : Math.max(0, this.objects.findIndex((one) => one.act === null));
  },

  async act(name) {
    if (!this.card || !this.card.lookedAt) return;
    const one = this.objects[this.at];
    if (name === "next") await this.acceptRest();
    else if (!one) await this.say(name === "clear" ? [{ verdict: "clear", number: null }] : []);
    else if (one.number === null) showMessage("What a person added is changed with the tool that added it.");
    else if (name === "relabel") chooser.open(one, (label) => this.say([{ verdict: "relabel", number: one.number, label }], one.index));
    else await this.say([{ verdict: name, number: one.number }], one.index);
  },

  async say(decisions, from = null) {
    if (!decisions.length) return;
    const card = await decide(this.card, decisions);
    if (!card) return;
    this.put(card);
    this.select(from === null || decisions[0].verdict === "clear" ? this.at : this.nextOpen(from));
  },

  async acceptRest() {
    const rest = restOf(this.card);
    if (rest.length && !(await decide(this.card, rest))) return;
    await this.move(1);
  },

  // To the next or previous picture, on to other pages.
  async move(step) {
    const to = grid.at + step;
    const page = grid.page + step;
    if (to >= 0 && to < grid.cards.length) await this.show(to);
    else if (page >= 0 && page < grid.pages && (await grid.load(page))) await this.show(step > 0 ? 0 : grid.cards.length - 1);
    else if (step > 0) {
      const card = await trying(() => ask(`image/${this.card.n}`));
      if (card) this.put(card);
      this.select(this.at);
      showMessage("That was the last picture of this selection.");
    }
  },

  key(event) {
    const keys = {
      ArrowDown: () => this.select(this.at + 1), j: () => this.select(this.at + 1),
      ArrowUp: () => this.select(this.at - 1), k: () => this.select(this.at - 1),
      ArrowRight: () => this.move(1), n: () => this.move(1), ArrowLeft: () => this.move(-1), p: () => this.move(-1),
      a: () => this.act("accept"), x: () => this.act("reject"), Delete: () => this.act("reject"),
      l: () => this.act("relabel"), u: () => this.act("clear"), " ": () => this.act("next"),
    };
    const work = keys[event.key];
    if (work) work();
    return Boolean(work);
  },

  start() {
    const dialog = document.getElementById("desk");
    document.getElementById("desk-close").addEventListener("click", () => dialog.close());
    document.getElementById("desk-previous").addEventListener("click", () => this.move(-1));
    document.getElementById("desk-next").addEventListener("click", () => this.move(1));
    for (const button of document.querySelectorAll("[data-act]")) {
      button.addEventListener("click", async () => {
        await this.act(button.dataset.act);
        if (!chooser.isOpen()) document.getElementById("objects").focus();
      });
    }
    dialog.addEventListener("close", () => {
      this.card = null;
      grid.focus(grid.at);
    });
  },
};
