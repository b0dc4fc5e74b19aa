"use strict";
// Which map lies over the pictures, and how much of it is seen.

const maps = document.getElementById("maps");

for (const choice of maps.querySelectorAll("input[name=layer]")) {
  choice.addEventListener("change", () => {
    maps.dataset.layer = choice.value;
  });
}

const opacity = document.getElementById("opacity");
opacity.addEventListener("input", () => {
  maps.style.setProperty("--opacity", opacity.value);
  document.getElementById("opacity-value").textContent = `${Math.round(100 * opacity.value)}%`;
});

for (const stage of maps.querySelectorAll(".map-stage")) {
  stage.addEventListener("click", () => {
    const large = stage.closest(".map-card").classList.toggle("large");
    stage.setAttribute("aria-pressed", large);
  });
}
