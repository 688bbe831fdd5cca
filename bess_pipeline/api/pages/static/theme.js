// Light or dark, as the system says, or as somebody chose. Loaded before the page is drawn.
"use strict";
const THEMES = ["auto", "light", "dark"];
const root = document.documentElement;

function chosenTheme() {
  try {
    const kept = localStorage.getItem("theme");
    return THEMES.includes(kept) ? kept : "auto";
  } catch {
    return "auto"; // no store: as the system says
  }
}

function apply(theme) {
  if (theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = theme;
}

apply(chosenTheme());

addEventListener("DOMContentLoaded", () => {
  const button = document.getElementById("theme");
  const name = () => { button.textContent = `Theme: ${chosenTheme()}`; };
  name();
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(chosenTheme()) + 1) % THEMES.length];
    try { localStorage.setItem("theme", next); } catch { return; }
    apply(next);
    name();
    dispatchEvent(new Event("themed"));
  });
});
