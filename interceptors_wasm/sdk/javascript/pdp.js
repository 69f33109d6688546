// pdp.js: what an interceptor in JavaScript needs, in one file. `build` lays it beside your source, so
//
//   import { interceptor, pass, deny, transform } from "./pdp.js";
//
//   export const { describe, onRequest, onResponse } = interceptor({
//     name: "no-rm",
//     version: "1.0.0",
//     onRequest: (call) => (/\brm\b/.test(call.arguments.command) ? deny("`rm` is not allowed here") : pass()),
//   });
//
// An exception that leaves a hook is the interceptor's failure; its message goes to the operator's log.
// There is no clock and no network: `Date.now()` traps. `Math.random()` gives the same numbers in every call.

/**
 * Makes the three exports of the world `interceptor`.
 *
 * `configure(config)` checks the binding's configuration and returns what the hooks get as their second argument. It
 * runs before each hook, as every call has an instance of its own. Leave out the hook of a phase that you do not serve.
 */
export function interceptor({ name, version, configure = () => undefined, onRequest, onResponse }) {
  const hooks = { request: onRequest, response: onResponse };
  const phases = Object.keys(hooks).filter((phase) => hooks[phase]);
  const serve = (phase) => (text) => {
    if (!hooks[phase]) throw new Error(`there is no hook for the phase \`${phase}\``);
    const call = new Call(text);
    return encode(hooks[phase](call, configure(call.config)), phase);
  };
  return {
    describe: () => JSON.stringify({ v: 1, phases, name, version }),
    onRequest: serve("request"),
    onResponse: serve("response"),
  };
}

/**
 * One tool call. `arguments`, `result`, `context` and `config` are plain values to look at, parsed when first asked for.
 * Numbers in them are doubles, so never write such a value back: `argumentsJson` and `resultJson` are the exact text.
 */
class Call {
  #members;
  #toolCall;

  constructor(text) {
    this.#members = members(text);
  }

  #ofToolCall(name) {
    this.#toolCall ??= members(this.#members.get("tool_call") ?? "{}");
    return this.#toolCall.get(name);
  }

  get phase() { return parse(this.#members.get("phase")); }
  get requestId() { return parse(this.#members.get("request_id")); }
  get subject() { return parse(this.#members.get("subject")); }
  get context() { return parse(this.#members.get("context")) ?? {}; }
  get config() { return parse(this.#members.get("config")) ?? {}; }
  get server() { return parse(this.#ofToolCall("server")); }
  get tool() { return parse(this.#ofToolCall("tool")); }
  get sessionId() { return parse(this.#ofToolCall("session_id")); }
  get arguments() { return parse(this.argumentsJson); }
  get argumentsJson() { return this.#ofToolCall("arguments"); }
  get result() { return parse(this.resultJson); }
  get resultJson() { return this.#members.get("result"); }
  get resultIsError() { return parse(this.#members.get("result_is_error")) ?? false; }
}

/** The payload goes on as it is. `extra` may hold `reason` and `annotations`, here and below. */
export const pass = (extra = {}) => ({ verdict: "pass", ...extra });

/** The call, or its result, is withheld. The agent may see `message`. */
export const deny = (message, extra = {}) => ({ verdict: "deny", message, ...extra });

/** The payload goes on as `json`: the text of the new arguments or of the new result. */
export const transform = (json, extra = {}) => ({ verdict: "transform", json, ...extra });

/**
 * Checks `config` against `fields`, `{key: {fallback, expects, valid}}`, and fills in what is absent. Throws an error
 * that names the key where `valid(value)` is false or the key is not known.
 */
export function readConfig(config, fields) {
  for (const key of Object.keys(config)) {
    if (!Object.hasOwn(fields, key)) throw new Error(`config: unknown key \`${key}\``);
    if (!fields[key].valid(config[key])) throw new Error(`config: \`${key}\` must be ${fields[key].expects}`);
  }
  return Object.fromEntries(Object.entries(fields).map(([key, { fallback }]) => [key, config[key] ?? fallback]));
}

/** Calls `see(string, isName)` for every string in the JSON text, in order; names of members are strings, too. */
export function eachString(json, see) {
  for (let at = json.indexOf('"'); at >= 0; ) {
    const end = stringEnd(json, at);
    see(JSON.parse(json.slice(at, end)), isName(json, end));
    at = json.indexOf('"', end);
  }
}

/**
 * The JSON text with some of its strings changed: `edit(string, isName)` gives the new string, or the old one to leave it.
 * All that `edit` leaves, numbers and white space too, stays as it is, byte for byte.
 */
export function mapStrings(json, edit) {
  let out = "";
  let copied = 0;
  for (let at = json.indexOf('"'); at >= 0; ) {
    const end = stringEnd(json, at);
    const old = JSON.parse(json.slice(at, end));
    const now = edit(old, isName(json, end));
    if (now !== old) {
      out += json.slice(copied, at) + JSON.stringify(now);
      copied = end;
    }
    at = json.indexOf('"', end);
  }
  return out + json.slice(copied);
}

/** The members of a JSON object, `Map` of name to JSON text. The host has checked that the text is well-formed. */
export function members(object) {
  const found = new Map();
  let name, from;
  let depth = 0;
  let at = 0;
  for (let quote; (quote = object.indexOf('"', at)) >= 0; ) {
    depth += nesting(object.slice(at, quote));
    at = stringEnd(object, quote);
    if (depth !== 1 || !isName(object, at)) continue;
    if (name !== undefined) found.set(name, object.slice(from, object.lastIndexOf(",", quote)).trim());
    name = JSON.parse(object.slice(quote, at));
    from = object.indexOf(":", at) + 1;
  }
  if (name !== undefined) found.set(name, object.slice(from, object.lastIndexOf("}")).trim());
  return found;
}

const parse = (json) => (json === undefined ? undefined : JSON.parse(json));

/** How much deeper JSON text without strings ends than it begins. */
function nesting(gap) {
  let depth = KNOWN_GAPS.get(gap);
  if (depth === undefined) {
    depth = 0;
    for (const c of gap.length > 64 ? gap.replace(/[^[\]{}]+/g, "") : gap) {
      if (c === "{" || c === "[") depth += 1;
      else if (c === "}" || c === "]") depth -= 1;
    }
    KNOWN_GAPS.set(gap, depth);
  }
  return depth;
}

const KNOWN_GAPS = new Map(); // between two strings there is nearly always one of a few signs

/** Where the string literal that begins at `quote` ends: the index after its closing quote. */
function stringEnd(json, quote) {
  for (let end = quote; ; ) {
    end = json.indexOf('"', end + 1);
    if (end < 0) throw new Error("a string has no end");
    let before = end - 1;
    while (json[before] === "\\") before -= 1;
    if ((end - before) % 2 === 1) return end + 1; // an even number of backslashes: the quote is not escaped
  }
}

/** Whether the string literal that ends at `end` is the name of a member: in JSON only names come before a colon. */
function isName(json, end) {
  while (json[end] <= " ") end += 1;
  return json[end] === ":";
}

function encode({ json, ...reply }, phase) {
  const text = JSON.stringify(reply);
  if (json === undefined) return text;
  return `${text.slice(0, -1)},"${phase === "request" ? "arguments" : "result"}":${json}}`;
}
