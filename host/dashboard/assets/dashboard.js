// The dashboard's own script: forms that ask the admin API, deploys, logs and plots. Whatever comes
// from outside is set as text, never as markup.
"use strict";
(() => {
  const find = (selector, from = document) => from.querySelector(selector);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  function make(tag, text, className) {
    const element = document.createElement(tag);
    if (text != null) element.textContent = text;
    if (className) element.className = className;
    return element;
  }

  // --- What came of something.

  function say(result, text, kind) {
    if (!result) return;
    result.className = kind ? `result ${kind}` : "result";
    result.textContent = text;
  }

  function resultOf(form) {
    const named = form.dataset.result;
    return (named && document.getElementById(named)) || find("[data-result]", form);
  }

  class Refusal extends Error {
    constructor(status, problem) {
      super(problem.detail || `The host answered with ${status}.`);
      this.code = (problem.type || "").split(":").pop();
      this.faults = problem.faults || [];
      this.consent = problem.consent;
    }
  }

  // The status and JSON of an answer of the admin API; throws what it refuses.
  async function ask(method, path, body, type, signal) {
    const headers = type ? { "content-type": type } : {};
    let answer;
    try {
      answer = await fetch(`/ui/api${path}`, { method, body, headers, signal });
    } catch {
      throw new Error("The host cannot be reached.");
    }
    if (answer.status === 401) signedOut();
    const text = await answer.text();
    let json = {};
    try { json = JSON.parse(text); } catch { /* Said by the status. */ }
    if (!answer.ok) throw new Refusal(answer.status, json);
    return json;
  }

  // --- The connection of the live part.

  const banner = find("#connection");

  function signedOut() {
    if (!banner) return;
    banner.hidden = false;
    banner.replaceChildren("You are signed out. ");
    const link = make("a", "Sign in");
    link.href = "/ui/login";
    banner.append(link);
  }

  const live = find("#live");

  function warn(text) {
    if (!banner) return;
    banner.hidden = !text;
    banner.textContent = text;
  }

  // The live part connects once the tab is seen: a browser has six connections to a host, and one
  // that is open in a tab that nobody looks at keeps others from loading at all. From then on the
  // extension closes and opens it as the tab is hidden and seen.
  let isFollowing = false;

  function follow() {
    if (isFollowing || document.hidden) return;
    isFollowing = true;
    const from = live.getAttribute("hx-sse:connect");
    htmx.ajax("GET", from, { source: live, timeout: htmx.config.defaultTimeout });
  }

  if (live?.hasAttribute("hx-sse:connect")) {
    window.addEventListener("load", follow);
    document.addEventListener("visibilitychange", follow);
  }

  // The first connection is tried again here, later ones by the extension.
  const again = () => setTimeout(() => { isFollowing = false; follow(); }, 5000);

  document.addEventListener("htmx:response:error", (event) => {
    const { status } = event.detail.ctx.response;
    if (status === 401) return signedOut();
    warn(status === 503
      ? "This page does not follow the host: the limit of live pages is reached. Close one; it is tried again."
      : `This page does not follow the host: it answered with ${status}. It is tried again.`);
    again();
  });
  document.addEventListener("htmx:error", () => {
    warn("The host cannot be reached. What is shown may be old; it is tried again.");
    again();
  });
  document.addEventListener("htmx:sse:error", (event) => {
    if (event.detail.status === 401) return signedOut();
    warn("The host cannot be reached. What is shown may be old; it is tried again.");
  });
  document.addEventListener("htmx:sse:after:connection", () => warn(""));
  live?.addEventListener("fault", (event) => {
    const fault = JSON.parse(event.detail.data);
    warn(fault ? `What is shown may be old: ${fault}` : "");
  });

  // --- A page that stands still when it is told to.

  const pause = find("[data-pause]");
  if (pause) {
    const state = find("[data-pause-state]");
    const isPaused = () => pause.getAttribute("aria-pressed") === "true";
    let held = null;
    live.addEventListener("htmx:sse:before:message", (event) => {
      const { event: name, data } = event.detail.message;
      if (!isPaused() || name) return;
      event.preventDefault();
      held = data;
      state.textContent = "Paused: there is news";
    });
    pause.addEventListener("click", () => {
      pause.setAttribute("aria-pressed", String(!isPaused()));
      pause.textContent = isPaused() ? "Go on" : "Pause";
      state.textContent = isPaused() ? "Paused" : "";
      if (!isPaused() && held != null) {
        htmx.swap({ text: held, sourceElement: live, target: live, swap: "innerMorph" });
        held = null;
      }
    });
  }

  // --- Forms that ask the admin API.

  // A button that needs a second press to be sure. While it waits for that, the live part leaves
  // it as it is.
  function isSure(form, button) {
    if (!form.dataset.sure || button.dataset.armed) return true;
    button.dataset.armed = button.textContent;
    button.textContent = form.dataset.sure;
    form.setAttribute("hx-morph-skip", "");
    setTimeout(() => disarm(form, button), 8000);
    return false;
  }

  function disarm(form, button) {
    if (!button.dataset.armed) return;
    button.textContent = button.dataset.armed;
    delete button.dataset.armed;
    form.removeAttribute("hx-morph-skip");
  }

  // What a form asks for: path, body and its type.
  function request(form) {
    const data = new FormData(form);
    const value = (name) => String(data.get(name) ?? "").trim();
    let path = form.dataset.path.replace("{name}", encodeURIComponent(value("name")));
    switch (form.dataset.body) {
      case "query": {
        const query = new URLSearchParams();
        for (const input of all("input[name]", form)) {
          query.set(input.name, value(input.name) + (input.dataset.unit || ""));
        }
        return [`${path}?${query}`];
      }
      case "text":
        return [path, String(data.get("manifest")).replaceAll("\r\n", "\n"), "application/yaml"];
      case "patch": {
        const patch = {};
        for (const input of all("input[name]", form)) {
          if (input.disabled || input.value === input.defaultValue) continue;
          patch[input.name] = input.value === "" ? null : Number(input.value);
        }
        return [path, JSON.stringify(patch), "application/json"];
      }
      case "key": {
        const key = { user: value("user"), scopes: value("scopes").split(/\s+/).filter(Boolean) };
        if (value("expires-in")) key["expires-in"] = value("expires-in");
        return [path, JSON.stringify(key), "application/json"];
      }
      default:
        return [path];
    }
  }

  // `agreed` is what the operator has agreed to, as the API named it.
  async function send(form, agreed) {
    const result = resultOf(form);
    let [path, body, type] = request(form);
    if (agreed) path += `${path.includes("?") ? "&" : "?"}yes=${agreed}`;
    showFaults(form, []);
    say(result, "…");
    try {
      const answer = await ask(form.dataset.api, path, body, type);
      const lines = [form.dataset.done, answer.key, answer.warning].filter(Boolean);
      say(result, lines.join("\n"), answer.warning ? "odd" : "good");
      const name = encodeURIComponent(String(new FormData(form).get("name") ?? ""));
      const then = form.dataset.then?.replace("{name}", name);
      if (then === "reload") {
        sessionStorage.setItem("said", lines.join("\n"));
        location.reload();
      } else if (then) {
        location.assign(then);
      }
    } catch (error) {
      say(result, error.message, "bad");
      showFaults(form, error.faults || []);
      if (error.consent) consent(result, () => send(form, error.consent));
    }
  }

  // Offers to go on although the release could do more than before. What is agreed to is what is
  // shown: if somebody else has changed the grants or the release meanwhile, it is asked again.
  function consent(result, goOn) {
    const button = make("button", "Allow it and go on");
    button.type = "button";
    button.addEventListener("click", goOn, { once: true });
    result.append(" ", button);
    button.focus();
  }

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (form.dataset.deploy !== undefined) {
      event.preventDefault();
      deploy(form);
    } else if (form.dataset.api) {
      event.preventDefault();
      const button = event.submitter || find("button", form);
      if (!isSure(form, button)) return;
      button.disabled = true;
      await send(form);
      button.disabled = false;
      disarm(form, button);
    }
  });

  // What was said before the page was loaded again.
  const said = sessionStorage.getItem("said");
  if (said) {
    sessionStorage.removeItem("said");
    say(find("[data-result]:not(form)"), said, "good");
  }

  // The faults of a manifest; each leads to its line and column.
  function showFaults(form, faults) {
    const place = find("[data-faults]", form);
    const text = find("textarea", form);
    if (!place || !text) return;
    form.faulty = new Set(faults.map((fault) => fault.line));
    numberLines(form);
    const list = make("ul", null, "faults");
    for (const fault of faults) {
      const button = make("button", `line ${fault.line}, column ${fault.column}: ${fault.reason}`);
      button.type = "button";
      button.addEventListener("click", () => {
        const lines = text.value.split("\n");
        const before = lines.slice(0, fault.line - 1).reduce((sum, line) => sum + line.length + 1, 0);
        const at = before + fault.column - 1;
        text.focus();
        text.setSelectionRange(at, before + (lines[fault.line - 1] || "").length);
      });
      const item = make("li");
      item.append(button);
      list.append(item);
    }
    place.replaceChildren(...(faults.length ? [list] : []));
  }

  // --- Editors: numbered lines, and faults while one types.

  // Between the last key and a look. 400 ms: a pause in typing.
  const CHECK_AFTER_MS = 400;

  function numberLines(form) {
    const [text, lines] = [find("textarea", form), find("[data-lines]", form)];
    if (!lines) return;
    const count = text.value.split("\n").length;
    lines.replaceChildren(...Array.from({ length: count }, (_, at) => {
      return make("span", String(at + 1), form.faulty?.has(at + 1) ? "faulty" : "");
    }));
    lines.scrollTop = text.scrollTop;
  }

  // Asks what is wrong with the text as it is now. What was asked before is of no interest any
  // more.
  async function check(form) {
    const state = find("[data-checked]", form);
    form.asked?.abort();
    const asked = new AbortController();
    form.asked = asked;
    const [path, body, type] = request(form);
    const named = path.endsWith("/") ? `${path}unnamed` : path;
    try {
      await ask("PUT", `${named}?dry-run=true`, body, type, asked.signal);
      if (form.asked !== asked) return;
      showFaults(form, []);
      say(state, "Nothing is wrong with it.", "good");
    } catch (error) {
      if (form.asked !== asked || asked.signal.aborted) return;
      const faults = error.faults || [];
      showFaults(form, faults);
      const many = faults.length === 1 ? "1 fault" : `${faults.length} faults`;
      say(state, faults.length ? `${many}: it would be refused.` : error.message, "bad");
    }
  }

  for (const form of all("form[data-check]")) {
    const text = find("textarea", form);
    let waits;
    text.addEventListener("input", () => {
      numberLines(form);
      clearTimeout(waits);
      waits = setTimeout(check, CHECK_AFTER_MS, form);
    });
    form.addEventListener("submit", () => {
      clearTimeout(waits);
      form.asked?.abort();
      form.asked = null;
      say(find("[data-checked]", form), "");
    });
    text.addEventListener("scroll", () => { find("[data-lines]", form).scrollTop = text.scrollTop; });
    numberLines(form);
    if (text.value.trim()) check(form);
  }

  // Two inputs for one value, such as a slider and a number.
  document.addEventListener("input", (event) => {
    const twin = event.target.dataset?.twin;
    if (twin) document.getElementById(twin).value = event.target.value;
  });

  // --- Deploys.

  const STEPS = [
    ["upload", "The component is uploaded"],
    ["check", "It is a window"],
    ["compile", "It is compiled"],
    ["try", "An instance has started"],
    ["record", "The release is on disk"],
    ["swap", "The release gets requests"],
    ["drain", "The release before has ended its requests"],
  ];

  function drawSteps(list, done) {
    const items = STEPS.filter(([step]) => step !== "drain" || done.has("drain")).map(([step, title]) => {
      const item = make("li", done.has(step) ? `✓ ${title}` : title);
      item.dataset.step = step;
      if (done.has(step)) {
        item.dataset.done = "";
        if (done.get(step)) item.append(make("span", done.get(step), "hint"));
      }
      return item;
    });
    list.hidden = false;
    list.replaceChildren(...items);
  }

  async function deploy(form, agreed) {
    const result = find("[data-result]", form);
    const list = find("[data-steps]", form);
    const button = find("button.main", form);
    const difference = find("[data-difference]", form);
    const file = find("input[type=file]", form).files[0];
    const data = new FormData(form);
    const value = (name) => String(data.get(name) ?? "").trim();
    const name = form.dataset.name || value("name");
    const query = new URLSearchParams();
    if (agreed) query.set("yes", agreed);
    if (value("probe")) query.set("probe", value("probe"));
    if (value("canary")) query.set("canary", `${value("canary")}%`);
    if (data.has("fallback")) query.set("fallback", "true");
    const headers = { accept: "application/x-ndjson", "content-type": "application/wasm" };
    if (value("by")) headers["x-hms-deployer"] = value("by");
    const done = new Map();
    difference.hidden = true;
    difference.replaceChildren();
    drawSteps(list, done);
    say(result, "Uploading …");
    button.disabled = true;
    try {
      const url = `/ui/api/windows/${encodeURIComponent(name)}?${query}`;
      const answer = await fetch(url, { method: "PUT", body: file, headers });
      if (answer.status === 401) signedOut();
      if (!answer.ok) throw new Refusal(answer.status, await answer.json().catch(() => ({})));
      done.set("upload", "");
      drawSteps(list, done);
      for await (const line of lines(answer.body)) deployLine(form, line, done);
    } catch (error) {
      const text = error instanceof TypeError ? "The host cannot be reached." : error.message;
      say(result, text, "bad");
      if (error.consent) {
        const why = make("div", null, "difference");
        why.append(make("p", error.message));
        say(result, "The release could do more than before. Nothing has changed yet.", "odd");
        difference.hidden = false;
        difference.append(why);
        consent(result, () => deploy(form, error.consent));
      }
    }
    button.disabled = false;
  }

  // The JSON values of a stream, one a line.
  async function* lines(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      const parts = (rest + (value || "")).split("\n");
      rest = done ? "" : parts.pop();
      for (const part of parts) if (part.trim()) yield JSON.parse(part);
      if (done) return;
    }
  }

  function deployLine(form, line, done) {
    const result = find("[data-result]", form);
    const list = find("[data-steps]", form);
    if (line.problem) throw new Refusal(line.problem.status, line.problem);
    if (line.step) {
      done.set(line.step, `${line.ms.toFixed(line.ms < 10 ? 1 : 0)} ms`);
      drawSteps(list, done);
      say(result, "Deploying …");
    } else if (line.waiting) {
      say(result, `Waiting for ${line.waiting}: ${line.ahead} before it …`);
    } else if (line.difference) {
      showDifference(form, line.difference);
    } else if (line.deployed) {
      deployed(form, line.deployed, done);
    }
  }

  function showDifference(form, difference) {
    const place = find("[data-difference]", form);
    const box = make("div", null, "difference");
    box.append(make("h3", `Compared with release ${difference.live}`));
    const list = make("ul");
    const groups = [["May now", difference.capabilities?.gained], ["May no longer", difference.capabilities?.lost],
      ["Imports now", difference.imports?.gained], ["Imports no longer", difference.imports?.lost],
      ["Exports now", difference.exports?.gained], ["Exports no longer", difference.exports?.lost]];
    for (const [title, names] of groups) for (const name of names || []) list.append(make("li", `${title}: ${name}`));
    for (const note of difference.notes || []) list.append(make("li", note));
    list.append(make("li", `Size: ${difference.size[0]} bytes before, ${difference.size[1]} now`));
    box.append(list);
    place.hidden = false;
    place.replaceChildren(box);
  }

  async function deployed(form, what, done) {
    const result = find("[data-result]", form);
    const list = find("[data-steps]", form);
    const { number } = what.release;
    const text = what.canary ? `Release ${number} gets ${what.canary} of the requests.` : `Release ${number} is live.`;
    say(result, text, "good");
    if (!form.dataset.name) {
      const link = make("a", `Window ${what.window}`);
      link.href = `/ui/windows/${encodeURIComponent(what.window)}`;
      result.append(" ", link);
    }
    form.reset();
    // The last step goes on by itself: watch it until the old release has no requests.
    for (let look = 0; what.replaced && look < 60; look += 1) {
      const status = await ask("GET", `/windows/${encodeURIComponent(what.window)}`).catch(() => null);
      const draining = status?.window.draining.some((old) => old.number === what.replaced);
      if (status && !draining) {
        done.set("drain", "");
        drawSteps(list, done);
        return;
      }
      await new Promise((over) => setTimeout(over, 500));
    }
  }

  for (const drop of all("[data-drop]")) {
    const input = find("input[type=file]", drop);
    const over = (is) => (event) => {
      event.preventDefault();
      drop.classList.toggle("over", is);
    };
    drop.addEventListener("dragover", over(true));
    drop.addEventListener("dragleave", over(false));
    drop.addEventListener("drop", (event) => {
      over(false)(event);
      if (!event.dataTransfer.files.length) return;
      input.files = event.dataTransfer.files;
      if (drop.closest("form").checkValidity()) drop.closest("form").requestSubmit();
    });
  }

  // --- The log of a window.

  const MAX_LINES = 2000;
  const log = find("[data-log]");
  if (log) {
    const pauseLog = find("[data-log-pause]");
    const filter = find("[data-log-filter]");
    const count = find("[data-log-count]");
    let held = [];
    const isPaused = () => pauseLog.getAttribute("aria-pressed") === "true";
    const fits = (line) => line.textContent.toLowerCase().includes(filter.value.toLowerCase());

    const draw = (line) => {
      const row = make("p", null, line.level || "");
      const time = make("time", line.at.replace("T", " ").replace(/\.\d+/, "").replace("Z", ""));
      time.dateTime = line.at;
      row.append(time);
      if (line.level) row.append(make("span", line.level, "level"));
      row.append(line.text);
      row.hidden = !fits(row);
      return row;
    };
    const append = (lines) => {
      const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
      log.append(...lines.map(draw));
      while (log.childElementCount > MAX_LINES) log.firstElementChild.remove();
      if (atEnd) log.scrollTop = log.scrollHeight;
    };
    const showCount = () => {
      count.textContent = isPaused() ? `Paused: ${held.length} new lines` : "";
    };
    live.addEventListener("log", (event) => {
      const { first, lines } = JSON.parse(event.detail.data);
      if (first && !isPaused()) log.replaceChildren();
      if (isPaused()) held = held.concat(first && log.childElementCount ? [] : lines).slice(-MAX_LINES);
      else append(lines);
      showCount();
    });
    pauseLog.addEventListener("click", () => {
      pauseLog.setAttribute("aria-pressed", String(!isPaused()));
      pauseLog.textContent = isPaused() ? "Go on" : "Pause";
      if (!isPaused()) append(held.splice(0));
      showCount();
    });
    filter.addEventListener("input", () => {
      for (const row of log.children) row.hidden = !fits(row);
    });
  }

  // --- Values of a store, masked until they are asked for.

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-store]");
    if (!button) return;
    const place = button.nextElementSibling;
    if (button.getAttribute("aria-expanded") === "true") {
      place.hidden = true;
      place.textContent = "";
      button.textContent = "Show";
      button.setAttribute("aria-expanded", "false");
      return;
    }
    const query = new URLSearchParams({ bucket: button.dataset.bucket, key: button.dataset.key });
    try {
      const value = await ask("GET", `${button.dataset.store}?${query}`);
      place.textContent = value.text ?? hex(value.base64);
      if (value.cut) place.textContent += `\n… ${value.bytes} bytes in all`;
    } catch (error) {
      place.textContent = error.message;
    }
    place.hidden = false;
    button.textContent = "Hide";
    button.setAttribute("aria-expanded", "true");
  });

  const hex = (base64) => [...atob(base64)].map((byte) => byte.charCodeAt(0).toString(16).padStart(2, "0")).join(" ");

  // --- Plots.

  const plots = find("[data-plots]");
  if (plots && window.uPlot) {
    const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const kept = [];
    const drawn = [];
    const clock = (at) => new Date(at * 1000).toISOString().slice(11, 16);
    const second = (at) => new Date(at * 1000).toISOString().slice(11, 19);

    const kinds = {
      rate: [["Requests/s", "--strong", (point) => point.rate], ["Errors/s", "--bad", (point) => point.failures]],
      latency: [["p50", "--good", (point) => point.p50], ["p99", "--odd", (point) => point.p99]],
    };
    const dataOf = (kind) => [kept.map((point) => point.at), ...kinds[kind].map(([, , read]) => kept.map(read))];

    const draw = () => {
      for (const plot of drawn.splice(0)) plot.destroy();
      for (const place of all("[data-plot]", plots)) {
        const axis = { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line") } };
        const series = kinds[place.dataset.plot].map(([label, name]) => ({
          label, stroke: color(name), width: 2, spanGaps: true, value: (_, value) => (value == null ? "–" : value.toFixed(1)),
        }));
        const options = {
          width: place.clientWidth, height: 200, tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
          series: [{ label: "UTC", value: (_, at) => (at == null ? "–" : second(at)) }, ...series],
          axes: [{ ...axis, size: 32, space: 70, values: (_, ticks, at, space, step) => ticks.map(step < 60 ? second : clock) }, { ...axis, size: 60 }],
          scales: { y: { range: (_, low, high) => [0, Math.max(high || 0, 1)] } }, cursor: { drag: { x: false, y: false } },
        };
        const plot = new uPlot(options, dataOf(place.dataset.plot), place);
        plot.kind = place.dataset.plot;
        drawn.push(plot);
      }
    };

    const minutes = () => {
      const rows = new Map();
      for (const point of kept) {
        const minute = Math.floor(point.at / 60);
        const row = rows.get(minute) || { points: 0, rate: 0, failures: 0, p50: [], p99: [] };
        row.points += 1;
        row.rate += point.rate;
        row.failures += point.failures;
        if (point.p50 != null) row.p50.push(point.p50);
        if (point.p99 != null) row.p99.push(point.p99);
        rows.set(minute, row);
      }
      const ms = (value) => (Number.isFinite(value) ? `${value.toFixed(1)} ms` : "–");
      const lines = [...rows].sort((a, b) => b[0] - a[0]).map(([minute, row]) => {
        const line = make("tr");
        const head = make("th", clock(minute * 60));
        head.scope = "row";
        const mean = row.p50.reduce((sum, value) => sum + value, 0) / row.p50.length;
        const cells = [(row.rate / row.points).toFixed(1), (row.failures / row.points).toFixed(1), ms(mean), ms(Math.max(...row.p99))];
        line.append(head, ...cells.map((text) => make("td", text, "number")));
        return line;
      });
      find("[data-plot-table] tbody", plots).replaceChildren(...lines);
    };

    live.addEventListener("series", (event) => {
      const { first, points } = JSON.parse(event.detail.data);
      if (first) kept.length = 0;
      kept.push(...points);
      const oldest = (kept.at(-1)?.at ?? 0) - 15 * 60;
      while (kept.length && kept[0].at < oldest) kept.shift();
      if (!drawn.length) draw();
      for (const plot of drawn) plot.setData(dataOf(plot.kind));
      minutes();
    });
    let resized;
    window.addEventListener("resize", () => {
      clearTimeout(resized);
      resized = setTimeout(draw, 200);
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  }
})();
