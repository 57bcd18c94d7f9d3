// Random numbers from a seed, because Math.random has none: a seeded run then repeats.

/** Numbers from 0 up to 1, always the same ones for one seed.
 *
 * The generator is sfc32 (C. Doty-Humphrey, PractRand), begun with the seed's 64 bits.
 * @param {number | bigint} seed @returns {() => number} */
export function seededRandom(seed) {
  const bits = BigInt.asUintN(64, BigInt(seed));
  let a = Number(bits & 0xffffffffn) | 0;
  let b = Number(bits >> 32n) | 0;
  let c = 0x9e3779b9 | 0;
  let counter = 1;
  const next = () => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 2 ** 32;
  };
  // Seeds that differ in one bit begin alike; a few rounds part them.
  for (let round = 0; round < 15; round += 1) next();
  return next;
}
