// The chat: sends what a person says, shows the answer as it comes, with calls and results.
"use strict";
(() => {
  const talk = document.getElementById("talk");
  if (!talk) return;
  const models = document.getElementById("models");
  const said = { first: [], second: [] };

  const add = (parent, tag, name, text = "") => {
    const element = document.createElement(tag);
    element.className = name;
    element.textContent = text;
    parent.append(element);
    element.scrollIntoView({ block: "nearest" });
    return element;
  };

  const events = async function* (body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const data = part.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
        if (data && data !== "[DONE]") yield JSON.parse(data);
      }
    }
  };

  const show = (turn, state, chunk) => {
    if (chunk.error) {
      state.failed = true;
      add(turn, "p", "alert", chunk.error.message).setAttribute("role", "alert");
      return;
    }
    state.reference = chunk.id || state.reference;
    const told = chunk.apprentice || {};
    if (told.call || told.result) {
      state.text = null;
      if (told.call) add(add(turn, "pre", ""), "code", "call", `${told.call.name} ${told.call.arguments}`);
      if (told.result) add(add(turn, "pre", ""), "code", told.result.ok ? "result" : "result failed", told.result.output);
      return;
    }
    const text = chunk.choices?.[0]?.delta?.content;
    if (!text || (!state.text && !text.trim())) return;
    state.text ||= add(turn, "p", "said answer");
    state.text.textContent += text;
    state.answer += text;
  };

  const judge = (turn, reference) => {
    const buttons = add(turn, "div", "judge");
    for (const verdict of ["good", "bad"]) {
      const button = add(buttons, "button", "outline secondary", verdict);
      button.type = "button";
      button.addEventListener("click", async () => {
        const path = `${talk.dataset.conversations}/${encodeURIComponent(reference)}/feedback`;
        const answer = await fetch(path, { method: "POST", body: new URLSearchParams({ verdict }) });
        buttons.textContent = answer.ok ? `You called it ${verdict}.` : "That did not work.";
      });
    }
  };

  const ask = async (column, model, text) => {
    const place = talk.querySelector(`[data-column="${column}"]`);
    const turn = add(place, "article", "turn");
    add(turn, "p", "said user", text);
    const who = add(turn, "p", "who", "…");
    said[column].push({ role: "user", content: text });
    const state = { text: null, answer: "", reference: "" };
    const body = JSON.stringify({ model, messages: said[column] });
    const session = column === "first" ? talk.dataset.session : `${talk.dataset.session}-2`;
    const answer = await fetch(talk.dataset.ask, { method: "POST", body: new URLSearchParams({ body, session }) });
    who.textContent = answer.headers.get("x-apprentice-adapter") || model;
    if (!(answer.headers.get("content-type") || "").startsWith("text/event-stream")) {
      const text = await answer.text();
      let message = "That did not work.";
      try { message = JSON.parse(text).error.message; } catch { message = new DOMParser().parseFromString(text, "text/html").querySelector("[role=alert]")?.textContent || message; }
      add(turn, "p", "alert", message).setAttribute("role", "alert");
      said[column].pop();
      return;
    }
    for await (const chunk of events(answer.body)) show(turn, state, chunk);
    said[column].push({ role: "assistant", content: state.answer });
    if (talk.dataset.judge && state.reference && !state.failed) judge(turn, state.reference);
    turn.dataset.done = "yes";
  };

  models.second.addEventListener("change", () => {
    talk.querySelector('[data-column="second"]').hidden = !models.second.value;
  });
  document.getElementById("say").addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = event.target.text;
    const text = field.value.trim();
    if (!text) return;
    field.value = "";
    const columns = [["first", models.first.value], ...(models.second.value ? [["second", models.second.value]] : [])];
    await Promise.all(columns.map(([column, model]) => ask(column, model, text)));
    field.focus();
  });
})();
