// Names of options that users write: those that there are, and what is meant by one that is not.

/** Throw if an object has a name that is not known.
 * @param {object} given @param {readonly string[]} known @param {string} where
 * @param {new (words: string) => Error} Kind of error */
export function checkNames(given, known, where, Kind) {
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  const nearest = [...known].sort((a, b) => distance(unknown, a) - distance(unknown, b))[0] ?? "";
  const isNear = distance(unknown, nearest) <= Math.max(2, unknown.length / 3);
  const hint = isNear ? `did you mean '${nearest}'?` : `it has: ${known.join(", ")}`;
  throw new Kind(`${where} has no '${unknown}'; ${hint}`);
}

/** How many letters are to be put in, taken out or changed. (Levenshtein 1966)
 * @param {string} from @param {string} to */
function distance(from, to) {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [index, letter] of [...from].entries()) {
    const next = [index + 1];
    for (const [at, other] of [...to].entries()) {
      const changed = (row[at] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(changed, (row[at + 1] ?? 0) + 1, (next[at] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
