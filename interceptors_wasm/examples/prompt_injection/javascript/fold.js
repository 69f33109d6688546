// fold.js: gives text the form in which it is judged. An agent reads "ignore" whether it is spelt with Cyrillic letters,
// mathematical letters, zero-width spaces or HTML entities; so must the patterns. Nothing here adds or takes away a line:
// a finding in the folded text names a line of the original.

const ZERO_WIDTH = "\\u180e\\u200b-\\u200d\\u2060-\\u2064\\ufeff";
const INVISIBLE = `\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200e\\u200f\\u202a-\\u202e\\u2065-\\u206f\\u3164` +
  `\\ufe00-\\ufe0f\\uffa0\\ufff9-\\ufffb\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}${ZERO_WIDTH}`;
const CONTROL = "\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f"; // all but tab, line feed and carriage return
const TERMINAL = "\\x1b(?:\\[[0-?]*[ -/]*[@-~]|[\\]PX^_][^\\x07\\x1b\\n]*(?:\\x07|\\x1b\\\\)?)";

// ---- what a reader does not see

const HIDDEN = new RegExp(`${TERMINAL}|[${CONTROL}${INVISIBLE}]`, "gu");
// Joiners belong to emoji, Persian and Indic words: one of them after a visible letter that is not ASCII stays.
const JOINER = `[\\u200c\\u200d\\ufe0e\\ufe0f](?<=[^\\x00-\\x7f${INVISIBLE}].)`;
const REMOVED = new RegExp(`(${JOINER})|${TERMINAL}|[${CONTROL}${INVISIBLE}]`, "gu");

/** The text without invisible characters, control characters and terminal escapes; emoji and words keep their joiners. */
export const clean = (text) => text.replace(REMOVED, (_, joiner) => joiner ?? "");

const UNSEEN = new RegExp(`[\\x1b${INVISIBLE}]`, "u");
const FLAG = /\u{1f3f4}[\u{e0030}-\u{e0039}\u{e0061}-\u{e007a}]{2,8}\u{e007f}/gu;
const HIDDEN_SIGNALS = [
  ["unicode_tags", /[\u{e0000}-\u{e007f}]/u],
  ["variation_payload", /[\ufe00-\ufe0f\u{e0100}-\u{e01ef}]{4}/u],
  ["zero_width", new RegExp(`[A-Za-z][${ZERO_WIDTH}]+[A-Za-z]|[${ZERO_WIDTH}]{8}`)],
  ["bidi_control", /[\u202d\u202e]/],
  // Colours are ordinary output; concealed text, a moved cursor, a cleared screen and operating system commands are not.
  ["terminal_escape", /\x1b(?:\[(?:[0-9;]*;)?8m|\[[0-9;]*[ABFHJf]|[\]P_^X])/],
];

/** The names of the signals that the characters of the text give, whatever it says. */
export function hiddenSignals(text) {
  if (!UNSEEN.test(text)) return [];
  const plain = text.replace(FLAG, "");
  const found = HIDDEN_SIGNALS.filter(([, pattern]) => pattern.test(plain)).map(([name]) => name);
  // Right-to-left text needs embeddings and isolates; where there is none of it, they only reorder what people see.
  if (/[\u202a\u202b\u2066-\u2068]/.test(plain) && !/[\u0590-\u08ff]/.test(plain)) found.push("bidi_control");
  return found;
}

// ---- escapes

const NAMED = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'", nbsp: " ", colon: ":", lsqb: "[", rsqb: "]", excl: "!", newline: " ", tab: " " };
// What a character class before it rules out costs little: most characters begin no escape.
const ESCAPE = /(?=[&%\\])(?:&(?:#(\d{1,7})|#x([\da-f]{1,6})|([a-z]{2,7}));|((?:%[\da-f]{2})+)|\\u([\da-f]{4})|\\u\{([\da-f]{1,6})\}|\\x([\da-f]{2})|\\[nrt])/gi;

/** The text with HTML entities, per cent signs and backslash escapes decoded, in several layers too. */
export function decodeEscapes(text) {
  for (let layer = 0; layer < 3; layer += 1) {
    const decoded = text.replace(ESCAPE, decodeEscape);
    if (decoded === text) break;
    text = decoded;
  }
  return text;
}

function decodeEscape(escape, decimal, hex, name, percent, u4, u6, x2) {
  if (name) return NAMED[name.toLowerCase()] ?? escape;
  if (percent) {
    try {
      return decodeURIComponent(percent).replace(/\n/g, " ");
    } catch {
      return escape;
    }
  }
  if (u4) return oneLine(String.fromCharCode(parseInt(u4, 16))); // halves of a pair meet again in the text
  const code = decimal ? parseInt(decimal, 10) : parseInt(hex || u6 || x2, 16);
  if (Number.isNaN(code)) return " "; // \n, \r, \t
  return code > 0x10ffff ? escape : oneLine(String.fromCodePoint(code));
}

const oneLine = (text) => (text === "\n" ? " " : text);

// ---- spelling

// What NFKC makes plain and attackers use: styled, full-width, circled and ligature letters, odd spaces.
const COMPATIBLE = new RegExp("[\\u00a0\\u00aa\\u00b2\\u00b3\\u00b9\\u00ba\\u017f\\u1d2c-\\u1d6a\\u2000-\\u200a\\u2024-\\u2026\\u202f" +
  "\\u2070-\\u209c\\u2100-\\u214f\\u2160-\\u2188\\u2460-\\u24ff\\u3000\\ufb00-\\ufb06\\ufe30-\\ufe6f\\uff01-\\uffee" +
  "\\u{1d400}-\\u{1d7ff}\\u{1f100}-\\u{1f14f}]", "u");
const ACCENTED = /[\u00c0-\u024f\u1e00-\u1eff]+/g;
const MARKS = /[\u0300-\u036f\u0483-\u0489\u20d0-\u20ff]+/g;

// Letters in boxes and regional indicators have no decomposition: where each alphabet's A is.
const BOXED = /[\u{1f150}-\u{1f169}\u{1f170}-\u{1f189}\u{1f1e6}-\u{1f1ff}]/gu;
const boxed = (letter) => {
  const code = letter.codePointAt(0);
  return String.fromCharCode(97 + code - [0x1f1e6, 0x1f170, 0x1f150].find((a) => code >= a));
};

const table = (rows) => new Map(rows.flatMap(([plain, others]) => [...others].map((other) => [other, plain])));
// Typographic marks, small capitals and variant letters: the same letter to every reader.
const VARIANT = table([
  ["'", "\u2018\u2019\u201b\u02bc\u2032"], ['"', "\u201c\u201d\u201e\u00ab\u00bb\u2033"], ["-", "\u2010\u2011\u2012\u2013\u2014\u2212"],
  ["a", "\u0251\u1d00"], ["b", "\u0299"], ["c", "\u1d04"], ["d", "\u1d05"], ["e", "\u1d07\u0259"], ["f", "\ua730"], ["g", "\u0261\u0262"],
  ["h", "\u029c"], ["i", "\u0131\u026a\u0269"], ["j", "\u1d0a"], ["k", "\u1d0b"], ["l", "\u029f\u0142\u0141"], ["m", "\u1d0d"], ["n", "\u0274"],
  ["o", "\u1d0f\u00f8\u00d8"], ["p", "\u1d18"], ["r", "\u0280"], ["s", "\ua731"], ["t", "\u1d1b"], ["u", "\u1d1c"], ["v", "\u1d20"], ["w", "\u1d21"],
  ["y", "\u028f"], ["z", "\u1d22"], ["ss", "\u00df"], ["oe", "\u0153"], ["ae", "\u00e6"],
]);
// Letters of other scripts that look Latin: Cyrillic, Greek, Armenian. Mapped in words that mix scripts, and only there.
const LOOKALIKE = table([
  ["a", "\u0430\u0410\u03b1\u0391"], ["b", "\u0412\u0392"], ["c", "\u0441\u0421"], ["d", "\u0501"], ["e", "\u0435\u0415\u0395\u03b5"],
  ["f", "\u0493"], ["g", "\u0581"], ["h", "\u04bb\u041d\u0397\u0570"], ["i", "\u0456\u0406\u0457\u03b9\u0399"], ["j", "\u0458\u0408"],
  ["k", "\u043a\u041a\u03ba\u039a"], ["l", "\u04cf\u04c0"], ["m", "\u043c\u041c\u039c"], ["n", "\u0578\u03b7\u039d\u043f"], ["o", "\u043e\u041e\u03bf\u039f\u0585"],
  ["p", "\u0440\u0420\u03c1\u03a1"], ["q", "\u051b\u0566"], ["r", "\u0433\u0491"], ["s", "\u0455\u0405"], ["t", "\u0442\u0422\u03c4\u03a4"],
  ["u", "\u03c5\u057d"], ["v", "\u0475\u03bd"], ["w", "\u051d\u0461\u03c9"], ["x", "\u0445\u0425\u03c7\u03a7"], ["y", "\u0443\u0423\u03a5"], ["z", "\u0396"],
]);
const OTHER_SCRIPT = /[\u0370-\u058f]/;
const MIXED_WORD = /[A-Za-z\u0370-\u058f]*(?:[A-Za-z][\u0370-\u058f]|[\u0370-\u058f][A-Za-z])[A-Za-z\u0370-\u058f]*/g;
const UNUSUAL = new RegExp(`${TERMINAL}|[^\\t\\n\\r -~]+`, "g");

/** Whether the text is ASCII without control characters: nothing to fold, nothing hidden. */
export const isPlain = (text) => /^[\t\n\r -~]*$/.test(text);

/**
 * `{text, mixed, foreign}`: the text in plain lower-case letters, whether it has words that mix scripts, and whether it has
 * letters beyond Latin and Greek.
 */
export function fold(text) {
  if (isPlain(text)) return { text: text.toLowerCase(), mixed: false, foreign: false };
  const seen = new Map(); // the same words and signs come again and again
  let otherScript = false;
  let foreign = false;
  let plain = text.replace(UNUSUAL, (run) => {
    let folded = seen.get(run);
    if (folded === undefined) seen.set(run, (folded = foldRun(run)));
    otherScript ||= OTHER_SCRIPT.test(folded);
    foreign ||= /[\u0400-\uffff]/.test(folded);
    return folded;
  });
  let mixed = false;
  if (otherScript) plain = plain.replace(MIXED_WORD, (word) => {
    const latin = [...word].map((letter) => LOOKALIKE.get(letter) ?? letter).join("");
    mixed ||= /^[A-Za-z]{3,}$/.test(latin); // `Δt` and `µs` are ordinary; a whole Latin word in disguise is not
    return latin;
  });
  return { text: plain.toLowerCase(), mixed, foreign };
}

function foldRun(run) {
  let text = run.replace(HIDDEN, "");
  if (COMPATIBLE.test(text)) text = text.normalize("NFKC");
  text = text.replace(ACCENTED, (letters) => letters.normalize("NFD")).replace(MARKS, "").replace(BOXED, boxed);
  return [...text].map((letter) => VARIANT.get(letter) ?? letter).join("");
}
