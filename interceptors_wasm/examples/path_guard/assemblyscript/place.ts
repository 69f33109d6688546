// Where a path lies, as text: a drive or a server, and names.

const SLASH = 0x2f;

/** A path in its parts. Separators are gone, and so are empty names, as in `a//b`. */
export class Place {
  /** Begins at a root: `/a`, `C:/a`, `//server/share`. */
  isAbsolute: bool = false;
  isUnc: bool = false;
  /** "c" for `C:/a` and `C:a`, otherwise "". */
  drive: string = "";
  names: string[] = [];

  /** Does `other` lie in this directory, or is it this directory? */
  holds(other: Place, ignoresCase: bool): bool {
    if (this.isUnc != other.isUnc || this.drive != other.drive || this.names.length > other.names.length) return false;
    for (let at = 0; at < this.names.length; at++) {
      const own = this.names[at];
      const its = other.names[at];
      if (ignoresCase ? asciiLower(own) != asciiLower(its) : own != its) return false;
    }
    return true;
  }
}

export function placeOf(path: string, isWindows: bool): Place {
  const text = isWindows ? path.replaceAll("\\", "/") : path;
  const place = new Place();
  let from = 0;
  if (hasDrive(text)) {
    place.drive = asciiLower(text.charAt(0));
    from = 2;
  }
  place.isUnc = text.startsWith("//");
  place.isAbsolute = text.charCodeAt(from) == SLASH;
  for (let at = from; at <= text.length; at++) {
    if (at < text.length && text.charCodeAt(at) != SLASH) continue;
    if (at > from) place.names.push(text.substring(from, at));
    from = at + 1;
  }
  return place;
}

/** `C:` at the beginning. */
export function hasDrive(text: string): bool {
  return text.length >= 2 && isLetter(text.charCodeAt(0)) && text.charCodeAt(1) == 0x3a;
}

export function isLetter(unit: i32): bool {
  return <u32>((unit | 0x20) - 0x61) < 26;
}

export function asciiLower(text: string): string {
  let at = 0;
  while (at < text.length && !isUpper(text.charCodeAt(at))) at++;
  if (at == text.length) return text;
  const units = new Array<i32>(text.length);
  for (at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    units[at] = isUpper(unit) ? unit | 0x20 : unit;
  }
  return String.fromCharCodes(units);
}

export function isUpper(unit: i32): bool {
  return <u32>(unit - 0x41) < 26;
}

/** Does a name fit a pattern in which `*` stands for any text and `?` for one character? Goes back to the last `*` only, so
 * that it takes no more than the product of both lengths. */
export function fits(name: string, pattern: string): bool {
  const last = pattern.charCodeAt(pattern.length - 1);
  if (last != 0x2a && last != 0x3f && last != name.charCodeAt(name.length - 1)) return false; // Most end here.
  let n = 0;
  let p = 0;
  let star = -1;
  let retry = 0;
  while (n < name.length) {
    const sign = p < pattern.length ? pattern.charCodeAt(p) : -1;
    if (sign == 0x2a) {
      star = p++;
      retry = n;
    } else if (sign == 0x3f || sign == name.charCodeAt(n)) {
      p++;
      n++;
    } else if (star >= 0) {
      p = star + 1;
      n = ++retry;
    } else {
      return false;
    }
  }
  while (p < pattern.length && pattern.charCodeAt(p) == 0x2a) p++;
  return p == pattern.length;
}
