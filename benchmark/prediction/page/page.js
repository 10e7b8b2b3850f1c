"use strict";

const at = (id) => document.getElementById(id);
const most = Number(document.body.dataset.most);
let film = null; // the chosen file
let asked = 0; // counts requests, so that a late answer to an earlier one is passed over
let shown = null; // the last answer

function say(text, fault = "") {
  at("status").textContent = text;
  at("fault").textContent = fault;
  at("fault").hidden = !fault;
}

function refuse(text) {
  at("result").hidden = true;
  say("", text);
}

function choose(files) {
  asked += 1;
  if (files.length !== 1) {
    film = null;
    at("again").disabled = true;
    if (files.length) refuse(`${files.length} files; choose one film at a time.`);
    return;
  }
  film = files[0];
  at("again").disabled = false;
  segment();
}

async function segment() {
  const mine = ++asked;
  const size = film.size / 2 ** 20;
  if (size > most) {
    refuse(`The file has ${size.toFixed(0)} MB; a film may have ${most} MB.`);
    return;
  }
  const form = new FormData();
  form.append("system", at("system").value);
  form.append("image", film);
  say("Segmenting… The first film takes longer, while the network loads.");
  at("again").disabled = true;
  let answer;
  try {
    const reply = await fetch("/segment", { method: "POST", body: form });
    answer = await reply.json();
  } catch {
    answer = { error: "No answer: lungbench serve has stopped, or the file cannot be read." };
  }
  if (mine !== asked) return;
  at("again").disabled = false;
  if (answer.error) refuse(answer.error);
  else show(answer);
}

function show(answer) {
  shown = answer;
  say("Done.");
  at("result-heading").textContent = film.name;
  at("phantom").hidden = !answer.phantom;
  at("flag").classList.toggle("raised", answer.flagged);
  at("flag").textContent = answer.flagged
    ? `Look at this one: ${answer.reasons.join("; ")}.`
    : "No warning: the mirrored film gives a similar mask, and its parts and area are plausible.";
  draw();
  at("numbers").replaceChildren(...numbers(answer).map(line));
  at("masks").replaceChildren(...Object.entries(answer.masks).map(mask));
  at("result").hidden = false;
  at("result-heading").focus();
}

function draw() {
  at("overlay").src = at("contours").checked ? shown.overlay : shown.film;
}

function numbers(answer) {
  const whole = (value) => Math.round(value).toLocaleString("en").replaceAll(",", "\u202f");
  const rows = [["film", `${answer.width} × ${answer.height} px`]];
  for (const area of answer.areas) {
    rows.push([`area of the ${area.structure}`, `${whole(area.px)} px`]);
    if (area.mm2 !== null) rows.push(["", `${whole(area.mm2)} mm²`]);
  }
  if (answer.spacing === null) rows.push(["spacing", "not stated by the file"]);
  else rows.push(["spacing", `${answer.spacing.map((side) => side.toFixed(3)).join(" × ")} mm`]);
  const ratio = answer.cardiothoracic_ratio;
  if (ratio !== null) rows.push(["cardiothoracic ratio", ratio.toFixed(2)]);
  rows.push(["disagreement with the mirrored film", answer.disagreement.toFixed(3)]);
  const between = answer.disagreement_networks;
  if (between !== null) rows.push(["disagreement between networks", between.toFixed(3)]);
  rows.push(["connected parts of the lungs", String(answer.components)]);
  for (const remark of answer.remarks) rows.push(["reading", remark]);
  rows.push(["system", answer.system]);
  return rows;
}

function line([name, value]) {
  const row = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = name;
  const cell = document.createElement("td");
  cell.textContent = value;
  row.append(head, cell);
  return row;
}

function mask([structure, address]) {
  const figure = document.createElement("figure");
  const picture = document.createElement("img");
  const name = structure.replaceAll("_", " ");
  picture.src = address;
  picture.alt = `Predicted mask of the ${name}`;
  const caption = document.createElement("figcaption");
  const link = document.createElement("a");
  link.href = address;
  link.download = `${film.name.replace(/\.[^.]*$/, "")}_${structure}.png`;
  link.textContent = `Download ${name}`;
  caption.append(link);
  figure.append(picture, caption);
  return figure;
}

at("image").addEventListener("change", (event) => choose(event.target.files));
at("contours").addEventListener("change", draw);
at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (film) segment();
});
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  // Over the whole window: a film dropped beside the field must not replace the page.
  window.addEventListener(name, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name !== "drop") return;
    if (event.dataTransfer.files.length === 1) at("image").files = event.dataTransfer.files;
    choose(event.dataTransfer.files);
  });
}
