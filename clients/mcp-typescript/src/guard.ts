/**
 * Guards an MCP server or client where its messages pass: at the transport. Whatever the SDK does above it, and
 * whichever of its versions it is, no call goes in undecided and no result comes out that the service has not seen.
 */

import {
  NO_DECISION,
  Refusal,
  UNREADABLE,
  asking,
  decided,
  errorResult,
  filtered,
  intercepted,
  isFields,
} from "./decisions.js";
import type { AuthInfo, DecidedCall, Fields, GuardedRequest, GuardOptions } from "./decisions.js";

type Id = string | number;
type Pass = (message: Fields) => unknown;
type Handler = (message: Fields, extra?: unknown) => void;

/** What is used of the SDK's `Transport`. */
interface Wire {
  send(message: unknown, options?: unknown): Promise<void>;
  onmessage?: Handler | undefined;
  onerror?: ((error: Error) => void) | undefined;
  sessionId?: string | undefined;
}

interface Endpoint {
  connect(wire: Wire, ...rest: unknown[]): Promise<void>;
  readonly transport?: unknown;
}

// They say nothing of tools and do nothing.
const HARMLESS = ["initialize", "ping", "server/discover", "logging/setLevel", "subscriptions/listen"];
// Requests without an answer, cancelled ones included; more than this is nobody's honest use.
const MAX_FLIGHTS = 10_000;
const INVALID_REQUEST = -32600;
const METHOD_NOT_FOUND = -32601;
const INTERNAL_ERROR = -32603;
const PROTOCOL_VERSION = "io.modelcontextprotocol/protocolVersion";
// What a bundle pins of a tool, and so what somebody reviewed. Other members, such as a title, may say anything.
const REVIEWED = ["name", "description", "inputSchema", "annotations"];

/**
 * Guards the tools of an MCP server: `McpServer` or `Server` of `@modelcontextprotocol/server` or
 * `@modelcontextprotocol/sdk`. Call it before `connect`; it answers with the server. Throws where this is no server, or
 * one that is connected or guarded already.
 */
export function guardServer<S extends object>(server: S, options: GuardOptions): S {
  if (isClient(server)) {
    throw new TypeError("this is a client, and not a server");
  }
  guardEndpoint(("server" in server ? server.server : server) as Endpoint, options, "server");
  return server;
}

/**
 * Guards what an MCP client calls: the same, on the agent's side, for servers that nobody guards. Of a tool only what a
 * bundle pins is shown. Call it before `connect`; it answers with the client. Throws where this is no client, or one
 * that is connected or guarded already.
 */
export function guardClient<C extends object>(client: C, options: GuardOptions): C {
  if (!isClient(client)) {
    throw new TypeError("this is no client");
  }
  guardEndpoint(client as unknown as Endpoint, options, "client");
  return client;
}

// Taken for the other, either would be guarded in the wrong direction: not at all.
function isClient(endpoint: object): boolean {
  return "callTool" in endpoint;
}

const guarded = new WeakSet<object>();

function claim(thing: object, what: string): void {
  if (guarded.has(thing)) {
    throw new Error(`this ${what} is guarded already`);
  }
  guarded.add(thing);
}

function guardEndpoint(endpoint: Endpoint, options: GuardOptions, side: "server" | "client"): void {
  const { client, server, subject } = options as Partial<GuardOptions>;
  if (client === undefined || !server || typeof subject !== "function") {
    throw new TypeError("`client`, `server` and `subject` are needed");
  }
  if (typeof endpoint.connect !== "function" || endpoint.transport !== undefined) {
    throw new TypeError("there is nothing to guard here, or it is connected already");
  }
  claim(endpoint, side);
  const connect = endpoint.connect.bind(endpoint);
  endpoint.connect = async (wire, ...rest) => {
    guardWire(wire, options, side);
    await connect(wire, ...rest);
  };
}

/**
 * Puts a guard between the transport and whoever connects to it. The transport stays the same object, because the SDK
 * and its users hold on to it; what is sent and what is received goes through the guard.
 */
function guardWire(wire: Wire, options: GuardOptions, side: "server" | "client"): void {
  claim(wire, "transport");
  const guard = new Guard(options, wire, side === "client" ? reviewed : (tool) => tool);
  const send = wire.send.bind(wire);
  // Whoever looked on before goes on looking on.
  const observer = wire.onmessage;
  const inherited = setter(wire);
  let handler: Handler | undefined;
  const receive: Handler = (message, extra) => {
    observer?.(message, extra);
    const deliver: Pass = (passed) => handler?.(passed, extra);
    const done = side === "server" ? guard.asked(message, extra, deliver, send) : guard.answered(message, deliver);
    done.catch((error: unknown) => {
      report(wire, error);
    });
  };
  wire.send = (message, sendOptions) => {
    const forward: Pass = (passed) => send(passed, sendOptions);
    const fields = message as Fields;
    return side === "server"
      ? guard.answered(fields, forward)
      : guard.asked(fields, undefined, forward, (m) => handler?.(m));
  };
  Object.defineProperty(wire, "onmessage", {
    configurable: true,
    enumerable: true,
    get: () => handler && receive,
    set: (next: Handler | undefined) => {
      handler = next;
      inherited?.call(wire, next && receive);
    },
  });
}

/** The setter of `onmessage`, where the transport has one: it hands the handler on to where messages arrive. */
function setter(wire: Wire): ((handler: Handler | undefined) => void) | undefined {
  for (let at: object | null = wire; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const found = Object.getOwnPropertyDescriptor(at, "onmessage");
    if (found !== undefined) {
      return found.set;
    }
  }
  return undefined;
}

/** A request that has no answer yet. While it was not passed on, and once it is cancelled, no answer passes. */
interface Flight {
  answer: ((message: Fields) => Fields | Promise<Fields>) | undefined;
  cancelled: boolean;
}

/** What one connection has in flight. Requests go from the asking side to the answering one, whichever is guarded. */
class Guard {
  readonly #options: GuardOptions;
  readonly #wire: Wire;
  readonly #show: (tool: Fields) => Fields;
  readonly #passing: ReadonlySet<string>;
  readonly #flights = new Map<Id, Flight>();

  constructor(options: GuardOptions, wire: Wire, show: (tool: Fields) => Fields) {
    this.#options = options;
    this.#wire = wire;
    this.#show = show;
    this.#passing = new Set([...HARMLESS, ...(options.unguardedMethods ?? [])]);
  }

  /** A message of the asking side: `forward` hands it on, `respond` answers it instead. */
  async asked(message: Fields, extra: unknown, forward: Pass, respond: Pass): Promise<void> {
    if (!isFields(message)) {
      throw new Error("a message that is none");
    }
    const { id, method, params } = message;
    if (typeof method !== "string") {
      // The answer to something that the other side asked.
      await forward(message);
    } else if (id === undefined) {
      await this.#notified(message, method, forward);
    } else if (!isId(id) || this.#flights.has(id) || this.#flights.size >= MAX_FLIGHTS) {
      // Two answers for one id could be taken for each other.
      await respond(failure(id, INVALID_REQUEST, "the request's id is none, or is in use"));
    } else if (this.#passing.has(method)) {
      this.#flights.set(id, { answer: (answer) => answer, cancelled: false });
      await forward(message);
    } else if (method === "tools/list" || method === "tools/call") {
      const request = this.#request(method, params, extra);
      await (method === "tools/list"
        ? this.#list(id, request, message, forward)
        : this.#call(id, request, message, forward, respond));
    } else {
      await respond(failure(id, METHOD_NOT_FOUND, "Method not found"));
    }
  }

  /** A message of the answering side. Throws where it answers nothing that was asked; it then goes nowhere. */
  async answered(message: Fields, forward: Pass): Promise<void> {
    if (!("result" in message || "error" in message) && typeof message["method"] === "string") {
      // A notification, or something that this side asks.
      await forward(message);
      return;
    }
    const id = message["id"] as Id;
    const answer = this.#flights.get(id)?.answer;
    if (answer === undefined) {
      throw new Error("an answer to nothing that was asked, or that was cancelled");
    }
    this.#flights.delete(id);
    await forward(await answer(message));
  }

  #request(method: GuardedRequest["method"], params: unknown, extra: unknown): GuardedRequest {
    const authInfo = isFields(extra) ? (extra["authInfo"] as AuthInfo | undefined) : undefined;
    return { method, params: isFields(params) ? params : {}, authInfo, extra, sessionId: this.#wire.sessionId };
  }

  async #notified(message: Fields, method: string, forward: Pass): Promise<void> {
    if (!method.startsWith("notifications/")) {
      throw new Error("a request without an id");
    }
    if (method === "notifications/cancelled" && isFields(message["params"])) {
      const flight = this.#flights.get(message["params"]["requestId"] as Id);
      if (flight !== undefined) {
        // The id stays in use: an answer may still be on its way.
        flight.cancelled = true;
        flight.answer = undefined;
      }
    }
    await forward(message);
  }

  async #list(id: Id, request: GuardedRequest, message: Fields, forward: Pass): Promise<void> {
    const answer = async (listed: Fields): Promise<Fields> => {
      try {
        const page = await filtered(this.#options, await asking(this.#options, request), listed["result"]);
        const tools = (page["tools"] as Fields[]).map(this.#show);
        return { jsonrpc: "2.0", id, result: { ...page, tools } };
      } catch (error) {
        this.#report(error);
        return failure(id, INTERNAL_ERROR, "the list of tools is not available");
      }
    };
    this.#flights.set(id, { answer, cancelled: false });
    await forward(message);
  }

  async #call(id: Id, request: GuardedRequest, message: Fields, forward: Pass, respond: Pass): Promise<void> {
    const flight: Flight = { answer: undefined, cancelled: false };
    this.#flights.set(id, flight);
    const { call, denial } = await this.#decided(request);
    if (call === undefined || flight.cancelled) {
      // It was never passed on, so no answer can come, and the id is free again.
      this.#flights.delete(id);
      if (!flight.cancelled) {
        await respond(answerOf(request, id, denial));
      }
      return;
    }
    flight.answer = async (answer) => answerOf(request, id, await this.#result(call, answer));
    await forward({ ...message, params: { ...request.params, arguments: call.arguments } });
  }

  async #decided(request: GuardedRequest): Promise<{ readonly call?: DecidedCall; readonly denial?: Fields }> {
    try {
      return { call: await decided(this.#options, request) };
    } catch (error) {
      return { denial: this.#denial(error) };
    }
  }

  async #result(call: DecidedCall, answer: Fields): Promise<Fields> {
    try {
      // What the server has to say against the call may hold as much as a result.
      const result = "result" in answer ? answer["result"] : errorResult(errorText(answer["error"]));
      return await intercepted(this.#options, call, result);
    } catch (error) {
      return this.#denial(error);
    }
  }

  #denial(error: unknown): Fields {
    this.#report(error);
    return errorResult(error instanceof Refusal ? error.message : NO_DECISION);
  }

  /** Refusals are decisions and are in the decision log; everything else is for whoever runs this. */
  #report(error: unknown): void {
    if (!(error instanceof Refusal)) {
      report(this.#wire, error);
    }
  }
}

function isId(value: unknown): value is Id {
  return typeof value === "string" || typeof value === "number";
}

/** A response with this result. Since the revision of 2026-07-28 requests name theirs, and results have a type. */
function answerOf(request: GuardedRequest, id: Id, result: Fields | undefined): Fields {
  const meta = request.params["_meta"];
  const type = isFields(meta) && PROTOCOL_VERSION in meta ? { resultType: "complete" } : {};
  return { jsonrpc: "2.0", id, result: { ...type, ...result } };
}

function failure(id: unknown, code: number, message: string): Fields {
  return { jsonrpc: "2.0", id: isId(id) ? id : null, error: { code, message } };
}

function errorText(error: unknown): string {
  return isFields(error) && typeof error["message"] === "string" ? error["message"] : UNREADABLE;
}

function reviewed(tool: Fields): Fields {
  return Object.fromEntries(REVIEWED.filter((member) => member in tool).map((member) => [member, tool[member]]));
}

function report(wire: Wire, error: unknown): void {
  wire.onerror?.(error instanceof Error ? error : new Error(String(error)));
}
