// The controls of F, S, P, K and of the kind of filters, and what is said about a setting.

const MEANINGS = { F: "filter size", S: "stride", P: "zero padding", K: "filters" };

/** What can be chosen: filter sizes and numbers of filters are those of the chosen kind. */
function offersOf(setting) {
  const filters = bankOf(setting).bias.map((_, k) => k + 1);
  return { F: sizesOf(setting.set), S: numbers.strides, P: numbers.paddings, K: filters };
}

function drawChoices(setting, whenChosen) {
  const groups = Object.entries(offersOf(setting)).map(([letter, offered]) => {
    const legend = element("legend", "legend", element("b", "", letter), ` ${MEANINGS[letter]}`);
    const options = offered.map((value) => option(letter, value, setting, whenChosen));
    return element("fieldset", "choice", legend, element("div", "options", ...options));
  });
  byId("choices").replaceChildren(...groups);
}

function option(letter, value, setting, whenChosen) {
  const input = element("input");
  Object.assign(input, { type: "radio", name: letter, value, checked: setting[letter] === value });
  input.addEventListener("change", () => whenChosen(letter, value));
  return element("label", "option", input, element("span", "", String(value)));
}

/** Marks the choices with which the filter would not fit or its steps would not come out even. */
function markChoices(setting) {
  for (const input of document.querySelectorAll("#choices input")) {
    input.checked = setting[input.name] === Number(input.value);
    if (input.name === "K") continue; // which changes no size
    const { fits, left } = sizeOf({ ...setting, [input.name]: Number(input.value) });
    const reason = fits ? (left ? "does not divide evenly" : "") : "does not fit";
    input.parentElement.classList.toggle("uneven", reason !== "");
    input.parentElement.title = reason && `${input.name} = ${input.value} ${reason} here`;
  }
}

function drawKinds(whenChosen) {
  const options = numbers.sets.map(({ title }, index) => Object.assign(element("option", "", title), { value: index }));
  byId("filters").replaceChildren(...options);
  byId("filters").addEventListener("change", () => whenChosen(Number(byId("filters").value)));
}

function drawSize(setting) {
  const { fits, exact, out, left } = sizeOf(setting);
  const letters = fraction(`W ${MINUS} F + 2P`, "S");
  const values = fraction(`${numbers.size} ${MINUS} ${setting.F} + 2·${setting.P}`, String(setting.S));
  const result = element("b", left || !fits ? "result bad" : "result", decimal(exact));
  const side = element("span", "term-of-size", values, "+ 1 =", result);
  if (fits && left) side.append(element("span", "dim", `rounded down: ${out}`));
  byId("formula").replaceChildren(element("span", "term-of-size", letters, "+ 1 ="), side);
  const verdict = verdictOf(setting, offersOf(setting));
  const said = [element("b", "", verdict.title), ` ${verdict.text}`];
  if (verdict.refusal) said.push(element("span", "refusal", `fastconv says: ${verdict.refusal}`));
  byId("verdict").className = `verdict ${verdict.state}`;
  byId("verdict").replaceChildren(...said);
  drawCounts(setting, out);
}

function fraction(above, below) {
  return element("span", "fraction", element("span", "above", above), element("span", "below", below));
}

function drawCounts(setting, out) {
  const rows = countsOf(setting, out).map(([name, count, reckoned, meaning]) => {
    const heading = element("dt", "", name, element("span", "dim", meaning));
    const number = element("dd", "", grouped(count), element("span", "dim", reckoned));
    return element("div", "", heading, number);
  });
  byId("counts").replaceChildren(...rows);
}

/** Whether what the page computed is what fastconv computed. */
function drawCheck(setting, outputs) {
  const { values, refusal } = answerOf(setting);
  const equal = outputs.filter((value, step) => values && value === values[step]).length;
  const isGood = refusal ? outputs.length === 0 : equal === outputs.length;
  const text = refusal ? "fastconv refuses this setting, too" : `${equal} of ${outputs.length} outputs are equal`;
  byId("check").className = isGood ? "check good" : "check bad";
  byId("check").textContent = `${isGood ? "✓" : "✗"} Checked against fastconv.functional.conv2d: ${text}.`;
}
