// What the reader does, turned into changes of state.

function chooseTab(key) {
  state.tab = key;
  render();
}

function chooseLabel(index) {
  state.exact = state.exact === index ? null : index;
  state.text = state.exact === null ? "" : data.labels[index].name;
  document.getElementById("search").value = state.text;
  leaveUnlabelledTab();
  render();
}

// A label cannot be found among images without labels: look where it can.
function leaveUnlabelledTab() {
  if (wantedLabels() && (state.tab === "empty" || state.tab === "failed")) state.tab = data.tabs[0].key;
}

function chooseReason(reason) {
  clearFilters();
  state.reason = reason;
  state.tab = "failed";
  render();
  document.getElementById("gallery").scrollIntoView({ behavior: "smooth" });
}

function clearFilters() {
  Object.assign(state, { text: "", exact: null, minScore: 0, reason: null });
  document.getElementById("search").value = "";
  setMinScore(0);
}

function setMinScore(value) {
  state.minScore = value;
  document.getElementById("min-score").value = value;
  document.getElementById("min-score-value").textContent = value.toFixed(2);
}

function startTabs() {
  const tabs = [...document.querySelectorAll("[data-tab]")];
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => chooseTab(tab.dataset.tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const next = tabs[(i + step + tabs.length) % tabs.length];
      chooseTab(next.dataset.tab);
      next.focus();
    });
  });
}

function startFilters() {
  const search = document.getElementById("search");
  search.addEventListener("input", () => {
    state.text = search.value;
    state.exact = null;
    render();
  });
  document.getElementById("min-score").addEventListener("input", (event) => {
    setMinScore(Number(event.target.value));
    render();
  });
  document.getElementById("clear").addEventListener("click", () => {
    clearFilters();
    render();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.closest("input, dialog")) return;
    event.preventDefault();
    search.focus();
  });
  for (const row of document.querySelectorAll(".label-row")) {
    row.addEventListener("click", () => chooseLabel(Number(row.dataset.label)));
  }
  for (const link of document.querySelectorAll("[data-reason]")) {
    link.addEventListener("click", () => chooseReason(link.dataset.reason));
  }
}

// How much of masks and maps is seen; pages without them have no such slider.
function startOpacity() {
  const opacity = document.getElementById("opacity");
  opacity?.addEventListener("input", () => {
    document.documentElement.style.setProperty("--opacity", opacity.value);
    document.getElementById("opacity-value").textContent = `${Math.round(100 * opacity.value)}%`;
  });
}

function startReadouts() {
  for (const chart of document.querySelectorAll(".chart")) {
    const readout = chart.querySelector(".readout");
    chart.addEventListener("pointerover", (event) => {
      const bar = event.target.closest(".bar");
      readout.textContent = bar ? `${bar.dataset.name}: ${bar.dataset.count}` : "";
    });
    chart.addEventListener("pointerleave", () => (readout.textContent = ""));
  }
}

startReadouts();
if (document.getElementById("gallery")) {
  startTabs();
  startFilters();
  startOpacity();
  lightbox.start();
  render();
}
