// The filter: between the form, the page's address and what the server is asked.

const TEXTS = ["status", "order", "name", "track"];

const chosen = {
  labels: new Set(),

  // The query of an address; what is left open is left out.
  query() {
    const query = new URLSearchParams();
    for (const name of this.labels) query.append("label", name);
    const low = document.getElementById("min-score").value;
    const high = document.getElementById("max-score").value;
    if (Number(low) > 0) query.set("min_score", low);
    if (Number(high) < 1) query.set("max_score", high);
    for (const name of TEXTS) {
      const field = document.getElementById(name);
      if (field && field.value && !["any", "run"].includes(field.value)) query.set(name, field.value);
    }
    const state = document.querySelector("input[name=state]:checked").value;
    if (state !== "any") query.set("state", state);
    return query;
  },

  // Fill the form from an address.
  read(query) {
    this.labels = new Set(query.getAll("label"));
    document.getElementById("min-score").value = query.get("min_score") ?? 0;
    document.getElementById("max-score").value = query.get("max_score") ?? 1;
    for (const name of TEXTS) {
      const field = document.getElementById(name);
      if (field) field.value = query.get(name) ?? { status: "any", order: "run" }[name] ?? "";
    }
    for (const radio of document.querySelectorAll("input[name=state]")) radio.checked = radio.value === (query.get("state") ?? "any");
    this.show();
  },

  // What depends on the form inside it.
  show() {
    const [low, high] = ["min-score", "max-score"].map((id) => Number(document.getElementById(id).value));
    document.getElementById("score-text").textContent = `${low.toFixed(2)} – ${high.toFixed(2)}`;
    const fill = document.getElementById("range-fill");
    fill.style.left = `${100 * low}%`;
    fill.style.right = `${100 * (1 - high)}%`;
    for (const row of document.querySelectorAll(".label-row")) row.setAttribute("aria-pressed", this.labels.has(row.dataset.name));
    document.getElementById("all-labels").hidden = this.labels.size === 0;
    document.getElementById("reset").disabled = this.query().size === 0;
  },

  // Places of the labels that are looked for, or null for all.
  wanted() {
    return this.labels.size ? new Set([...this.labels].map(labelPlace)) : null;
  },

  // Whether a detection meets the scores that are looked for; what people added has none.
  fits(one) {
    const [low, high] = ["min-score", "max-score"].map((id) => Number(document.getElementById(id).value));
    return one.score === null || (one.score >= low && one.score <= high);
  },

  start(changed) {
    const list = document.getElementById("labels");
    const most = Math.max(1, ...data.labels.map((label) => label.count));
    list.append(...data.labels.filter((label) => label.count).map((label) => this.row(label, most, changed)));
    const form = document.getElementById("filters");
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", (event) => {
      event.preventDefault();
      this.read(new URLSearchParams());
      changed();
    });
    document.getElementById("all-labels").addEventListener("click", () => {
      this.labels.clear();
      this.show();
      changed();
    });
    let timer = 0;
    form.addEventListener("input", (event) => {
      if (event.target.id === "find-label") {
        this.find(event.target.value);
        return;
      }
      this.keepApart(event.target);
      this.show();
      clearTimeout(timer);
      timer = setTimeout(changed, event.target.matches("select, [type=radio]") ? 0 : 220);
    });
  },

  // The two handles of the scores do not cross.
  keepApart(handle) {
    const [low, high] = ["min-score", "max-score"].map((id) => document.getElementById(id));
    if (Number(low.value) <= Number(high.value)) return;
    if (handle === low) low.value = high.value;
    else high.value = low.value;
  },

  find(text) {
    const part = text.trim().toLowerCase();
    for (const row of document.querySelectorAll(".label-row")) row.hidden = !row.dataset.name.toLowerCase().includes(part);
  },

  row(label, most, changed) {
    const row = element("button", "label-row");
    row.type = "button";
    row.dataset.name = label.name;
    const swatch = element("span", "swatch");
    swatch.style.background = label.color;
    const track = element("span", "track");
    const fill = element("span", "fill");
    fill.style.width = `${(100 * label.count) / most}%`;
    track.append(fill);
    row.append(swatch, element("span", "name", label.name), track, element("span", "num", label.count.toLocaleString("en")));
    row.title = label.name;
    row.addEventListener("click", () => {
      if (!this.labels.delete(label.name)) this.labels.add(label.name);
      this.show();
      changed();
    });
    return row;
  },
};
