// Ten bars, one for the probability of each digit.

export class Bars {
  constructor(list) {
    this.rows = Array.from({ length: 10 }, (_, digit) => {
      const row = document.createElement("li");
      row.innerHTML = '<b></b><span class="track"><span class="fill"></span></span><span class="share"></span>';
      row.querySelector("b").textContent = digit;
      list.append(row);
      return row;
    });
    this.show(null);
  }

  // `label`, where it is known, is the digit that it is.
  show(probabilities, label = null) {
    const most = best(probabilities);
    this.rows.forEach((row, digit) => {
      const share = probabilities?.[digit] ?? null;
      row.querySelector(".fill").style.transform = `scaleX(${share ?? 0})`;
      row.querySelector(".share").textContent = share === null ? "–" : percent(share);
      row.classList.toggle("most", digit === most);
      row.classList.toggle("label-of-it", digit === label);
    });
  }
}

// The most probable digit; null where nothing is known.
export function best(probabilities) {
  if (!probabilities || probabilities.includes(null)) return null;
  return probabilities.indexOf(Math.max(...probabilities));
}

function percent(share) {
  return `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
}
