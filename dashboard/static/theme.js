// The theme that a person chose, before anything is painted. Without a choice the system's holds.
"use strict";
(() => {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
})();
