// JSON with exact whole numbers. A capacity may be 2^63-1 and a usage even larger, which a JavaScript number would round:
// an edit of a description would then change the capacity. Such numbers become BigInt.

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const MARK = "\u0001whole:";
const MARKED = /^\u0001whole:(-?\d+)$/;
const MARKED_IN_JSON = /"\\u0001whole:(-?\d+)"/g;

const isLarge = (token) => /^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token));

export function parse(text) {
  const marked = text.replace(TOKEN, (token) => (isLarge(token) ? `"\\u0001whole:${token}"` : token));
  return JSON.parse(marked, (_, value) => {
    const large = typeof value === "string" && MARKED.exec(value);
    return large ? BigInt(large[1]) : value;
  });
}

export function stringify(value) {
  const mark = (_, each) => (typeof each === "bigint" ? MARK + each : each);
  return JSON.stringify(value, mark).replace(MARKED_IN_JSON, "$1");
}

/** The whole number of a text, a BigInt only if it must be one; null if the text is none. */
export function wholeNumber(text) {
  const digits = text.replace(/[\s,_]/g, "");
  if (!/^\d+$/.test(digits)) return null;
  const number = Number(digits);
  return Number.isSafeInteger(number) ? number : BigInt(digits);
}
