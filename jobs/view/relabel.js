// Choosing another label: type a part of it, or a new one.

const MOST_SHOWN = 8;

const chooser = {
  done: null,
  choices: [],
  at: 0,

  // Ask for a label; `done` is called with it, or not at all.
  open(found, done) {
    this.done = done;
    const box = document.getElementById("chooser");
    box.hidden = false;
    const text = document.getElementById("chooser-text");
    text.value = "";
    text.placeholder = `${found.label.name} is …`;
    this.fill();
    text.focus();
  },

  close() {
    document.getElementById("chooser").hidden = true;
    this.done = null;
    document.getElementById("objects").focus();
  },

  isOpen() {
    return this.done !== null;
  },

  fill() {
    const typed = document.getElementById("chooser-text").value.trim();
    const part = typed.toLowerCase();
    const rank = (name) => (name.toLowerCase() === part ? 0 : name.toLowerCase().startsWith(part) ? 1 : 2);
    const names = data.labels.map((label) => label.name).filter((name) => name && name.toLowerCase().includes(part));
    this.choices = names.sort((a, b) => rank(a) - rank(b)).slice(0, MOST_SHOWN).map((name) => ({ name, isNew: false }));
    if (typed && !data.labels.some((label) => label.name === typed)) this.choices.push({ name: typed, isNew: true });
    this.at = 0;
    this.render();
  },

  render() {
    const rows = this.choices.map((choice, place) => {
      const row = element("div", "chooser-row");
      row.setAttribute("role", "option");
      row.setAttribute("aria-selected", place === this.at);
      const swatch = element("span", "swatch");
      swatch.style.background = choice.isNew ? "transparent" : data.labels[labelPlace(choice.name)].color;
      row.append(swatch, element("span", "name", choice.name));
      if (choice.isNew) row.append(element("span", "hint", "new label"));
      row.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        this.choose(place);
      });
      return row;
    });
    document.getElementById("chooser-list").replaceChildren(...rows);
  },

  choose(place) {
    const choice = this.choices[place];
    if (!choice) return;
    const done = this.done;
    this.close();
    done(choice.name);
  },

  start() {
    const text = document.getElementById("chooser-text");
    text.addEventListener("input", () => this.fill());
    text.addEventListener("keydown", (event) => {
      event.stopPropagation();
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) this.at = (this.at + step + this.choices.length) % Math.max(1, this.choices.length);
      else if (event.key === "Enter") return this.choose(this.at);
      else if (event.key === "Escape") this.close();
      else return undefined;
      event.preventDefault();
      this.render();
      return undefined;
    });
  },
};
