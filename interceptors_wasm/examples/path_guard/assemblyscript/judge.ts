// The judgement: which arguments hold paths, and whether each stays where it may be.

import { Json } from "./pdp_interceptor";
import { isBlank, isControl, isLikeSlash, percentDecoded, plain } from "./forms";
import { Place, asciiLower, fits, hasDrive, isLetter, isUpper, placeOf } from "./place";
import { Settings } from "./settings";

/** Longer than this no system opens a file. In UTF-16 units. */
const MAX_LENGTH = 4096;
/** Percent escapes in percent escapes: deeper than this nobody means well. */
const MAX_DECODINGS = 4;
/** A list as text in a list as text: the same. */
const MAX_NESTING = 3;

/** Names that mean a device on Windows, whatever their extension. */
const DEVICES: string[] = ["con", "prn", "aux", "nul", "conin$", "conout$", "com?", "lpt?"];

/** Why a call is denied. */
export class Finding {
  /** The argument, as in `edits/0/path`. Put together on the way back, since most of the time there is none. */
  where: string = "";

  constructor(readonly path: string, readonly problem: string) {}

  below(name: string): Finding {
    this.where = this.where.length ? name + "/" + this.where : name;
    return this;
  }
}

export class Judge {
  /** How many paths there were. */
  paths: i32 = 0;

  constructor(private settings: Settings) {}

  /** The first path of a call that may not be, or null. */
  call(args: Json): Finding | null {
    return this.members(args, this.settings.pointers, 0);
  }

  /** Follows those of `pointers` further that fit, from step number `step` on, in each member or item of `value`. */
  private members(value: Json, pointers: string[][], step: i32): Finding | null {
    const isObject = value.isObject;
    const parts = isObject ? value.members : value.items;
    for (let at = 0; at < parts.length; at += isObject ? 2 : 1) {
      const name = isObject ? parts[at].string : at.toString();
      const plainName = isObject ? asciiLower(plain(name)) : "*";
      for (let index = 0; index < pointers.length; index++) {
        const pointer = pointers[index];
        if (pointer[step] != plainName && pointer[step] != "*") continue;
        const finding = this.follow(parts[isObject ? at + 1 : at], pointer, step + 1);
        if (finding !== null) return finding.below(name);
      }
    }
    return null;
  }

  private follow(value: Json, pointer: string[], step: i32): Finding | null {
    // A text where a list or an object was expected is what a lenient server makes a list of.
    if (step == pointer.length || value.isString) return this.value(value, MAX_NESTING);
    if (value.isNull) return null;
    if (value.isObject || (value.isArray && pointer[step] == "*")) return this.members(value, [pointer], step);
    return new Finding(value.text, "this is not where a path is expected");
  }

  /** A path, a list of paths, or a text that is one of these in JSON, as some clients send it. */
  private value(value: Json, nesting: i32): Finding | null {
    if (value.isNull) return null;
    if (value.isArray && nesting > 0) return this.items(value.items, nesting - 1);
    if (!value.isString) return new Finding(value.text, "a path has to be a text");
    const path = value.string;
    this.paths++;
    const problem = this.path(path);
    if (problem !== null) return new Finding(path, problem);
    const first = path.charCodeAt(0);
    const inner = first == 0x5b || first == 0x7b || first == 0x22 ? Json.parse(path) : null;
    if (inner === null) return null;
    return nesting > 0 ? this.value(inner, nesting - 1) : new Finding(path, "a list in a list in a list is not expected");
  }

  private items(items: Json[], nesting: i32): Finding | null {
    for (let at = 0; at < items.length; at++) {
      const finding = this.value(items[at], nesting);
      if (finding !== null) return finding.below(at.toString());
    }
    return null;
  }

  /** What is wrong with a path, in any of its forms, or null. */
  private path(path: string): string | null {
    if (!path.length) return "the path is empty";
    if (path.length > MAX_LENGTH) return "the path is too long";
    let form = path;
    for (let decodings = 0; decodings <= MAX_DECODINGS; decodings++) {
      let problem = this.form(form);
      if (problem !== null) return form == path ? problem : "percent-encoded: " + problem;
      const simple = plain(form);
      problem = simple == form ? null : this.form(simple);
      if (problem !== null) return "with lookalikes made plain: " + problem;
      if (!form.includes("%")) return null;
      const decoded = percentDecoded(form);
      // `%u002e` is what some servers of the past read.
      if (decoded === null || form.includes("%u") || form.includes("%U")) return "percent-encoded: this is no text in UTF-8";
      if (decoded == form) return null;
      form = decoded;
    }
    return "percent-encoded: too often";
  }

  /** What is wrong with a path in one form, or null. */
  private form(form: string): string | null {
    const sign = badSign(form, this.settings.allowWindows);
    if (sign !== null) return sign;
    let path = form;
    if (isUrl(form)) {
      const local = this.settings.allowFileUrls ? pathOfUrl(form) : null;
      if (local === null) return "a path is expected, not a URL";
      path = local;
    }
    if (!this.settings.allowHome && isExpanded(path)) return "`~` and variables are not allowed; write the path in full";
    const place = placeOf(path, this.settings.allowWindows);
    const foreign = this.foreign(place);
    if (foreign !== null) return foreign;
    const parents = this.resolve(place);
    if (parents !== null) return parents;
    return this.within(place);
  }

  /** Drives and servers. */
  private foreign(place: Place): string | null {
    if (place.isUnc) {
      const first = place.names.length ? place.names[0] : "";
      const isDevice = first == "." || first == "?"; // `\\?\` and `\\.\` lead past all rules for names.
      if (!this.settings.allowUnc || isDevice) return "paths that begin with two slashes are not allowed";
    }
    if (!place.drive.length) return null;
    if (!this.settings.allowWindows) return "drives are not allowed";
    return place.isAbsolute ? null : "after a drive a slash is expected";
  }

  /** Takes `.` and `..` out of the names. */
  private resolve(place: Place): string | null {
    const names: string[] = [];
    for (let at = 0; at < place.names.length; at++) {
      const name = place.names[at];
      if (name == ".") continue;
      if (name != "..") {
        if (!bareLength(name)) return "a name of nothing but dots and spaces is not allowed";
        names.push(name);
        continue;
      }
      if (!this.settings.allowParentSegments) return "`..` is not allowed; write the path without it";
      if (!names.length) return "`..` leads out of the allowed directories";
      names.pop();
    }
    place.names = names;
    return null;
  }

  /** Is it in one of the roots, and may every name below that be there? */
  private within(place: Place): string | null {
    if (!place.isAbsolute) {
      return this.settings.allowRelative ? this.names(place, 0) : "relative paths are not allowed; " + this.wayIn();
    }
    const roots = this.settings.roots;
    let problem: string | null = "this is not in an allowed directory; " + this.wayIn();
    for (let at = 0; at < roots.length; at++) {
      if (!roots[at].holds(place, this.settings.allowWindows)) continue;
      problem = this.names(place, roots[at].names.length);
      if (problem === null) return null;
    }
    return problem;
  }

  private wayIn(): string {
    const roots = this.settings.roots;
    if (!roots.length) return "only relative paths are";
    let text = "give an absolute path in ";
    for (let at = 0; at < roots.length && at < 4; at++) {
      const root = roots[at];
      text += (at ? ", " : "") + (root.drive.length ? root.drive + ":/" : root.isUnc ? "//" : "/") + root.names.join("/");
    }
    return text;
  }

  /** What is wrong with one of the names, from number `from` on. */
  private names(place: Place, from: i32): string | null {
    for (let at = from; at < place.names.length; at++) {
      const name = asciiLower(place.names[at]);
      if (this.settings.allowWindows) {
        const problem = windowsProblem(name);
        if (problem !== null) return problem;
      }
      if (!this.settings.allowHidden && name.startsWith(".")) return "hidden files and directories are not allowed";
      // Windows drops dots and spaces at the end, and `:` begins a stream of the same file.
      const colon = name.indexOf(":");
      const bare = bareLength(colon < 0 ? name : name.substring(0, colon));
      const denied = this.settings.deniedNames;
      const isDenied = fitsAny(name, denied) || (bare < name.length && fitsAny(name.substring(0, bare), denied));
      if (isDenied && !fitsAny(name, this.settings.allowedNames)) return "a file or directory of this name is not allowed";
    }
    return null;
  }
}

function fitsAny(name: string, patterns: string[]): bool {
  for (let at = 0; at < patterns.length; at++) {
    if (fits(name, patterns[at])) return true;
  }
  return false;
}

/** Characters that no path needs, and that systems read differently. */
function badSign(path: string, isWindows: bool): string | null {
  for (let at = 0; at < path.length; at++) {
    const unit = path.charCodeAt(at);
    if (unit >= 0x20 && unit < 0x7f && unit != 0x5c) continue;
    if (isControl(unit)) return "control characters are not allowed";
    if (unit == 0x5c && !isWindows) return "backslashes are not allowed";
    if (isLikeSlash(unit)) return "characters that look like a slash are not allowed";
  }
  const isPadded = path.length && (isBlank(path.charCodeAt(0)) || isBlank(path.charCodeAt(path.length - 1)));
  return isPadded ? "spaces around the path are not allowed" : null;
}

/** `scheme:/…`, `file:…`, or anything with `://`. One letter before the colon is a drive. */
function isUrl(text: string): bool {
  if (!text.includes(":")) return false;
  let end = 0;
  while (end < text.length && isSchemeSign(text.charCodeAt(end))) end++;
  const hasScheme = end > 1 && text.charAt(end) == ":";
  const next = text.charAt(end + 1);
  return (hasScheme && (next == "/" || next == "\\" || asciiLower(text.substring(0, end)) == "file")) || text.includes("://");
}

function isSchemeSign(unit: i32): bool {
  return isLetter(unit) || <u32>(unit - 0x30) < 10 || unit == 0x2b || unit == 0x2d || unit == 0x2e;
}

/** The path of a `file:` URL of this machine. It may still have percent escapes; these are decoded as in every path. */
function pathOfUrl(url: string): string | null {
  const lower = asciiLower(url);
  let from = -1;
  if (lower.startsWith("file:///")) from = 7;
  else if (lower.startsWith("file://localhost/")) from = 16;
  if (from < 0 || url.includes("?") || url.includes("#")) return null;
  return hasDrive(url.substring(from + 1)) ? url.substring(from + 1) : url.substring(from);
}

/** `~`, `~bob`, `$HOME`, `${HOME}`, `%TEMP%` as the first name. */
function isExpanded(path: string): bool {
  const first = path.charCodeAt(0);
  if (first == 0x7e) return true;
  if (first != 0x24 && first != 0x25) return false;
  const name = path.split("/")[0];
  if (first == 0x25) return name.length > 2 && name.endsWith("%") && isVariable(name.substring(1, name.length - 1));
  return name.length > 1 && (name.charAt(1) == "{" || name.charAt(1) == "(" || isVariable(name.substring(1)));
}

/** Capitals, as the names of variables are: `$id.tsx` is a file. */
function isVariable(text: string): bool {
  for (let at = 0; at < text.length; at++) {
    if (!isUpper(text.charCodeAt(at)) && text.charCodeAt(at) != 0x5f) return false;
  }
  return true;
}

/** How long a name is without dots and spaces at its end. */
function bareLength(name: string): i32 {
  let end = name.length;
  while (end && (name.charCodeAt(end - 1) == 0x2e || isBlank(name.charCodeAt(end - 1)))) end--;
  return end;
}

/** What Windows reads as another file than it says; `name` in lower case. */
function windowsProblem(name: string): string | null {
  if (bareLength(name) != name.length) return "a name that ends in a dot or a space is not allowed";
  if (name.includes(":")) return "streams of files are not allowed";
  const tilde = name.indexOf("~");
  if (tilde >= 0 && <u32>(name.charCodeAt(tilde + 1) - 0x30) < 10) return "short names are not allowed";
  const stem = name.split(".")[0];
  return fitsAny(stem.substring(0, bareLength(stem)), DEVICES) ? "names of devices are not allowed" : null;
}
