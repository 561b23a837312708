"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const column = (name) => data.columns.indexOf(name);  // in lower case; data.header is as in the file
  const PATH = column("path"), CONFIDENCE = column("confidence"), STATUS = column("status"), NOTE = column("note");
  const READ = column(data.has_numbers ? "number" : "digit");
  const isLabel = (value) => value === "none" || (data.has_numbers ? /^[0-9]{1,1024}$/ : /^[0-9]$/).test(value);
  const CORRECTED = column("corrected");
  const CARD_WIDTH = data.width + 16, CARD_HEIGHT = data.height + 52, SPARE_ROWS = 2;
  const STATUS_ORDER = { review: 0, "no-digit": 1, error: 2, ok: 3 };
  const audit = new Set(data.audit);
  const storageKey = "digitscan-review:" + data.digest;

  // --- what was corrected -------------------------------------------------------------------------------

  const corrections = new Map();
  const history = [];
  /** What the browser keeps: pairs of a row and its correction; null where the CSV's own was taken back. */
  function readStored() {
    try {
      const pairs = JSON.parse(localStorage.getItem(storageKey) || "[]");
      // Other pages may write there as well, in some browsers.
      return new Map(pairs.filter(([index, value]) => index in data.rows && (value === null || isLabel(value))));
    } catch { return new Map(); }  // A browser may keep nothing for files; the page works without it.
  }

  function loadCorrections() {
    corrections.clear();
    if (CORRECTED >= 0) data.rows.forEach((row, index) => row[CORRECTED] && corrections.set(index, row[CORRECTED]));
    for (const [index, value] of readStored()) value === null ? corrections.delete(index) : corrections.set(index, value);
  }

  function applyCorrection(index, value) {
    value === undefined ? corrections.delete(index) : corrections.set(index, value);
    const stored = readStored();  // another tab may have added some
    stored.set(index, value ?? null);
    try { localStorage.setItem(storageKey, JSON.stringify([...stored])); } catch { /* as above */ }
    showProgress();
  }

  function setCorrection(index, value) {
    history.push([index, corrections.get(index)]);
    applyCorrection(index, value);
  }

  function undo() {
    if (!history.length) return;
    const [index, value] = history.pop();
    applyCorrection(index, value);
    const position = shown.indexOf(index);
    if (position >= 0) select(position);
    else render();
  }

  const readIn = (index) => data.rows[index][READ] || "none";

  // --- which rows are shown, and in which order -----------------------------------------------------------

  let shown = [];
  let selected = 0;
  let isFinished = false;  // the last row was just corrected: another key must not correct it again
  const doubt = (index) => {
    const row = data.rows[index];
    return (STATUS_ORDER[row[STATUS]] ?? 4) + (Number(row[CONFIDENCE].replace(",", ".")) || 0);
  };

  function isShown(index) {
    const row = data.rows[index];
    const view = find("view").value, digit = find("digit")?.value, status = find("status").value;
    if (view === "doubtful" && row[STATUS] === "ok") return false;
    if (view === "audit" && !audit.has(index)) return false;
    if (view === "corrected" && !corrections.has(index)) return false;
    if (digit && (corrections.get(index) ?? readIn(index)) !== digit) return false;
    if (status && row[STATUS] !== status) return false;
    if ((Number(row[CONFIDENCE].replace(",", ".")) || 0) > Number(find("confidence").value || 1)) return false;
    const text = find("search").value.toLowerCase();
    const searched = [row[PATH], row[NOTE], ...(data.has_numbers ? [row[READ]] : [])];
    return !text || searched.join("\n").toLowerCase().includes(text);
  }

  function filter() {
    const kept = shown[selected];
    shown = [];
    for (let index = 0; index < data.rows.length; index++) if (isShown(index)) shown.push(index);
    const order = find("order").value;
    if (order === "doubt") {
      const doubts = new Map(shown.map((index) => [index, doubt(index)]));
      shown.sort((a, b) => doubts.get(a) - doubts.get(b) || a - b);
    } else if (order === "read") {
      const key = (index) => String(readIn(index).length).padStart(4, "0") + readIn(index);  // short numbers first
      shown.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : a - b));
    }
    find("count").textContent = shown.length.toLocaleString("en") + (shown.length === 1 ? " row" : " rows");
    find("grid").scrollTop = 0;
    select(Math.max(0, shown.indexOf(kept)));
  }

  // --- pictures: many in one file, loaded when they come into view ----------------------------------------

  const sprites = new Map();

  function spriteUrl(number) {
    if (!sprites.has(number)) {
      const source = data.sprites[number];
      if (source.startsWith("data-base64:")) {
        const bytes = Uint8Array.from(atob(source.slice(12)), (c) => c.charCodeAt(0));
        sprites.set(number, URL.createObjectURL(new Blob([bytes], { type: "image/png" })));
      } else sprites.set(number, source);
    }
    return sprites.get(number);
  }

  function placeOf(index) {
    const slot = index % data.per_sprite;
    const x = (slot % data.columns_per_sprite) * (data.width + data.input_side);
    return [Math.floor(index / data.per_sprite), x, Math.floor(slot / data.columns_per_sprite) * data.height];
  }

  function draw(canvas, index, isInput) {
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (data.has_picture[index] < (isInput ? "2" : "1")) return;
    const [number, x, y] = placeOf(index);
    const image = new Image();
    image.onload = () => {
      if (shown[selected] !== index) return;
      const [left, width, height] = isInput ? [x + data.width, data.input_side, data.input_side] : [x, data.width, data.height];
      context.drawImage(image, left, y, width, height, 0, 0, canvas.width, canvas.height);
    };
    image.src = spriteUrl(number);
  }

  // --- the grid: only the cards in view are in the document ------------------------------------------------

  const cards = new Map();

  function columnCount() {
    return Math.max(1, Math.floor(find("grid").clientWidth / CARD_WIDTH));
  }

  function makeCard(position) {
    const index = shown[position], row = data.rows[index];
    const card = document.createElement("div"), shot = document.createElement("div"), read = document.createElement("div");
    card.className = "card";
    card.id = "row-" + index;
    card.setAttribute("role", "option");
    card.setAttribute("aria-posinset", String(position + 1));
    card.setAttribute("aria-setsize", String(shown.length));
    shot.className = "shot";
    if (data.has_picture[index] === "0") shot.classList.add("missing");
    else {
      const [number, x, y] = placeOf(index);
      shot.style.backgroundImage = `url("${spriteUrl(number)}")`;
      shot.style.backgroundPosition = `${-x}px ${-y}px`;
    }
    read.className = "read " + row[STATUS];
    card.append(shot, read);
    card.addEventListener("click", () => { select(position); find("grid").focus(); });
    return card;
  }

  function describe(index) {
    const row = data.rows[index], value = corrections.get(index);
    const confidence = row[CONFIDENCE] ? ", " + row[CONFIDENCE] : "";
    return `${row[READ] || "none"}, ${row[STATUS]}${confidence}` + (value === undefined ? "" : `, corrected to ${value}`);
  }

  function updateCard(card, position) {
    const index = shown[position], columns = columnCount(), value = corrections.get(index), row = data.rows[index];
    card.style.transform = `translate(${(position % columns) * CARD_WIDTH}px, ${Math.floor(position / columns) * CARD_HEIGHT}px)`;
    card.setAttribute("aria-selected", String(position === selected));
    card.setAttribute("aria-label", `${row[PATH]}: ${describe(index)}`);
    card.classList.toggle("changed", value !== undefined);
    const read = row[READ] || "none";
    card.lastChild.textContent = value === undefined || value === read ? `${read} ${row[CONFIDENCE]}` : `${read} → ${value}`;
  }

  function render() {
    const grid = find("grid"), columns = columnCount();
    find("canvas").style.height = Math.ceil(shown.length / columns) * CARD_HEIGHT + "px";
    const first = Math.max(0, Math.floor(grid.scrollTop / CARD_HEIGHT) - SPARE_ROWS) * columns;
    const last = Math.min(shown.length, (Math.ceil((grid.scrollTop + grid.clientHeight) / CARD_HEIGHT) + SPARE_ROWS) * columns);
    const wanted = new Set(shown.slice(first, last));
    for (const [index, card] of cards) {
      if (!wanted.has(index)) { card.remove(); cards.delete(index); }
    }
    for (let position = first; position < last; position++) {
      const index = shown[position];
      if (!cards.has(index)) {
        const card = makeCard(position);
        cards.set(index, card);
        find("canvas").append(card);
      }
      updateCard(cards.get(index), position);
    }
    if (shown.length) grid.setAttribute("aria-activedescendant", "row-" + shown[selected]);
    else grid.removeAttribute("aria-activedescendant");
  }

  function forgetCards() {
    for (const card of cards.values()) card.remove();
    cards.clear();
  }

  // --- the selected row --------------------------------------------------------------------------------

  function select(position) {
    isFinished = false;
    if (data.has_numbers) find("number").value = "";
    selected = Math.min(Math.max(0, position), Math.max(0, shown.length - 1));
    const grid = find("grid"), top = Math.floor(selected / columnCount()) * CARD_HEIGHT;
    if (top < grid.scrollTop) grid.scrollTop = top;
    if (top + CARD_HEIGHT > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + CARD_HEIGHT - grid.clientHeight;
    render();
    showCurrent();
  }

  function showCurrent() {
    const index = shown[selected];
    const isEmpty = index === undefined;
    find("answer").textContent = isEmpty ? "No row is shown." : describe(index);
    find("note").textContent = isEmpty ? "" : data.rows[index][NOTE];
    find("path").textContent = isEmpty ? "" : data.rows[index][PATH] + (data.has_picture[index] === "0" ? " (no picture)" : "");
    for (const button of find("keys").querySelectorAll("[data-value]")) {
      button.setAttribute("aria-pressed", String(!isEmpty && corrections.get(index) === button.dataset.value));
    }
    for (const canvas of document.querySelectorAll("figure canvas")) {
      if (isEmpty) canvas.getContext("2d").clearRect(0, 0, 1e4, 1e4);
      else draw(canvas, index, canvas.id === "model-input");
    }
  }

  function correct(value) {
    if (!shown.length || isFinished) return;
    setCorrection(shown[selected], value);
    const wasLast = selected === shown.length - 1;
    select(selected + 1);
    if (wasLast) {
      isFinished = true;
      find("answer").textContent += ". That was the last row: move to correct another.";
    }
  }

  /** Take the number that was typed; what was read is right if none was. */
  function correctToTyped() {
    const typed = find("number").value;
    find("grid").focus();
    if (typed) correct(typed);
    else confirmRow();
  }

  /** Return whether a key is one of the number that is typed, or ends it. */
  function typesNumber(event) {
    const field = find("number");
    const isInField = event.target === field;
    if (event.key === "Enter" && (isInField || field.value)) { if (!event.repeat) correctToTyped(); }
    else if (event.key === "Escape" && isInField) { field.value = ""; find("grid").focus(); }
    else if (/^[0-9]$/.test(event.key) && !isInField) { field.value += event.key; field.focus(); }
    else return false;
    return true;
  }

  function confirmRow() {
    if (!shown.length) return;
    correct(readIn(shown[selected]));
  }

  function showProgress() {
    const doubtful = data.rows.reduce((count, row) => count + (row[STATUS] !== "ok"), 0);
    let looked = 0;
    for (const index of corrections.keys()) looked += data.rows[index][STATUS] !== "ok";
    find("progress").textContent = `${looked.toLocaleString("en")} of ${doubtful.toLocaleString("en")} doubtful rows looked at, ` +
      `${corrections.size.toLocaleString("en")} in all`;
    showAudit();
  }

  function showAudit() {
    if (!audit.size) return;
    let seen = 0, wrong = 0;
    for (const index of audit) {
      if (!corrections.has(index)) continue;
      seen += 1;
      wrong += corrections.get(index) !== readIn(index);
    }
    const left = audit.size - seen;
    const [low, high] = wilson(wrong, seen);
    const percent = (share) => (100 * share).toFixed(2) + " %";
    find("audit-result").textContent = `Audit: ${seen} of ${audit.size} ok rows looked at` +
      (seen ? `, ${wrong} wrong: ${percent(wrong / seen)}, 95 % interval ${percent(low)} to ${percent(high)}` : "") +
      (left ? "" : ". The audit is complete.");
  }

  /** The 95 % interval of a share (Wilson 1927). */
  function wilson(count, total) {
    if (!total) return [0, 1];
    const z = 1.959964, share = count / total, scale = 1 + (z * z) / total;
    const middle = (share + (z * z) / (2 * total)) / scale;
    const half = (z * Math.sqrt((share * (1 - share)) / total + (z * z) / (4 * total * total))) / scale;
    return [Math.max(0, middle - half), Math.min(1, middle + half)];
  }

  // --- the corrected CSV -----------------------------------------------------------------------------------

  const quote = (cell) => (/[",;|\t\r\n]/.test(cell) ? '"' + cell.replaceAll('"', '""') + '"' : cell);

  function makeCsv() {
    const columns = [...data.columns], header = [...data.header];
    for (const name of audit.size ? ["corrected", "audit"] : ["corrected"]) {
      if (!columns.includes(name)) { columns.push(name); header.push(name); }
    }
    const lines = [header.map(quote).join(",")];
    data.rows.forEach((row, index) => {
      const cells = [...row];
      cells[columns.indexOf("corrected")] = corrections.get(index) ?? "";
      if (columns.includes("audit")) cells[columns.indexOf("audit")] = audit.has(index) ? "yes" : cells[columns.indexOf("audit")] ?? "";
      lines.push(cells.map(quote).join(","));
    });
    return (data.has_mark ? "\ufeff" : "") + lines.join("\n") + "\n";
  }

  function download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([makeCsv()], { type: "text/csv" }));
    link.download = data.name.replace(/(\.csv)?$/i, "-corrected.csv");
    link.click();
  }

  // --- keys and buttons ----------------------------------------------------------------------------------

  function onKey(event) {
    const isInNumber = event.target.id === "number";
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|SELECT)$/.test(event.target.tagName) && !isInNumber) return;
    if (event.target.tagName === "BUTTON" && (event.key === "Enter" || event.key === " ")) return;
    if (data.has_numbers && typesNumber(event)) { event.preventDefault(); return; }
    if (isInNumber && !/^(x|u|Arrow(Up|Down)|Page(Up|Down))$/i.test(event.key)) return;  // the field's own keys
    const page = columnCount() * Math.max(1, Math.floor(find("grid").clientHeight / CARD_HEIGHT));
    const moves = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: columnCount(), ArrowUp: -columnCount(), PageDown: page, PageUp: -page,
      Home: -Infinity, End: Infinity,
    };
    if (event.key in moves) select(Math.min(Math.max(selected + moves[event.key], 0), shown.length - 1));
    else if (event.repeat && /^([0-9xu]|Enter)$/i.test(event.key)) { /* a key that is held corrects one row */ }
    else if (/^[0-9]$/.test(event.key)) correct(event.key);
    else if (event.key.toLowerCase() === "x") correct("none");
    else if (event.key.toLowerCase() === "u") undo();
    else if (event.key === "Enter") confirmRow();
    else return;
    event.preventDefault();
  }

  document.addEventListener("keydown", onKey);
  find("keys").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.id === "undo") undo();
    else if (button.id === "set") correctToTyped();
    else if (button.id === "confirm") confirmRow();
    else correct(button.dataset.value);
  });
  find("number")?.addEventListener("input", (event) => { event.target.value = event.target.value.replace(/[^0-9]/g, ""); });
  find("download").addEventListener("click", download);
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  find("filters").addEventListener("input", () => { forgetCards(); filter(); });
  find("grid").addEventListener("scroll", () => requestAnimationFrame(render));
  addEventListener("resize", render);
  addEventListener("storage", (event) => {
    if (event.key !== storageKey) return;
    loadCorrections();
    showProgress();
    render();
    showCurrent();
  });

  loadCorrections();
  if (!data.rows.some((row) => row[STATUS] !== "ok")) find("view").value = "all";
  showProgress();
  filter();
  find("grid").focus();
})();
