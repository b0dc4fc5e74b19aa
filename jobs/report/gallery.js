// Which cards are shown: a tab, labels, a minimum score, a reason of failure.

const state = { tab: data.tabs[0]?.key, text: "", exact: null, minScore: 0, reason: null };

// Indices of the labels that the search means, or null for all.
function wantedLabels() {
  if (state.exact !== null) return new Set([state.exact]);
  const text = state.text.trim().toLowerCase();
  if (!text) return null;
  const found = data.labels.map((_, i) => i).filter((i) => data.labels[i].name.toLowerCase().includes(text));
  return new Set(found);
}

// The entries of a tab that pass all filters.
function entriesOf(tab, wanted) {
  const entries = [];
  for (const [number, note] of tab.cards) {
    const card = data.cards[number];
    if (tab.key === "failed" && state.reason && state.reason !== `${card.status}/${card.code}`) continue;
    const shown = card.dets.map(detection).filter((found) => found.score >= state.minScore);
    // Of a classifier's labels the likeliest says what a picture is.
    const telling = data.found === "label" ? shown.slice(0, 1) : shown;
    if (wanted && !telling.some((found) => wanted.has(found.labelIndex))) continue;
    entries.push({ card, note, shown, wanted });
  }
  return entries;
}

function render() {
  const wanted = wantedLabels();
  const found = new Map(data.tabs.map((tab) => [tab.key, entriesOf(tab, wanted)]));
  const tab = data.tabs.find((one) => one.key === state.tab);
  const entries = found.get(state.tab);
  for (const node of document.querySelectorAll("[data-tab]")) {
    const chosen = node.dataset.tab === state.tab;
    node.setAttribute("aria-selected", chosen);
    node.tabIndex = chosen ? 0 : -1;
    node.querySelector(".count").textContent = found.get(node.dataset.tab).length;
  }
  const cards = document.getElementById("cards");
  cards.setAttribute("aria-labelledby", `tab-${state.tab}`);
  cards.replaceChildren(...entries.map((entry, i) => drawCard(entry, () => lightbox.open(entries, i))));
  document.getElementById("about").textContent = tab.about;
  document.getElementById("result").textContent = resultText(tab, entries, wanted);
  document.getElementById("clear").hidden = !isFiltered();
  renderNothing(tab, entries, found, wanted);
  renderLabels(wanted);
}

function isFiltered() {
  return state.exact !== null || state.text.trim() !== "" || state.minScore > 0 || state.reason !== null;
}

function resultText(tab, entries, wanted) {
  const words = [`${entries.length} of ${plural(tab.cards.length, data.noun)}`];
  if (wanted) words.push(`label ${filterName()}`);
  if (tab.key === "failed" && state.reason) words.push(`reason ${state.reason}`);
  return words.join(" · ");
}

function filterName() {
  return state.exact !== null ? data.labels[state.exact].name : `contains “${state.text.trim()}”`;
}

function drawCard({ card, note, shown, wanted }, open) {
  const node = element("button", "card");
  node.type = "button";
  node.append(drawStage(card, { shown, wanted, tags: CARD_TAGS }));
  const text = element("span", "card-text");
  const title = element("span", "card-line");
  title.append(element("span", "", card.name), element("span", "", [whenOf(card), note].filter(Boolean).join(" · ")));
  title.firstChild.title = card.frame === null ? card.uri : `${card.uri}, frame ${card.frame}`;
  const line = element("span", "card-line");
  if (card.status === "ok") line.append(element("span", "", summary(shown)));
  else line.append(element("span", "code", `${card.status}/${card.code}`));
  line.append(element("span", "", card.w ? `${card.w} × ${card.h}` : ""));
  text.append(title, line);
  node.append(text);
  node.setAttribute("aria-label", `${[card.name, whenOf(card)].filter(Boolean).join(", ")}: ${card.status === "ok" ? summary(shown) : card.code}`);
  node.addEventListener("click", open);
  return node;
}

// When a video shows a frame, or which it is where times are unknown; nothing for images.
function whenOf(card) {
  if (card.frame === null) return "";
  return card.time === null ? `#${card.frame}` : `${card.time.toFixed(2)} s`;
}

// "2 dog, 1 person", most frequent first.
function summary(shown) {
  if (data.found === "label") return shown.length ? `${shown[0].label.name} ${shown[0].score.toFixed(2)}` : "no label";
  if (data.found === "class") return shown.map((found) => `${found.label.name} ${scoreText(found.score)}`).join(", ") || "background alone";
  const counts = new Map();
  for (const found of shown) counts.set(found.label.name, (counts.get(found.label.name) || 0) + 1);
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  return sorted.map(([name, number]) => `${number} ${name}`).join(", ") || "no detections";
}

function renderNothing(tab, entries, found, wanted) {
  const box = document.getElementById("no-cards");
  box.hidden = entries.length > 0;
  if (entries.length) return;
  box.querySelector("h3").textContent = "Nothing found";
  box.querySelector("p").textContent = whyNothing(tab, found, wanted);
  const elsewhere = data.tabs.filter((one) => one.key !== tab.key && wanted && found.get(one.key).length);
  box.querySelector(".elsewhere").replaceChildren(
    ...elsewhere.map((one) => {
      const link = element("button", "quiet", `${one.title}: ${found.get(one.key).length}`);
      link.type = "button";
      link.addEventListener("click", () => chooseTab(one.key));
      return link;
    })
  );
}

function whyNothing(tab, found, wanted) {
  if (!tab.cards.length) return `This run has no such ${data.noun}s.`;
  if (!wanted) return `No ${data.noun} here passes the filter.`;
  if (!wanted.size) return `No label of this run contains “${state.text.trim()}”.`;
  if (tab.key === "empty" || tab.key === "failed") return `These ${data.noun}s have no labels.`;
  const number = [...wanted].reduce((sum, i) => sum + data.labels[i].count, 0);
  const name = state.exact !== null ? `“${filterName()}”` : `A label that ${filterName()}`;
  const score = state.minScore > 0 ? ` with a score of at least ${state.minScore.toFixed(2)}` : "";
  return `${name} was found ${plural(number, "time")} in this run, but no picture of this tab shows it${score}.`;
}

// The list of labels and the score histogram follow the search.
function renderLabels(wanted) {
  for (const row of document.querySelectorAll(".label-row")) {
    row.setAttribute("aria-pressed", state.exact === Number(row.dataset.label));
    row.hidden = state.exact === null && wanted !== null && wanted.size > 0 && !wanted.has(Number(row.dataset.label));
  }
  const chart = document.querySelector('[data-chart="scores"]');
  const chosen = wanted && wanted.size ? [...wanted] : data.labels.map((_, i) => i);
  const bins = [...chart.querySelectorAll(".bar")];
  const counts = bins.map((_, bin) => chosen.reduce((sum, i) => sum + data.labels[i].hist[bin], 0));
  const most = Math.max(1, ...counts);
  bins.forEach((bar, bin) => {
    const height = (100 * counts[bin]) / most;
    bar.dataset.count = counts[bin].toLocaleString("en");
    const mark = bar.querySelector(".mark");
    mark.setAttribute("height", height);
    mark.setAttribute("y", 100 - height);
  });
  chart.querySelector(".most").textContent = Math.max(...counts).toLocaleString("en");
  const narrowed = Boolean(wanted && wanted.size);
  chart.classList.toggle("chosen", narrowed);
  chart.querySelector("figcaption").textContent = narrowed ? `${data.scored} · label ${filterName()}` : data.scored;
}
