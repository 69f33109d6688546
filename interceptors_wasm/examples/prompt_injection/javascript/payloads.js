// payloads.js: text inside the text, which people do not read and models do: tag characters, variation selectors, base64,
// hexadecimal digits, letters with spaces between them.

const LONG = 65536; // of one blob no more than this is decoded

/** `[index, decoded]` for everything in the text that is spelt with invisible characters. */
export function invisiblePayloads(text) {
  return [...tags(text), ...selectors(text)];
}

function tags(text) {
  const plain = (run) => [...run].map((c) => String.fromCharCode(c.codePointAt(0) - 0xe0000)).join("");
  return Array.from(text.matchAll(/[\u{e0020}-\u{e007e}]{4,}/gu), ({ 0: run, index }) => [index, plain(run)]);
}

function selectors(text) {
  const byte = (code) => (code < 0xe0100 ? code - 0xfe00 : code - 0xe0100 + 16);
  const plain = (run) => [...run].map((c) => String.fromCharCode(byte(c.codePointAt(0)))).join("");
  return Array.from(text.matchAll(/[\ufe00-\ufe0f\u{e0100}-\u{e01ef}]{4,}/gu), ({ 0: run, index }) => [index, plain(run)]);
}

/** `[index, decoded]` for every blob in the text that decodes to readable text, and for letters with spaces between them. */
export function visiblePayloads(text) {
  const found = [];
  for (const { 0: whole, 1: blob, index } of text.matchAll(/\b(?:([A-Za-z0-9+/_-]{24,})|(?:[A-Za-z][ .*|/-]{1,3}){10,}[A-Za-z]\b)/g)) {
    const decoded = blob ? blobText(blob) : whole.replace(/[^A-Za-z]+/g, "");
    if (decoded) found.push([index, decoded]);
  }
  return found;
}

/** Whether the whole string is base64 that stands for no text: a picture or a sound, in which there is nothing to read. */
export const isBinary = (string) => string.length >= 1024 && /^[A-Za-z0-9+/_-]+={0,2}$/.test(string) && !blobText(string);

const blobText = (blob) => (/^[0-9a-f]+$/i.test(blob.slice(0, 48)) && hexText(blob)) || base64Text(blob);

/** The text that base64, plain or for addresses, stands for; `undefined` where it is not text. */
function base64Text(blob) {
  const standard = blob.replace(/-/g, "+").replace(/_/g, "/");
  if (!readable(decodeBase64(standard.slice(0, 48)))) return undefined; // most blobs are pictures and keys: a look is enough
  return decodeBase64(standard.slice(0, LONG));
}

function decodeBase64(blob) {
  try {
    return atob(blob.slice(0, blob.length - (blob.length % 4 === 1 ? 1 : 0)));
  } catch {
    return "";
  }
}

function hexText(blob) {
  const digits = blob.slice(0, LONG).match(/^(?:[0-9a-f]{2})+/i)?.[0] ?? "";
  const plain = (hex) => hex.replace(/../g, (pair) => String.fromCharCode(parseInt(pair, 16)));
  return readable(plain(digits.slice(0, 48))) ? plain(digits) : undefined;
}

const readable = (text) => text.length >= 12 && text.replace(/[\t\n\r -~]+/g, "").length * 10 <= text.length;
