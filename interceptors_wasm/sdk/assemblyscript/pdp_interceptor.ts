// The AssemblyScript SDK for interceptors, ABI version 1. One file, no dependencies, AssemblyScript 0.28.
//
// It hides pointers and bytes: your hooks take a `Call` and give a `Reply`. Import it as "./pdp_interceptor", hand your
// functions to `configured` and `answered`, and export the four names that the host looks for; README.md shows how.
// There are no exceptions in WebAssembly as we may use it here, so an error is a value: a text from `configured`'s
// function, and `Reply.error` from a hook.

// The signs of JSON. A closing bracket is its opening one plus 2.
const QUOTE: u8 = 0x22;
const COMMA: u8 = 0x2c;
const COLON: u8 = 0x3a;
const SQUARE: u8 = 0x5b;
const BACKSLASH: u8 = 0x5c;
const CURLY: u8 = 0x7b;
/** A byte 1, eight times. */
const ONES: u64 = 0x0101010101010101;

// ------------------------------------------------------------------------------------------------- what you get and give

/** One tool call, and in the phase `response` its result. */
export class Call {
  server: string = "";
  tool: string = "";
  /** A JSON object. */
  arguments: Json = Json.NULL;
  /** Any JSON value; `null` in the phase `request`. */
  result: Json = Json.NULL;
  resultIsError: bool = false;

  /** `request` is all of it, for the rest: `call.request.get("subject")`. */
  constructor(readonly request: Json) {}
}

/** The answer of a hook. */
export class Reply {
  private annotations: string = "";

  private constructor(private members: string) {}

  /** The payload may go on as it is. */
  static pass(): Reply {
    return new Reply('"verdict":"pass"');
  }

  /** The call ends here. The agent may see `message`, so it should help and hold no secrets. */
  static deny(message: string): Reply {
    return new Reply('"verdict":"deny","message":' + quote(message));
  }

  /** The call goes on with other arguments: the text of a JSON object. Only in the phase `request`. */
  static transformArguments(json: string): Reply {
    return new Reply('"verdict":"transform","arguments":' + json);
  }

  /** The agent gets another result: the text of any JSON value. Only in the phase `response`. */
  static transformResult(json: string): Reply {
    return new Reply('"verdict":"transform","result":' + json);
  }

  /** The interceptor could not do its work; the text is for the operator. */
  static error(why: string): Reply {
    return new Reply('"error":' + quote(why));
  }

  /** Says why, for the operator's log. */
  reason(text: string): Reply {
    this.members += ',"reason":' + quote(text);
    return this;
  }

  /** States a fact for Cedar policies. `json` is the text of a JSON value, as in "70", "true" or quote("x"). */
  annotation(name: string, json: string): Reply {
    this.annotations += (this.annotations.length ? "," : "") + quote(name) + ":" + json;
    return this;
  }

  toString(): string {
    const annotations = this.annotations.length ? ',"annotations":{' + this.annotations + "}" : "";
    return "{" + this.members + annotations + "}";
  }
}

// ----------------------------------------------------------------------------------------------------------------- JSON

/** One well-formed JSON value: where its text lies, in UTF-8. Numbers and spacing stay what they were. */
export class Json {
  static readonly NULL: Json = Json.parse("null")!;

  private constructor(private start: usize, private end: usize) {}

  /** Checks that `text` is one JSON value, nested as deeply as it may be. */
  static parse(text: string): Json | null {
    const bytes = changetype<usize>(String.UTF8.encode(text));
    return Json.at(bytes, bytes + String.UTF8.byteLength(text));
  }

  /** The same for text in memory. */
  static at(start: usize, end: usize): Json | null {
    const valueEnd = checkedEnd(start, end);
    if (!valueEnd || skipSpace(valueEnd, end) != end) return null;
    return new Json(skipSpace(start, end), valueEnd);
  }

  get text(): string {
    return String.UTF8.decodeUnsafe(this.start, this.end - this.start);
  }

  get isObject(): bool {
    return load<u8>(this.start) == CURLY;
  }

  get isArray(): bool {
    return load<u8>(this.start) == SQUARE;
  }

  get isString(): bool {
    return load<u8>(this.start) == QUOTE;
  }

  get isNull(): bool {
    return load<u8>(this.start) == 0x6e;
  }

  get isTrue(): bool {
    return load<u8>(this.start) == 0x74;
  }

  get isBool(): bool {
    return this.isTrue || load<u8>(this.start) == 0x66;
  }

  /** The text of a string without its escapes; "" if it is no string. */
  get string(): string {
    return this.isString ? unescaped(this.start + 1, this.end - 1) : "";
  }

  /** Is it the string `text`, however it is escaped? */
  is(text: string): bool {
    const at = this.start + 1;
    for (let i = 0; i < text.length; i++) {
      const byte = at + i < this.end ? load<u8>(at + i) : 0;
      if (byte >= 0x80 || byte == BACKSLASH) return this.string == text; // Rare enough to be done in full.
      if (byte != text.charCodeAt(i)) return false;
    }
    return this.isString && at + text.length == this.end - 1;
  }

  /** The value of an object's member. */
  get(name: string): Json | null {
    const parts = this.parts(CURLY);
    for (let at = 0; at < parts.length; at += 2) {
      if (parts[at].is(name)) return parts[at + 1];
    }
    return null;
  }

  /** Names, which are strings, and values of an object's members, in turn. Empty if it is no object. */
  get members(): Json[] {
    return this.parts(CURLY);
  }

  /** The items of an array. Empty if it is no array. */
  get items(): Json[] {
    return this.parts(SQUARE);
  }

  /** The text of this value with `text`, which is JSON, in the place of `part`, which lies in this value. */
  replaced(part: Json, text: string): string {
    const before = String.UTF8.decodeUnsafe(this.start, part.start - this.start);
    return before + text + String.UTF8.decodeUnsafe(part.end, this.end - part.end);
  }

  private parts(opener: u8): Json[] {
    const parts: Json[] = [];
    if (load<u8>(this.start) != opener) return parts;
    let at = this.start + 1;
    while (at < this.end - 1) {
      const byte = load<u8>(at);
      if (isSpace(byte) || byte == COMMA || byte == COLON) {
        at++;
        continue;
      }
      const end = knownEnd(at, this.end);
      parts.push(new Json(at, end));
      at = end;
    }
    return parts;
  }
}

/** `text` as a JSON string, with its quotes. */
export function quote(text: string): string {
  const pieces: string[] = ['"'];
  let copied = 0;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit >= 0x20 && unit != QUOTE && unit != BACKSLASH) continue;
    pieces.push(text.substring(copied, at));
    copied = at + 1;
    if (unit >= 0x20) pieces.push("\\" + String.fromCharCode(unit));
    else pieces.push("\\u00" + (unit < 16 ? "0" : "1") + "0123456789abcdef".charAt(unit & 15));
  }
  pieces.push(text.substring(copied));
  pieces.push('"');
  return pieces.join("");
}

function isSpace(byte: u8): bool {
  return byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09;
}

function skipSpace(at: usize, end: usize): usize {
  while (at < end && isSpace(load<u8>(at))) at++;
  return at;
}

/** Where the value ends that begins at `at`, or 0 if that is not JSON. Keeps its own stack, so that depth costs memory
 * and cannot overflow anything. */
function checkedEnd(at: usize, end: usize): usize {
  const bottom = heap.alloc((end - at) / 2 + 1);
  let top = bottom; // The brackets that are open.
  while (true) {
    at = skipSpace(at, end);
    if (at >= end) return 0;
    const opener = load<u8>(at);
    if (opener == CURLY || opener == SQUARE) {
      const next = skipSpace(at + 1, end);
      if (next >= end) return 0;
      if (load<u8>(next) != opener + 2) {
        store<u8>(top++, opener);
        at = opener == CURLY ? memberValue(next, end) : next;
        if (!at) return 0;
        continue;
      }
      at = next + 1;
    } else {
      at = checkedScalarEnd(at, end);
      if (!at) return 0;
    }
    // A value is complete. Close what ends with it, up to a comma.
    while (true) {
      if (top == bottom) return at;
      at = skipSpace(at, end);
      if (at >= end) return 0;
      const open = load<u8>(top - 1);
      const byte = load<u8>(at++);
      if (byte == open + 2) {
        top--;
      } else if (byte == COMMA) {
        if (open == CURLY && !(at = memberValue(skipSpace(at, end), end))) return 0;
        break;
      } else {
        return 0;
      }
    }
  }
}

/** Where the value begins whose member's name begins at `at`. */
function memberValue(at: usize, end: usize): usize {
  if (at >= end || load<u8>(at) != QUOTE) return 0;
  at = checkedScalarEnd(at, end);
  if (!at) return 0;
  at = skipSpace(at, end);
  return at < end && load<u8>(at) == COLON ? at + 1 : 0;
}

function checkedScalarEnd(at: usize, end: usize): usize {
  if (load<u8>(at) == QUOTE) return checkedStringEnd(at + 1, end);
  const length = wordEnd(at, end) - at;
  if (length >= 4) {
    const first = load<u32>(at);
    if (length == 4 && (first == 0x65757274 || first == 0x6c6c756e)) return at + 4; // true, null
    if (length == 5 && first == 0x736c6166 && load<u8>(at, 4) == 0x65) return at + 5; // false
  }
  return isNumber(at, at + length) ? at + length : 0;
}

/** The same for a string, from behind its opening quote on. */
function checkedStringEnd(at: usize, end: usize): usize {
  while ((at = plainEnd(at, end)) < end) {
    const byte = load<u8>(at);
    if (byte == QUOTE) return at + 1;
    if (byte != BACKSLASH || at + 1 >= end) return 0;
    const escape = load<u8>(at, 1);
    if (escape == 0x75) {
      if (at + 6 > end || hex4(at + 2) < 0) return 0;
      at += 6;
    } else {
      // b f n r t " \ /
      const isEscape = escape == 0x62 || escape == 0x66 || escape == 0x6e || escape == 0x72 || escape == 0x74;
      if (!isEscape && escape != QUOTE && escape != BACKSLASH && escape != 0x2f) return 0;
      at += 2;
    }
  }
  return 0;
}

/** Where the value ends that begins at `at`, in well-formed text. */
function knownEnd(at: usize, end: usize): usize {
  let depth = 0;
  while (at < end) {
    const byte = load<u8>(at);
    if (byte == QUOTE) {
      at = knownStringEnd(at + 1, end);
    } else if (byte == CURLY || byte == SQUARE) {
      depth++;
      at++;
    } else if (byte == CURLY + 2 || byte == SQUARE + 2) {
      depth--;
      at++;
    } else if (isSpace(byte) || byte == COMMA || byte == COLON) {
      at++;
    } else {
      at = wordEnd(at, end);
    }
    if (!depth) return at;
  }
  return end;
}

function knownStringEnd(at: usize, end: usize): usize {
  while ((at = plainEnd(at, end)) < end) {
    if (load<u8>(at) == QUOTE) return at + 1;
    at += 2;
  }
  return end;
}

/** Where the next quote, backslash or control character stands. Most of JSON is what is between these, so it takes eight
 * bytes at once: `below` marks the bytes of a word that are less than `limit`, the lowest of them exactly. */
function plainEnd(at: usize, end: usize): usize {
  while (at + 8 <= end) {
    const word = load<u64>(at);
    const found = below(word, 0x20) | below(word ^ (ONES * QUOTE), 1) | below(word ^ (ONES * BACKSLASH), 1);
    if (found) return at + <usize>(ctz(found) >> 3);
    at += 8;
  }
  while (at < end) {
    const byte = load<u8>(at);
    if (byte < 0x20 || byte == QUOTE || byte == BACKSLASH) break;
    at++;
  }
  return at;
}

// @ts-ignore: decorator
@inline
function below(word: u64, limit: u64): u64 {
  return (word - ONES * limit) & ~word & (ONES << 7);
}

/** Where the letters, digits and signs of a number or a literal end; at least one byte further. */
function wordEnd(at: usize, end: usize): usize {
  const start = at;
  while (at < end) {
    const byte = load<u8>(at);
    const isWord = isDigit(byte) || <u8>((byte | 0x20) - 0x61) < 26 || byte == 0x2b || byte == 0x2d || byte == 0x2e;
    if (!isWord) break;
    at++;
  }
  return at == start ? at + 1 : at;
}

function isDigit(byte: u8): bool {
  return <u8>(byte - 0x30) < 10;
}

function isNumber(at: usize, end: usize): bool {
  if (load<u8>(at) == 0x2d) at++;
  const whole = digitsEnd(at, end);
  if (whole == at || (whole > at + 1 && load<u8>(at) == 0x30)) return false;
  at = whole;
  if (at < end && load<u8>(at) == 0x2e) {
    const fraction = digitsEnd(at + 1, end);
    if (fraction == at + 1) return false;
    at = fraction;
  }
  if (at < end && (load<u8>(at) | 0x20) == 0x65) {
    at++;
    if (at < end && (load<u8>(at) == 0x2b || load<u8>(at) == 0x2d)) at++;
    const exponent = digitsEnd(at, end);
    if (exponent == at) return false;
    at = exponent;
  }
  return at == end;
}

function digitsEnd(at: usize, end: usize): usize {
  while (at < end && isDigit(load<u8>(at))) at++;
  return at;
}

/** The number that four hexadecimal digits say, or -1. */
function hex4(at: usize): i32 {
  let value = 0;
  for (let i: usize = 0; i < 4; i++) {
    const byte = load<u8>(at + i);
    const letter = <u8>((byte | 0x20) - 0x61);
    if (isDigit(byte)) value = (value << 4) | (byte - 0x30);
    else if (letter < 6) value = (value << 4) | (letter + 10);
    else return -1;
  }
  return value;
}

/** Memory is never given back, so the text is put together in one place, in UTF-8, which is never longer than its escapes. */
function unescaped(at: usize, end: usize): string {
  const start = heap.alloc(end - at + 1);
  let out = start;
  while (true) {
    const run = plainEnd(at, end) - at;
    memory.copy(out, at, run);
    out += run;
    at += run;
    if (at >= end) return String.UTF8.decodeUnsafe(start, out - start);
    const escape = load<u8>(at, 1);
    if (escape != 0x75) {
      store<u8>(out++, escapedByte(escape));
      at += 2;
      continue;
    }
    let point = hex4(at + 2);
    at += 6;
    const low = (point & 0xfc00) == 0xd800 && at + 6 <= end && load<u8>(at, 1) == 0x75 ? hex4(at + 2) : 0;
    if ((low & 0xfc00) == 0xdc00) {
      point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
      at += 6;
    }
    // A lone surrogate, which the host lets through only in JSON inside of a string.
    if ((point & 0xfffff800) == 0xd800) point = 0xfffd;
    out = storePoint(out, point);
  }
}

/** Writes a character in UTF-8, and tells where the next one goes. */
function storePoint(out: usize, point: i32): usize {
  if (point < 0x80) {
    store<u8>(out, point);
    return out + 1;
  }
  let shift = point < 0x800 ? 6 : point < 0x10000 ? 12 : 18;
  store<u8>(out++, (shift == 6 ? 0xc0 : shift == 12 ? 0xe0 : 0xf0) | (point >> shift));
  while (shift) {
    shift -= 6;
    store<u8>(out++, 0x80 | ((point >> shift) & 0x3f));
  }
  return out;
}

function escapedByte(escape: u8): u8 {
  switch (escape) {
    case 0x62: return 8;
    case 0x66: return 12;
    case 0x6e: return 10;
    case 0x72: return 13;
    case 0x74: return 9;
    default: return escape;
  }
}

// ----------------------------------------------------------------------------------------------------- what the host has

// @ts-ignore: decorator
@external("pdp", "log")
declare function pdp_log(level: i32, at: usize, length: usize): void;

// @ts-ignore: decorator
@external("pdp", "now_ms")
declare function pdp_now_ms(): i64;

/** Writes to the service's log; needs the grant `log`. Level 0 is debug, 1 info, 2 warning, 3 error. */
export function log(level: i32, text: string): void {
  const bytes = String.UTF8.encode(text);
  pdp_log(level, changetype<usize>(bytes), bytes.byteLength);
}

/** Unix time in milliseconds; needs the grant `now_ms`. */
export function nowMs(): i64 {
  return pdp_now_ms();
}

// --------------------------------------------------------------------------------------------- how the host comes in here

/** For `pdp_configure`: hands the binding's configuration to `read`, which returns "" or what is wrong with it. */
export function configured(at: usize, length: usize, read: (config: Json) => string): u64 {
  const config = Json.at(at, at + length);
  const wrong = config === null ? "the configuration is not JSON" : read(config);
  return handOver(wrong.length ? Reply.error(wrong).toString() : '{"ok":true}');
}

/** For `pdp_on_request` and `pdp_on_response`: hands the call to `hook`. */
export function answered(at: usize, length: usize, hook: (call: Call) => Reply): u64 {
  const request = Json.at(at, at + length);
  const call: Call | null = request === null ? null : callOf(request);
  const reply = call === null ? Reply.error("the request is not JSON, or has no call") : hook(call);
  return handOver(reply.toString());
}

function callOf(request: Json): Call | null {
  const call = new Call(request);
  let toolCall = Json.NULL;
  let members = request.members;
  for (let at = 0; at < members.length; at += 2) {
    const name = members[at];
    if (name.is("tool_call")) toolCall = members[at + 1];
    else if (name.is("result")) call.result = members[at + 1];
    else if (name.is("result_is_error")) call.resultIsError = members[at + 1].isTrue;
  }
  members = toolCall.members;
  for (let at = 0; at < members.length; at += 2) {
    const name = members[at];
    if (name.is("server")) call.server = members[at + 1].string;
    else if (name.is("tool")) call.tool = members[at + 1].string;
    else if (name.is("arguments")) call.arguments = members[at + 1];
  }
  return call.arguments.isObject ? call : null;
}

/** The address in the upper half, the length in the lower one. */
function handOver(text: string): u64 {
  const bytes = String.UTF8.encode(text);
  return ((<u64>changetype<usize>(bytes)) << 32) | <u64>bytes.byteLength;
}

export function pdp_abi_v1(): void {}

/** The host's limit for a request is 1 MiB; what is far above it is refused instead of tried. */
export function pdp_alloc(length: usize): usize {
  return length > 4 << 20 ? 0 : heap.alloc(max<usize>(length, 1));
}
