// The other forms of a text: what a server may turn it into before it opens a file.

/** `text` with its percent escapes decoded once; the text itself if there are none, and null if what they say is not UTF-8,
 * as overlong encodings of a dot or a slash are. */
export function percentDecoded(text: string): string | null {
  if (!text.includes("%")) return text;
  const source = Uint8Array.wrap(String.UTF8.encode(text));
  const out = new Uint8Array(source.length);
  let length = 0;
  for (let at = 0; at < source.length; at++) {
    const high = at + 2 < source.length && source[at] == 0x25 ? hexDigit(source[at + 1]) : -1;
    const low = high >= 0 ? hexDigit(source[at + 2]) : -1;
    out[length++] = low >= 0 ? <u8>(high * 16 + low) : source[at];
    if (low >= 0) at += 2;
  }
  if (length == source.length) return text;
  return isUtf8(out, length) ? String.UTF8.decodeUnsafe(out.dataStart, length) : null;
}

function hexDigit(byte: u8): i32 {
  if (<u8>(byte - 0x30) < 10) return byte - 0x30;
  const letter = <u8>((byte | 0x20) - 0x61);
  return letter < 6 ? letter + 10 : -1;
}

/** Well-formed in the sense of RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
function isUtf8(bytes: Uint8Array, length: i32): bool {
  let at = 0;
  while (at < length) {
    const lead = bytes[at];
    const more = lead < 0x80 ? 0 : lead < 0xc2 ? -1 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : -1;
    if (more < 0 || at + more >= length) return false;
    for (let next = at + 1; next <= at + more; next++) {
      if ((bytes[next] & 0xc0) != 0x80) return false;
    }
    const second = more > 0 ? bytes[at + 1] : 0;
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f)) return false;
    if ((lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) return false;
    at += more + 1;
  }
  return true;
}

/** `text` with lookalikes made plain, as Unicode normalisation, case folding and some file systems do: full-width letters
 * and signs, other dots, the long s and the Kelvin sign, and without characters that nobody sees. */
export function plain(text: string): string {
  let at = 0;
  while (at < text.length && text.charCodeAt(at) < 0x80) at++;
  if (at == text.length) return text;
  const pieces: string[] = [];
  let copied = 0;
  for (; at < text.length; at++) {
    const to = plainOf(text.charCodeAt(at));
    if (to === null) continue;
    pieces.push(text.substring(copied, at));
    pieces.push(to);
    copied = at + 1;
  }
  return copied ? pieces.join("") + text.substring(copied) : text;
}

function plainOf(unit: i32): string | null {
  if (unit >= 0xff01 && unit <= 0xff5e) return String.fromCharCode(unit - 0xfee0); // full-width
  if (unit == 0x2024 || unit == 0xfe52) return ".";
  if (unit == 0x2025) return "..";
  if (unit == 0x2026) return "...";
  if (unit == 0x017f) return "s";
  if (unit == 0x212a) return "k";
  const isUnseen =
    unit == 0x00ad || unit == 0x034f || (unit >= 0x200b && unit <= 0x200f) || (unit >= 0x202a && unit <= 0x202e) ||
    (unit >= 0x2060 && unit <= 0x206f) || (unit >= 0xfe00 && unit <= 0xfe0f) || unit == 0xfeff;
  return isUnseen ? "" : null;
}

/** Is it a character that looks like a slash or a backslash, or is normalised to one? */
export function isLikeSlash(unit: i32): bool {
  return (
    unit == 0x2044 || unit == 0x2215 || unit == 0x2216 || unit == 0x2571 || unit == 0x2572 || unit == 0x27cb ||
    unit == 0x27cd || unit == 0x29f5 || unit == 0x29f8 || unit == 0x29f9 || unit == 0xfe68 || unit == 0xff0f ||
    unit == 0xff3c
  );
}

/** Control characters, and separators of lines and paragraphs. */
export function isControl(unit: i32): bool {
  return unit < 0x20 || (unit >= 0x7f && unit < 0xa0) || unit == 0x2028 || unit == 0x2029;
}

/** What `trim` functions take away. */
export function isBlank(unit: i32): bool {
  return (
    unit == 0x20 || unit == 0xa0 || unit == 0x1680 || (unit >= 0x2000 && unit <= 0x200b) || unit == 0x202f ||
    unit == 0x205f || unit == 0x3000 || unit == 0xfeff
  );
}
