// Charts, the switch between light and dark, filters of tables, and nothing that a page cannot do without.
"use strict";
(() => {
  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };

  // A series "whiskers" has points [x, low, high].
  const whiskers = (_, api) => {
    const [x, low, high] = [0, 1, 2].map((place) => api.value(place));
    const [[left, bottom], [, top]] = [api.coord([x, low]), api.coord([x, high])];
    const line = (x1, y1, x2, y2) => ({
      type: "line", shape: { x1, y1, x2, y2 }, style: { stroke: api.visual("color"), lineWidth: 1.5, opacity: 0.6 },
    });
    return {
      type: "group",
      children: [line(left, bottom, left, top), line(left - 4, bottom, left + 4, bottom), line(left - 4, top, left + 4, top)],
    };
  };

  const prepared = (option) => {
    for (const series of option.series || []) {
      if (series.renderItem === "whiskers") {
        Object.assign(series, { renderItem: whiskers, encode: { x: 0, y: [1, 2] }, tooltip: { show: false }, z: 1 });
      }
    }
    // Text, not HTML: names come from models and people, and the page's policy allows no styles in it.
    option.tooltip = { ...option.tooltip, renderMode: "richText", confine: true };
    option.animation = false;
    option.backgroundColor = "transparent";
    return option;
  };

  const draw = async (element) => {
    const answer = await fetch(element.dataset.chart, { headers: { accept: "application/json" } });
    const option = await answer.json();
    if (!answer.ok) {
      element.textContent = option.error;
      return;
    }
    if (!option.series || !option.series.some((series) => (series.data || []).length)) {
      element.textContent = "No figures yet.";
      element.classList.add("empty");
      return;
    }
    window.echarts.getInstanceByDom(element)?.dispose();
    const chart = window.echarts.init(element, dark() ? "dark" : null, { renderer: "svg" });
    chart.setOption(prepared(option));
    chart.on("click", (event) => {
      const link = event.data && event.data.link;
      if (link) location.assign(link);
    });
    element.dataset.drawn = "yes";
  };

  const drawAll = () => document.querySelectorAll("[data-chart]").forEach(draw);
  document.getElementById("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    localStorage.setItem("theme", document.documentElement.dataset.theme);
    drawAll();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("resize", () => {
    document.querySelectorAll("[data-drawn]").forEach((element) => window.echarts.getInstanceByDom(element)?.resize());
  });
  drawAll();

  // Without this script the field is hidden, and the table is whole.
  document.querySelectorAll("[data-filter]").forEach((field) => {
    const rows = [...document.querySelectorAll(`#${field.dataset.filter} tbody tr`)];
    const show = () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
      field.parentElement.querySelector("output").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
    };
    field.parentElement.hidden = false;
    field.addEventListener("input", show);
    show();
  });
})();
