"use strict";
// Pictures with their boxes. Text of the run is only ever written with textContent.

const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const CARD_TAGS = 3;
const LIGHTBOX_TAGS = 14;

function element(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function svgElement(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

// A detection, or a label, which has no box, as an object; `index` is its place in the card's list.
function detection([label, score, box, mask], index) {
  const [x1, y1, x2, y2] = box || [];
  return { index, label: data.labels[label], labelIndex: label, score, x1, y1, x2, y2, mask };
}

// A score, or a class's share of a map.
function scoreText(score) {
  if (data.found !== "class") return score.toFixed(2);
  return score < 0.001 ? "<0.1%" : `${(100 * score).toFixed(1)}%`;
}

function drawBox(found) {
  const group = svgElement("g", { class: "box", "data-index": found.index });
  group.style.setProperty("--color", found.label.color);
  if (found.mask) {
    const [left, top, right, bottom, href] = found.mask;
    group.append(
      svgElement("image", { x: left, y: top, width: right - left, height: bottom - top, href, preserveAspectRatio: "none" })
    );
  }
  const place = { x: found.x1, y: found.y1, width: Math.max(0, found.x2 - found.x1), height: Math.max(0, found.y2 - found.y1) };
  for (const name of ["under", "line", "hit"]) {
    const rect = svgElement("rect", { class: name, ...place });
    if (name === "hit") rect.setAttribute("fill", "transparent");
    group.append(rect);
  }
  return group;
}

// A label with its score; what a person added has none.
function tagText(found) {
  return found.score === null ? found.label.name : `${found.label.name} ${scoreText(found.score)}`;
}

function drawTag(found, width, height, minor) {
  const tag = element("span", minor ? "tag minor" : "tag", tagText(found));
  tag.dataset.index = found.index;
  tag.style.setProperty("--color", found.label.color);
  tag.style.setProperty("--ink-on", found.label.ink);
  const top = Math.max(0, found.y1 / height);
  tag.style.top = `${100 * top}%`;
  if (top > 0.1) tag.classList.add("above");
  if (found.x1 / width > 0.6) tag.style.right = `${Math.max(0, 100 * (1 - found.x2 / width))}%`;
  else tag.style.left = `${Math.max(0, (100 * found.x1) / width)}%`;
  return tag;
}

// Labels, or the classes of a map, one below the other in the corner.
function drawLabels(shown, wanted, tags) {
  const list = element("div", "told");
  for (const found of shown.slice(0, tags)) {
    const tag = element("span", "tag", tagText(found));
    tag.dataset.index = found.index;
    tag.style.setProperty("--color", found.label.color);
    tag.style.setProperty("--ink-on", found.label.ink);
    if (wanted && !wanted.has(found.labelIndex)) tag.classList.add("aside");
    list.append(tag);
  }
  return list;
}

// The picture of a card with the boxes that `shown` holds; `wanted` labels stand out from the others.
function drawStage(card, { shown, wanted, tags }) {
  const stage = element("div", "stage");
  if (!card.picture) {
    stage.append(drawBlank(card));
    return stage;
  }
  const frame = element("div", "frame");
  frame.style.setProperty("--ratio", card.w / card.h);
  const image = element("img");
  image.src = card.picture;
  image.alt = "";
  image.decoding = "async";
  if (data.found !== "detection") {
    frame.append(image);
    if (card.map) {
      const map = element("img", "map");
      map.src = card.map;
      map.alt = "";
      frame.append(map);
    }
    frame.append(drawLabels(shown, wanted, tags));
    stage.append(frame);
    return stage;
  }
  const svg = svgElement("svg", { viewBox: `0 0 ${card.w} ${card.h}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const area = (d) => (d.x2 - d.x1) * (d.y2 - d.y1);
  // Large boxes first: small ones stay on top, where the pointer can reach them.
  for (const found of [...shown].sort((a, b) => area(b) - area(a))) {
    const group = drawBox(found);
    if (wanted && !wanted.has(found.labelIndex)) group.classList.add("aside");
    svg.append(group);
  }
  frame.append(image, svg);
  tagOrder(shown, wanted).forEach((found, i) => {
    const minor = i >= tags || (wanted && !wanted.has(found.labelIndex));
    frame.append(drawTag(found, card.w, card.h, minor));
  });
  frame.addEventListener("pointerover", (event) => {
    const box = event.target.closest(".box");
    highlight(frame, box ? box.dataset.index : null);
  });
  frame.addEventListener("pointerleave", () => highlight(frame, null));
  stage.append(frame);
  return stage;
}

// Wanted labels first, then the best of each label, then the rest: the first few are written out.
function tagOrder(shown, wanted) {
  const seen = new Set();
  const rank = new Map();
  for (const found of shown) {
    rank.set(found, (wanted && !wanted.has(found.labelIndex) ? 2 : 0) + (seen.has(found.labelIndex) ? 1 : 0));
    seen.add(found.labelIndex);
  }
  return [...shown].sort((a, b) => rank.get(a) - rank.get(b));
}

function drawBlank(card) {
  const blank = element("div", "blank");
  const failed = card.status !== "ok";
  blank.append(element("b", failed ? "code" : "", failed ? card.code || card.status : "No picture"));
  blank.append(element("span", "", failed ? card.error || card.missing : card.missing));
  return blank;
}

// Mark one detection of a frame, or none; listeners may mark it elsewhere, too.
function highlight(frame, index) {
  frame.classList.toggle("has-hot", index !== null);
  for (const node of frame.querySelectorAll("[data-index]")) node.classList.toggle("hot", node.dataset.index === String(index));
  frame.dispatchEvent(new CustomEvent("highlight", { detail: index, bubbles: true }));
}
