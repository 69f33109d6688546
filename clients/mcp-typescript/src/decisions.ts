/** What the service says about one request of the Model Context Protocol or its answer, in the protocol's own terms. */

import { Phase, allowed, toolCall } from "pdp-client";
import type { Client, Denial, Json, Subject, ToolCall } from "pdp-client";

/** What is known of a request when the subject is asked for. */
export interface GuardedRequest {
  readonly method: "tools/call" | "tools/list";
  /** What the sender says: arguments, names, `_meta`. Whoever the subject is cannot be learnt from here. */
  readonly params: Readonly<Record<string, unknown>>;
  /** Who the transport authenticated, as the SDK has it; with a guarded client always undefined. */
  readonly authInfo: AuthInfo | undefined;
  /** All that the transport says beside the message: the HTTP request, for example. */
  readonly extra: unknown;
  readonly sessionId: string | undefined;
}

/** The members of the SDK's `AuthInfo` that every version of it has. */
export interface AuthInfo {
  readonly token: string;
  readonly clientId: string;
  readonly scopes: readonly string[];
  readonly extra?: Readonly<Record<string, unknown>> | undefined;
}

export type Context = Readonly<Record<string, Json>>;

export interface GuardOptions {
  /** The service; it may be shared by many guards. */
  readonly client: Client;
  /** What the bundle calls the MCP server. */
  readonly server: string;
  /** Who asks. Nobody (undefined), or an error, denies. */
  readonly subject: (request: GuardedRequest) => Subject | undefined | Promise<Subject | undefined>;
  /** What else policies and interceptors may know: Cedar's context. */
  readonly context?: (request: GuardedRequest) => Context | Promise<Context>;
  /** Methods that pass without anybody being asked, such as `resources/read`. */
  readonly unguardedMethods?: readonly string[];
}

/** This goes no further; the message is for the agent. */
export class Refusal extends Error {}

export const NO_DECISION = "the policy decision point gave no decision";
export const UNREADABLE = "the call, or its result, is nothing that can be passed on";

export type Fields = Record<string, unknown>;

/** Who asks, and about what: the same for a call and its result. */
export interface Asking {
  readonly subject: Subject;
  readonly contextJson: Uint8Array;
}

/** A call that is allowed, with the arguments to make it with. */
export interface DecidedCall extends Asking {
  readonly toolCall: ToolCall;
  readonly decisionId: string;
  readonly arguments: Fields;
}

/** Asks the options who asks. Throws Refusal without a subject. */
export async function asking(options: GuardOptions, request: GuardedRequest): Promise<Asking> {
  const subject = await options.subject(request);
  if (subject === undefined) {
    throw new Refusal("nobody is known to ask this");
  }
  const context = await options.context?.(request);
  return { subject, contextJson: context === undefined ? new Uint8Array() : bytes(context) };
}

/** May this call be made, and with which arguments? Throws Refusal if not; any other error is no decision. */
export async function decided(options: GuardOptions, request: GuardedRequest): Promise<DecidedCall> {
  const { name, arguments: args = {}, _meta: _, ...others } = request.params;
  // Nobody decides about what else may be in a call: tasks, whose results would be fetched in another way, and answers
  // to what the tool asked in between.
  if (typeof name !== "string" || !isFields(args) || Object.keys(others).length > 0) {
    throw new Refusal(UNREADABLE);
  }
  const who = await asking(options, request);
  const sessionId = request.sessionId ?? "";
  const call = toolCall(options.server, name, bytes(args), sessionId);
  const response = await options.client.decide({ ...who, toolCall: call });
  requireAllowed(response);
  const toCall = { ...call, argumentsJson: response.argumentsJson };
  return {
    ...who,
    toolCall: toCall,
    decisionId: response.decisionId,
    arguments: exact(parsed(response.argumentsJson)),
  };
}

/** The result as it may be given to the agent. Throws Refusal if it may not; any other error is no decision. */
export async function intercepted(options: GuardOptions, call: DecidedCall, result: unknown): Promise<Fields> {
  const { subject, contextJson, toolCall: tool, decisionId } = call;
  const complete = requireComplete(result);
  const response = await options.client.intercept({
    phase: Phase.RESPONSE,
    subject,
    toolCall: tool,
    contextJson,
    decisionId,
    resultJson: bytes(complete),
    resultIsError: complete["isError"] === true,
  });
  requireAllowed(response);
  if (response.payload.case !== "resultJson") {
    throw new Refusal(NO_DECISION);
  }
  return requireComplete(parsed(response.payload.value));
}

/** One page of a list with those tools that the subject could ever call. Any error is no list. */
export async function filtered(options: GuardOptions, who: Asking, page: unknown): Promise<Fields> {
  if (!isFields(page) || !Array.isArray(page["tools"])) {
    throw new Refusal(UNREADABLE);
  }
  const tools = new Map<string, Fields>();
  for (const tool of page["tools"] as unknown[]) {
    // A decision about one of two tools of the same name could be about either.
    if (!isFields(tool) || typeof tool["name"] !== "string" || tools.has(tool["name"])) {
      throw new Refusal(UNREADABLE);
    }
    tools.set(tool["name"], tool);
  }
  const listed = Array.from(tools, ([name, tool]) => ({ name, definitionJson: bytes(tool) }));
  const response = await options.client.filterTools({ ...who, server: options.server, tools: listed });
  const shown = new Set(response.allowed);
  // What one subject may see is nothing that a cache may keep, or give to another.
  const cache = "ttlMs" in page || "cacheScope" in page ? { ttlMs: 0, cacheScope: "private" } : {};
  return { ...page, ...cache, tools: Array.from(tools.values()).filter((tool) => shown.has(tool["name"] as string)) };
}

/** The tool result that tells the agent why there is no other one. */
export function errorResult(text: string): Fields {
  return { content: [{ type: "text", text }], isError: true };
}

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function requireAllowed(response: Parameters<typeof allowed>[0] & { readonly denial?: Denial | undefined }): void {
  if (!allowed(response)) {
    throw new Refusal(response.denial?.message || NO_DECISION);
  }
}

/** A finished result of a tool. Tasks and questions back to the agent are none: they would come to an end elsewhere. */
function requireComplete(result: unknown): Fields {
  if (isFields(result) && Array.isArray(result["content"]) && !("task" in result)) {
    const { resultType = "complete" } = result;
    if (resultType === "complete") {
      return result;
    }
  }
  throw new Refusal(UNREADABLE);
}

function bytes(value: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(value));
}

/** A JSON object. Throws where the bytes are none. */
function parsed(json: Uint8Array): Fields {
  const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(json));
  if (!isFields(value)) {
    throw new Refusal(NO_DECISION);
  }
  return value;
}

/** Throws Refusal where a number may be another one than was decided about: `JSON.parse` rounds large integers. */
function exact<T>(value: T): T {
  if (
    typeof value === "number" &&
    !Number.isSafeInteger(value) &&
    (Number.isInteger(value) || !Number.isFinite(value))
  ) {
    throw new Refusal("an argument is a number that cannot be passed on exactly");
  }
  if (typeof value === "object" && value !== null) {
    Object.values(value).forEach(exact);
  }
  return value;
}
