"use strict";
// Shows what the stand-in's state says and sends back what a person does. All text goes in as text nodes, never as markup.

const $ = (id) => document.getElementById(id);
let me = "", place = "", tab = "messages", version = "", since = 0, state = null, asking = null;
const typed = new Map(), errors = new Map(), told = new Set();

function h(tag, properties, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(3).filter((child) => child !== undefined && child !== null && child !== ""));
  return node;
}

function swap(old, fresh) {  // the focus stays where it was, or goes to what took its place
  const held = old.contains(document.activeElement) ? document.activeElement : null;
  const range = held && "selectionStart" in held ? [held.selectionStart, held.selectionEnd] : null;
  old.replaceWith(fresh);
  if (!held) return;
  const next = [...fresh.querySelectorAll("[data-key]")].find((node) => node.dataset.key === held.dataset.key);
  (next ?? fresh).focus();
  if (next && range && range[0] !== null) next.setSelectionRange(...range);
}

function keyed(list, items, draw) {  // only what changed is drawn again, so that nothing is announced twice
  const old = new Map([...list.children].map((node) => [node.item, node]));
  items.forEach(([key, ...facts], index) => {
    const mark = JSON.stringify(facts), was = old.get(key);
    let node = was;
    if (was?.mark !== mark) {
      node = Object.assign(draw(...facts), { item: key, mark });
      if (was) swap(was, node);
    }
    old.delete(key);
    if (list.children[index] !== node) list.insertBefore(node, list.children[index] ?? null);
  });
  old.forEach((node) => node.remove());
}

// Texts

const unescaped = (text) => text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
const nameOf = (id) => state.people.find((person) => person.id === id)?.name ?? id;
const mention = (id) => h("span", { class: id === me ? "mention mine" : "mention" }, `@${nameOf(id)}`);
const around = (mark) => `(?<!\\w)\\${mark}(\\S(?:[^${mark}\\n]*\\S)?)\\${mark}(?!\\w)`;
const MARKS = new RegExp(["```([^]+?)```", "`([^`\\n]+)`", "<([^<>\\n]+)>", ...["*", "_", "~"].map(around)].join("|"), "g");

function link(url, label) {
  if (!/^https:\/\//i.test(url)) return label ? `${label} (${url})` : url;
  return h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, label || url);
}

function mrkdwn(text) {
  const lines = text.split(/(?<=\n)/), shown = [], isQuoted = (line) => /^(>|&gt;)/.test(line);
  while (lines.length) {
    const isQuote = isQuoted(lines[0]), upTo = lines.findIndex((line) => isQuoted(line) !== isQuote);
    const part = lines.splice(0, upTo < 0 ? lines.length : upTo).map((line) => line.replace(/^(>|&gt;) ?/, ""));
    shown.push(isQuote ? h("blockquote", {}, marked(part.join(""))) : marked(part.join("")));
  }
  return shown;
}

function marked(text) {
  const shown = [];
  let at = 0;
  for (const found of text.matchAll(MARKS)) {
    const [whole, pre, code, angle, bold, italic, strike] = found;
    shown.push(unescaped(text.slice(at, found.index)));
    if (angle) shown.push(reference(angle));
    else if (pre || code) shown.push(h(pre ? "pre" : "code", {}, unescaped(pre ?? code)));
    else shown.push(h(bold ? "strong" : italic ? "em" : "s", {}, marked(bold ?? italic ?? strike)));
    at = found.index + whole.length;
  }
  return [...shown, unescaped(text.slice(at))];
}

function reference(angle) {
  const [target, label] = angle.split(/\|(.*)/s), name = target.slice(1);
  if (target[0] === "@") return mention(name);
  if (target[0] === "#") return h("span", { class: "mention" }, `#${state.channels[name] ?? label ?? name}`);
  if (target.startsWith("!date^")) return date(...target.split("^").slice(1, 3), unescaped(label ?? ""));
  if (target[0] === "!") return h("span", { class: "mention" }, `@${label ?? name}`);
  return link(unescaped(target), label && unescaped(label));
}

function date(seconds, format, fallback) {
  const at = new Date(seconds * 1000), show = (options) => at.toLocaleString([], options);
  const days = Math.round((new Date(at).setHours(0, 0, 0, 0) - new Date().setHours(0, 0, 0, 0)) / 864e5);
  const near = { "-1": "yesterday", 0: "today", 1: "tomorrow" }[days];
  const shapes = { date: { dateStyle: "long" }, date_short: { dateStyle: "medium" }, date_long: { dateStyle: "full" } };
  const times = { time: show({ timeStyle: "short" }), time_secs: show({ timeStyle: "medium" }) };
  const shown = { date_num: at.toLocaleDateString("sv"), ...times };
  for (const [name, options] of Object.entries(shapes)) {
    shown[name] = show(options);
    shown[`${name}_pretty`] = near ?? shown[name];
  }
  const isKnown = [...format.matchAll(/{(\w+)}/g)].every(([, name]) => name in shown);
  const text = isKnown ? format.replace(/{(\w+)}/g, (_, name) => shown[name]) : fallback;
  return h("time", { datetime: at.toISOString(), title: fallback }, text);
}

const textOf = (object) => (object.type === "mrkdwn" ? mrkdwn(object.text) : object.text);

function run(part) {
  const kinds = { text: () => part.text, link: () => link(part.url, part.text), user: () => mention(part.user_id) };
  const tags = Object.entries({ bold: "strong", italic: "em", strike: "s", code: "code" });
  const marks = tags.filter(([name]) => part.style?.[name]);
  return marks.reduce((inner, [, tag]) => h(tag, {}, inner), kinds[part.type]?.() ?? `[${part.type}]`);
}

const RICH = {
  rich_text_section: (part) => h("p", {}, part.elements.map(run)),
  rich_text_quote: (part) => h("blockquote", {}, part.elements.map(run)),
  rich_text_preformatted: (part) => h("pre", { tabindex: 0, role: "group", "aria-label": "To copy" }, part.elements.map(run)),
  rich_text_list: (part) => h(part.style === "ordered" ? "ol" : "ul", { class: `indent-${part.indent ?? 0}` },
    part.elements.map((item) => h("li", {}, item.elements.map(run)))),
};

// Blocks; `at` says where they stand: act(block, element, value, node), entered(block, element), enter(…), errors

const BLOCKS = {
  section: (block, at) => h("div", { class: "section" },
    h("div", {}, block.text ? h("div", { class: "text" }, textOf(block.text)) : "",
      block.fields ? h("div", { class: "fields" }, block.fields.map((field) => h("div", { class: "text" }, textOf(field)))) : ""),
    block.accessory ? element(block, block.accessory, at) : ""),
  header: (block) => h("h3", {}, block.text.text),
  divider: () => h("hr"),
  context: (block) => h("div", { class: "context" },
    block.elements.map((part) => h("span", {}, part.alt_text ? `[${part.alt_text}]` : textOf(part)))),
  markdown: (block) => h("div", { class: "text" }, block.text),
  actions: (block, at) => h("div", { class: "actions" }, block.elements.map((part) => element(block, part, at))),
  rich_text: (block) => h("div", { class: "rich" }, block.elements.map((part) => RICH[part.type](part))),
  input: (block, at) => {
    const id = `${at.id}-${block.block_id}`, error = at.errors?.[block.block_id];
    const label = [block.label.text, block.optional ? h("small", {}, " (optional)") : ""];
    const described = { "aria-describedby": `${id}-hint ${id}-error`, "aria-invalid": error ? "true" : false };
    const hint = block.hint ? h("small", { id: `${id}-hint` }, block.hint.text) : "";
    const below = [hint, error ? h("p", { id: `${id}-error`, class: "error" }, error) : ""];
    if (/radio|check/.test(block.element.type))
      return h("fieldset", described, h("legend", {}, label), element(block, block.element, at, {}), below);
    const labels = { id, ...described, "aria-required": block.optional ? false : "true" };
    return h("div", { class: "input" }, h("label", { for: id }, label), element(block, block.element, at, labels), below);
  },
};

const blocks = (list, at) => list.map((block) => BLOCKS[block.type](block, at));

function element(block, part, at, labels = { "aria-label": part.placeholder?.text ?? part.action_id }) {
  const key = { "data-key": `${block.block_id}/${part.action_id}`, autofocus: part.focus_on_load };
  const options = part.options ?? [], entered = at.entered(block, part);
  const enter = (value, node) => {
    at.enter(block, part, value);
    if ((block.type !== "input" || block.dispatch_action) && value !== null) at.act(block, part, value, node);
  };
  if (part.type === "button") {
    const press = (event) => {
      if (/^https:\/\//i.test(part.url ?? "")) window.open(part.url, "_blank", "noopener,noreferrer");
      at.act(block, part, null, event.currentTarget);
    };
    const looks = { class: part.style, "aria-label": part.accessibility_label };
    return h("button", { ...key, ...looks, type: "button", click: press }, part.text.text);
  }
  if (part.type === "overflow") {
    const choose = ({ currentTarget: item }) => {
      item.closest("details").open = false;
      at.act(block, part, item.value, item);
    };
    const item = (option) =>
      h("button", { type: "button", role: "menuitem", value: option.value, click: choose }, option.text.text);
    const more = h("summary", { ...key, "aria-label": "More actions", "aria-haspopup": "menu" }, "⋯");
    return h("details", { class: "overflow" }, more, h("div", { role: "menu" }, options.map(item)));
  }
  if (part.type === "static_select") {
    const shown = (option) => h("option", { value: option.value, selected: option.value === entered }, option.text.text);
    const none = h("option", { value: "", selected: !entered, disabled: true }, part.placeholder?.text ?? "Choose an option");
    return h("select", { ...key, ...labels, change: ({ target }) => enter(target.value, target) }, none, options.map(shown));
  }
  if (part.type === "plain_text_input") {
    const limits = { maxlength: part.max_length ?? 3000, placeholder: part.placeholder?.text, autocomplete: "off" };
    const all = { ...key, ...labels, ...limits, input: ({ target }) => at.enter(block, part, target.value) };
    if (block.dispatch_action) all.keydown = (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      enter(event.target.value, event.target);
    };
    return part.multiline ? h("textarea", { ...all, rows: 4 }, entered ?? "") : h("input", { ...all, value: entered ?? "" });
  }
  const many = part.type === "checkboxes", group = { type: many ? "checkbox" : "radio", name: `${at.id}-${key["data-key"]}` };
  const ticked = (node) => [...node.closest(".options").querySelectorAll(":checked")].map((each) => each.value);
  const change = ({ target }) => enter(many ? ticked(target) : target.value, target);
  const rows = options.map((option) => {
    const checked = [entered].flat().includes(option.value), own = { "data-key": `${key["data-key"]}/${option.value}` };
    return h("label", {}, h("input", { ...group, ...own, value: option.value, change, checked }),
      h("span", {}, textOf(option.text), option.description ? h("small", {}, option.description.text) : ""));
  });
  return h("div", { class: "options", ...(block.type === "input" ? {} : { role: "group", ...labels }) }, rows);
}

function surface(id, values, send) {  // where blocks stand: a message, the modal or the Home tab
  const kept = typed.get(id) ?? typed.set(id, {}).get(id);
  const enter = (block, part, value) => { kept[block.block_id] = { ...kept[block.block_id], [part.action_id]: value }; };
  const entered = (block, part) => {
    const given = values?.[block.block_id]?.[part.action_id];
    const initial = given?.value ?? given?.selected_option?.value ?? given?.selected_options?.map((each) => each.value);
    return kept[block.block_id]?.[part.action_id] ?? initial;
  };
  const act = async (block, part, value, node) => {
    if (part.confirm && !(await confirmed(part.confirm))) {
      enter(block, part, undefined);
      if (node.tagName === "SELECT") node.value = entered(block, part) ?? "";
      return;
    }
    node.setAttribute("aria-busy", "true");
    await send({ action_id: part.action_id, block_id: block.block_id, value, ...(values && { values: filled(id) }) });
    node.removeAttribute("aria-busy");
  };
  return { id, act, enter, entered, errors: errors.get(id) };
}

function filled(id) {  // only fields that are on the surface now, and only what was touched
  const view = [state.view, state.home].find((each) => each?.id === id), there = view?.state.values ?? {}, given = {};
  for (const [block, fields] of Object.entries(typed.get(id) ?? {}))
    for (const [action, value] of Object.entries(fields))
      if (there[block]?.[action] && value !== undefined) given[block] = { ...given[block], [action]: value };
  return given;
}

// What a person does

async function call(path, body) {
  const request = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return (await fetch(path, request)).json();
}

async function act(path, body) {
  const answer = await call(`/ui/${path}`, { user: me, ...body }).catch(() => ({ error: "The local Slack does not answer." }));
  if (answer.error) notice(`That didn't work: ${answer.error}`, "error");
  return answer;
}

function notice(content, kind) {
  if (kind === "error" && state.view) {  // what is beside a modal is out of reach
    errors.set(state.view.id, { "": content });
    return drawModal();
  }
  const node = h("div", { class: kind, role: kind === "error" ? "alert" : false }, h("span", {}, content));
  node.append(h("button", { type: "button", "aria-label": "Dismiss", click: () => node.remove() }, "×"));
  $("notices").replaceChildren(...[...$("notices").children].slice(-1), node);
  setTimeout(() => node.remove(), kind === "error" ? 15000 : 6000);
}

function confirmed(ask) {
  const dialog = $("confirm");
  return new Promise((resolve) => {
    const answer = (is) => () => (dialog.close(), resolve(is));
    dialog.oncancel = () => resolve(false);
    dialog.replaceChildren(h("h2", { id: "confirm-title" }, ask.title.text),
      h("div", { id: "confirm-text", class: "text" }, textOf(ask.text)),
      h("footer", {}, h("button", { type: "button", click: answer(false) }, ask.deny.text),
        h("button", { type: "button", class: ask.style ?? "primary", click: answer(true) }, ask.confirm.text)));
    dialog.showModal();
  });
}

function go(where, which = "messages") {
  [place, tab, document.body.dataset.pane] = [where, which, "main"];
  $("said").textContent = "";
  $("notices").replaceChildren();
  draw();
  $("place").focus();
  $("log").scrollTop = $("log").scrollHeight;
  const has = state.features.app_home[`${which}_tab_enabled`] && person().team_id === state.team;
  if (where[0] === "D" && has) call("/ui/open", { user: me, tab: which });  // that an event fails, nobody is told
}

$("composer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await call("/ui/command", { user: me, channel: place, text: $("line").value });
  $("said").textContent = answer.error ?? "";
  if (!answer.error) $("line").value = "";
});
$("me").addEventListener("change", () => {
  [me, place, version] = [$("me").value, "", ""];
  $("notices").replaceChildren();
  asking?.abort();
});
$("panes").addEventListener("click", (event) => {
  document.body.dataset.pane = event.target.dataset.pane ?? document.body.dataset.pane;
  draw();
  look();
});
$("modal").addEventListener("cancel", (event) => {
  event.preventDefault();
  act("close");
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape")
    for (const menu of document.querySelectorAll("details[open]")) {
      menu.open = false;
      menu.firstChild.focus();
      event.preventDefault();
    }
  const dialog = event.key === "Tab" && [...document.querySelectorAll("dialog[open]")].pop();
  if (!dialog) return;
  const all = [...dialog.querySelectorAll("button, input, select, textarea, summary, a[href], [tabindex='0']")];
  const stops = all.filter((node) => node.checkVisibility());
  const [first, last] = event.shiftKey ? [stops.at(-1), stops[0]] : [stops[0], stops.at(-1)];
  if (document.activeElement !== last && dialog.contains(document.activeElement)) return;
  event.preventDefault();
  first.focus();
});

// What a person sees

const person = () => state.people.find((each) => each.id === me);
const kindOf = (each) => {
  if (each.team_id !== state.team) return " (outsider)";
  return each.is_restricted || each.is_ultra_restricted ? " (guest)" : "";
};
const total = (user) => Object.values(state.unread[user]).reduce((sum, count) => sum + count, 0);
const news = (count) => (count ? h("span", { class: "badge" }, `${count}`, h("span", { class: "unseen" }, " new")) : "");

function draw() {
  const app = state.features.bot_user.display_name, isApp = place[0] === "D";
  const entry = (id, label, count, isOpen) => h("li", {}, h("button",
    { "data-key": id, "aria-current": isOpen ? "page" : false, click: () => go(id) }, h("span", {}, label), news(count)));
  const listed = (letter) => Object.entries(state.channels).filter(([id]) => id[0] === letter).map(([id, name]) =>
    [id, id, letter === "C" ? `# ${name}` : app, state.unread[me][id], id === place]);
  const person = (id, label) => h("option", { value: id }, label);
  const actors = state.people.filter((each) => !each.is_bot && !each.deleted);  // the others cannot sign in
  keyed($("me"), actors.map((each) => [each.id, each.id, `${each.name}${kindOf(each)}`]), person);
  $("me").value = me;
  const others = actors.filter((each) => each.id !== me && total(each.id));
  const waiting = others.map((each) => `${each.name} (${total(each.id)})`).join(", ");
  $("waiting").textContent = waiting && `New for ${waiting}`;
  keyed($("channels"), listed("C"), entry);
  keyed($("apps"), listed("D"), entry);
  for (const button of $("panes").children)
    button.setAttribute("aria-current", button.dataset.pane === document.body.dataset.pane);
  $("place").textContent = isApp ? app : place ? `# ${state.channels[place]}` : "No channel";
  document.title = `${total(me) ? `(${total(me)}) ` : ""}${$("place").textContent} · Slack stand-in`;
  drawTabs(isApp);
  drawLog();
  drawHome();
  drawModal();
  const isHome = isApp && tab === "home", isReadOnly = isApp && state.features.app_home.messages_tab_read_only_enabled;
  const hidden = { log: isHome, home: !isHome, composer: isHome || isReadOnly, "read-only": isHome || !isReadOnly };
  for (const [id, is] of Object.entries(hidden)) $(id).hidden = is;
  $("prompt").textContent = `Message ${$("place").textContent}`;
  $("usage").textContent = state.features.slash_commands.map((each) => `${each.command} ${each.usage_hint ?? ""}`).join(" · ");
  tell();
}

function drawTabs(isApp) {
  const tabs = isApp ? ["home", "messages"] : [], shown = tabs.filter((name) => state.features.app_home[`${name}_tab_enabled`]);
  keyed($("tabs"), shown.map((name) => [name, name, name === tab]), (name, isOpen) =>
    h("button", { role: "tab", "data-key": name, "aria-selected": `${isOpen}`, click: () => go(place, name) },
      name === "home" ? "Home" : "Messages"));
}

function drawLog() {
  const log = $("log"), isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  const mine = (state.ephemerals[place] ?? []).filter((message) => Number(message.ts) > since);
  const order = (message) => (message.subtype ? message.ts : message.thread_ts ?? message.ts);  // replies stand in their thread
  const later = (one, other) => order(one) - order(other) || one.ts - other.ts;
  const shown = [...(state.messages[place] ?? []), ...mine].sort(later);
  keyed(log, shown.map((message) => [`${me}${message.ts}`, message]), drawMessage);
  if (isAtEnd) log.scrollTop = log.scrollHeight;
  if (state.unread[me][place] && !document.hidden && tab === "messages") call("/ui/read", { user: me, channel: place });
}

function drawMessage(message) {
  const where = place, send = (what) => act("press", { channel: where, ts: message.ts, ...what });
  const at = surface(`${me}${message.ts}`, null, send);
  const time = new Date(message.ts * 1000).toLocaleTimeString([], { timeStyle: "short" });
  const kind = message.only_for ? "ephemeral" : message.thread_ts && !message.subtype ? "reply" : "";
  return h("li", { tabindex: -1, class: kind },
    h("p", { class: "by" }, h("strong", {}, state.features.bot_user.display_name),
      h("span", { class: "tag" }, "App"), h("time", {}, time)),
    message.only_for ? h("p", { class: "only" }, "Only visible to you") : "",
    message.thread_ts ? h("p", { class: "only" }, message.subtype ? "Replied to a thread" : "Reply") : "",
    message.blocks.length ? blocks(message.blocks, at) : h("div", { class: "text" }, mrkdwn(message.text)));
}

function drawHome() {
  const home = state.home, send = (what) => act("view-press", { at_home: true, ...what });
  keyed($("home"), [[home?.id ?? "none", home]], () => h("div", { tabindex: -1 },
    home ? blocks(home.blocks, surface(home.id, home.state.values, send)) : h("p", {}, "The app has put nothing here yet.")));
}

function drawModal() {
  const view = state.view, modal = $("modal");
  if (!view) {
    if (!modal.open) return;
    errors.clear();
    modal.close();
    if (document.activeElement === document.body) $("place").focus();
    return;
  }
  const at = surface(view.id, view.state.values, (what) => act("view-press", what));
  const submit = async (event) => {
    event.preventDefault();
    const answer = await act("submit", { values: filled(view.id) });
    if (!answer.error) errors.set(view.id, answer.errors);
    if (state.view) drawModal();
    modal.querySelector("[aria-invalid]:not(fieldset), [aria-invalid] input")?.focus();
  };
  const isNew = modal.firstElementChild?.item !== view.id;
  keyed(modal, [[view.id, view.hash, at.errors]], () => h("form", { novalidate: true, submit, tabindex: -1 },
    h("header", {}, h("h2", { id: "modal-title" }, view.title.text), h("button",
      { type: "button", "aria-label": "Close", "data-key": "x", click: () => act("close", { everything: true }) }, "×")),
    h("div", { class: "body" }, at.errors?.[""] ? h("p", { class: "error", role: "alert" }, at.errors[""]) : "",
      blocks(view.blocks, at)),
    h("footer", {}, h("button", { type: "button", "data-key": "close", click: () => act("close") },
      view.close?.text ?? (view.submit ? "Cancel" : "Close")),
      view.submit ? h("button", { class: "primary", "data-key": "submit" }, view.submit.text) : "")));
  if (!modal.open) modal.showModal();
  const first = (selector) => modal.querySelector(selector);
  if (isNew) (first("[autofocus]") ?? first(".body :is(input, textarea, select)") ?? first("footer button")).focus();
}

function tell() {  // a notification has the message's fallback text
  const open = document.hidden || tab === "home" ? "" : place;
  for (const [id, count] of Object.entries(state.unread[me]))
    for (const message of count ? state.messages[id].slice(-count) : []) {
      const key = `${me}${id}${message.ts}`, isForMe = id[0] === "D" || JSON.stringify(message).includes(`<@${me}>`);
      const isNew = Number(message.ts) > since && !told.has(key) && id !== open;
      if (isForMe && isNew) notice([h("strong", {}, `New for ${nameOf(me)}: `), mrkdwn(message.text)], "news");
      told.add(key);
    }
}

async function look() {
  if (document.hidden || !$("behind").checkVisibility()) return;
  const facts = await call("/ui/behind").catch(() => null);
  const row = ([name, value, more]) => h("div", {}, h("dt", {}, name), h("dd", {}, value, more ? h("small", {}, more) : ""));
  keyed($("facts"), (facts?.sections ?? []).map((section) => [section.title, section]), (section) => h("section", {},
    h("h3", {}, section.title), section.rows.length ? h("dl", {}, section.rows.map(row)) : h("p", {}, section.none)));
}

async function follow() {
  for (;;) {
    asking = new AbortController();
    const [who, signal] = [me, asking.signal];
    try {
      const seen = await (await fetch(`/ui/state?user=${who}&after=${version}`, { signal })).json();
      if (signal.aborted) continue;
      state = seen;
      since ||= Number(seen.now);
      if (!me) { me = state.people[0].id; continue; }
      version = seen.version;
      place = place in state.channels ? place : Object.keys(state.channels)[0] ?? "";
      if (place[0] !== "D") tab = "messages";
      draw();
    } catch (error) {
      if (signal.aborted) continue;
      $("said").textContent = "The workspace has ended, or does not answer.";
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
}

follow();
look();
setInterval(look, 2000);
