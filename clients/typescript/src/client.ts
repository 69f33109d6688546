import { readFileSync } from "node:fs";
import { isIPv4 } from "node:net";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { Client as Channel, Metadata, credentials } from "@grpc/grpc-js";
import type { ChannelCredentials, ChannelOptions, ServiceError } from "@grpc/grpc-js";

import { Decision, SubjectSchema, ToolCallSchema } from "./gen/pdp/v1/decision_pb.js";
import type { Subject, ToolCall } from "./gen/pdp/v1/decision_pb.js";
import { DecisionService } from "./gen/pdp/v1/decision_service_pb.js";

export { status } from "@grpc/grpc-js";
export type { ServiceError } from "@grpc/grpc-js";

/** The gRPC service config of each client: how calls are tried again. No RPC does more twice than once. */
export const SERVICE_CONFIG = {
  methodConfig: [
    {
      name: [{ service: "pdp.v1.DecisionService" }],
      retryPolicy: {
        maxAttempts: 3,
        initialBackoff: "0.02s",
        maxBackoff: "0.2s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
  retryThrottling: { maxTokens: 10, tokenRatio: 0.1 },
};

const DEFAULT_DEADLINE_MS = 1000;
const DEFAULT_MAX_RECEIVE_BYTES = 16 * 1024 * 1024;
// A longer timer than this would be none at all.
const MAX_DEADLINE_MS = 2 ** 31 - 1;
const PEM_BEGINS = "-----BEGIN ";

/** PEM: its bytes, or as a string the path of a file with them. */
export type Pem = Uint8Array | string;

/** Who is believed to be the service, and who this client says it is. */
export interface TlsOptions {
  /** Whose certificates are believed; without it those that Node.js believes. */
  ca?: Pem | undefined;
  /** The client's own certificate, for mutual TLS; together with `key`. */
  certificate?: Pem | undefined;
  key?: Pem | undefined;
  /** The name that the service's certificate must have, where it is not the target's. */
  serverName?: string | undefined;
}

export interface ClientOptions {
  /** How long a call may take, all its attempts together. 1000 by default. */
  deadlineMs?: number | undefined;
  /** The largest response in bytes. 16 MiB by default. */
  maxReceiveBytes?: number | undefined;
  /** The caller's key. Without TLS it is sent to unix sockets and loopback addresses only. */
  bearer?: string | undefined;
  /** With this, `{}` too, the connection is TLS; without it, it is plaintext. */
  tls?: TlsOptions | undefined;
}

export interface CallOptions {
  /** How long this call may take, all its attempts together. */
  deadlineMs?: number | undefined;
  /** Ends the call with the status CANCELLED. */
  signal?: AbortSignal | undefined;
}

type Methods = typeof DecisionService.method;
type Ask<M extends keyof Methods> = MessageInitShape<Methods[M]["input"]>;
type Answer<M extends keyof Methods> = Promise<MessageShape<Methods[M]["output"]>>;

/**
 * One channel to the service. Make one and share it; it connects with the first call, and again whenever it has to.
 *
 * Every method answers with the response, or rejects with gRPC's `ServiceError`. A denial is a response; ask `allowed`.
 */
export class Client {
  // Private to the language too, so that no printed form of the client has the key.
  readonly #channel: Channel;
  readonly #metadata = new Metadata();
  readonly #deadlineMs: number;

  /**
   * `target` is `host:port`, `[v6]:port`, `unix:/path` or `dns:///host:port`. Throws where the options make no sense,
   * where a file of `tls` cannot be used, and where `bearer` would be sent in clear over a network.
   */
  constructor(target: string, options: ClientOptions = {}) {
    this.#deadlineMs = checkedDeadline(options.deadlineMs ?? DEFAULT_DEADLINE_MS);
    const local = isLocal(target);
    if (options.bearer !== undefined) {
      const key = checkedBearer(options.bearer, local || options.tls !== undefined);
      this.#metadata.set("authorization", `Bearer ${key}`);
    }
    this.#channel = new Channel(target, channelCredentials(options.tls), channelOptions(options, local));
  }

  /** The Cedar question: may this subject do this action on this resource in this context? */
  authorize(request: Ask<"authorize">, options?: CallOptions): Answer<"authorize"> {
    return this.#call(DecisionService.method.authorize, request, options);
  }

  /** Many of them against one revision, answered in order. An item that is an error never fails the others. */
  authorizeBatch(request: Ask<"authorizeBatch">, options?: CallOptions): Answer<"authorizeBatch"> {
    return this.#call(DecisionService.method.authorizeBatch, request, options);
  }

  /** Runs the interceptors on a tool call or on its result. It asks no policy. */
  intercept(request: Ask<"intercept">, options?: CallOptions): Answer<"intercept"> {
    return this.#call(DecisionService.method.intercept, request, options);
  }

  /** Interceptors and policies about one tool call. Call the tool with the arguments that the response has. */
  decide(request: Ask<"decide">, options?: CallOptions): Answer<"decide"> {
    return this.#call(DecisionService.method.decide, request, options);
  }

  /** Which of these tools the subject could ever call. */
  filterTools(request: Ask<"filterTools">, options?: CallOptions): Answer<"filterTools"> {
    return this.#call(DecisionService.method.filterTools, request, options);
  }

  /** Ends the connection; calls in flight end with CANCELLED or UNAVAILABLE, later ones are refused. */
  close(): void {
    this.#channel.close();
  }

  async #call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    { deadlineMs = this.#deadlineMs, signal }: CallOptions = {},
  ): Promise<MessageShape<O>> {
    signal?.throwIfAborted();
    const bytes = Buffer.from(toBinary(method.input, create(method.input, request)));
    const deadline = Date.now() + checkedDeadline(deadlineMs);
    return new Promise((resolve, reject) => {
      const call = this.#channel.makeUnaryRequest(
        `/${method.parent.typeName}/${method.name}`,
        (message: Buffer) => message,
        (message: Buffer) => fromBinary(method.output, message),
        bytes,
        this.#metadata.clone(),
        { deadline },
        (error, response) => {
          signal?.removeEventListener("abort", cancel);
          if (error !== null) {
            reject(error);
          } else {
            // gRPC gives a unary call with the status OK exactly one message.
            resolve(response as MessageShape<O>);
          }
        },
      );
      const cancel = (): void => {
        call.cancel();
      };
      signal?.addEventListener("abort", cancel, { once: true });
    });
  }
}

/** Whether this is an allow. No answer, no decision and decisions that this client does not know are none. */
export function allowed(response: { readonly decision: Decision } | null | undefined): boolean {
  return response?.decision === Decision.ALLOW;
}

/** A subject that the caller names; `onBehalfOf` is the user that an agent acts for. */
export function entitySubject(type: string, id: string, onBehalfOf?: { type: string; id: string }): Subject {
  const subject = { case: "entity", value: { type, id } } as const;
  return create(SubjectSchema, onBehalfOf === undefined ? { subject } : { subject, onBehalfOf });
}

/** A subject whose token the service verifies. */
export function tokenSubject(token: string): Subject {
  return create(SubjectSchema, { subject: { case: "token", value: token } });
}

/** What JSON can say. Integers beyond 2^53 are exact as `bigint`. */
export type Json = null | boolean | number | bigint | string | readonly Json[] | JsonObject;

export interface JsonObject {
  readonly [name: string]: Json | undefined;
}

/** A tool call; `args` are the arguments, or their JSON text as bytes. Throws where JSON cannot say them. */
export function toolCall(server: string, tool: string, args: JsonObject | Uint8Array = {}, sessionId = ""): ToolCall {
  const argumentsJson = args instanceof Uint8Array ? args : new TextEncoder().encode(jsonText(args));
  return create(ToolCallSchema, { server, tool, argumentsJson: new Uint8Array(argumentsJson), sessionId });
}

/** JSON text. `JSON.stringify` knows no `bigint`, and makes `null` of what JSON cannot say; this throws. */
export function jsonText(value: Json): string {
  if (typeof value === "bigint") {
    return value.toString();
  }
  if (value === null || typeof value === "string" || typeof value === "boolean" || Number.isFinite(value)) {
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) {
    return `[${Array.from(value as readonly Json[], jsonText).join(",")}]`;
  }
  if (typeof value !== "object" || ![Object.prototype, null].includes(Object.getPrototypeOf(value) as object | null)) {
    throw new TypeError(`JSON cannot say this value of the type \`${typeof value}\``);
  }
  const members = Object.entries(value as JsonObject);
  const texts = members.flatMap(([name, member]) =>
    member === undefined ? [] : [`${JSON.stringify(name)}:${jsonText(member)}`],
  );
  return `{${texts.join(",")}}`;
}

/** What the service says is wrong with a request, for programs. */
export interface ErrorInfo {
  /** An upper-case constant such as `MISSING_FIELD`. */
  reason: string;
  /** The path of the field, such as `subject.entity.type`; empty where it is none. */
  field: string;
}

/** The service's `google.rpc.ErrorInfo` in an error of a call, if it has one. */
export function errorInfo(error: unknown): ErrorInfo | undefined {
  try {
    const [details] = (error as Partial<ServiceError>).metadata?.get("grpc-status-details-bin") ?? [];
    return details instanceof Uint8Array ? statusErrorInfo(details) : undefined;
  } catch {
    // Whatever these bytes are: the status says enough, and it is not to be lost over them.
    return undefined;
  }
}

// google.rpc.Status: details = 3. google.protobuf.Any: type_url = 1, value = 2.
// google.rpc.ErrorInfo: reason = 1, domain = 2, metadata = 3, a map with key = 1 and value = 2.
function statusErrorInfo(bytes: Uint8Array): ErrorInfo | undefined {
  for (const detail of fields(bytes, 3)) {
    const info = fields(detail, 2).at(-1);
    if (info !== undefined && text(detail, 1).endsWith("/google.rpc.ErrorInfo") && text(info, 2) === "pdp.v1") {
      const field = fields(info, 3).find((entry) => text(entry, 1) === "field");
      return { reason: text(info, 1), field: field === undefined ? "" : text(field, 2) };
    }
  }
  return undefined;
}

function text(message: Uint8Array, number: number): string {
  return new TextDecoder().decode(fields(message, number).at(-1));
}

/** The length-delimited fields of this number. Throws where the bytes are no message. */
function fields(message: Uint8Array, number: number): Uint8Array[] {
  const reader = new BinaryReader(message);
  const found: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const [no, type] = reader.tag();
    if (no === number && type === WireType.LengthDelimited) {
      found.push(reader.bytes());
    } else {
      reader.skip(type, no);
    }
  }
  return found;
}

function checkedDeadline(milliseconds: number): number {
  if (!(milliseconds > 0 && milliseconds <= MAX_DEADLINE_MS)) {
    const given = String(milliseconds);
    throw new RangeError(
      `a deadline of \`${given}\` ms: it must be more than 0 and at most ${String(MAX_DEADLINE_MS)}`,
    );
  }
  return milliseconds;
}

// The messages must not have the key, and gRPC's own about a bad header would.
function checkedBearer(key: string, safe: boolean): string {
  if (!/^[\x21-\x7e]+$/.test(key)) {
    throw new TypeError("the bearer key is empty, or has a character that no header may have");
  }
  if (!safe) {
    throw new TypeError("a bearer key is not sent in clear over a network: use `tls`, a unix socket or loopback");
  }
  return key;
}

/** Whether what is sent to this target stays on this machine. */
function isLocal(target: string): boolean {
  if (target.startsWith("unix:")) {
    return true;
  }
  const authority = target.replace(/^dns:(\/\/\/)?/, "");
  const host = /^(?:\[([0-9a-f:]+)\]|([^:/[\]]+))(?::\d+)?$/i.exec(authority);
  const name = (host?.[1] ?? host?.[2] ?? "").toLowerCase();
  return name === "localhost" || name === "::1" || (isIPv4(name) && name.startsWith("127."));
}

function channelCredentials(tls: TlsOptions | undefined): ChannelCredentials {
  if (tls === undefined) {
    return credentials.createInsecure();
  }
  if ((tls.certificate === undefined) !== (tls.key === undefined)) {
    throw new TypeError("mutual TLS needs both `certificate` and `key`");
  }
  return credentials.createSsl(pem("ca", tls.ca), pem("key", tls.key), pem("certificate", tls.certificate));
}

function pem(name: string, source: Pem | undefined): Buffer | null {
  if (source === undefined) {
    return null;
  }
  // As a path it would stand in the error about a file that is not there: a private key in a log.
  if (typeof source === "string" && source.includes(PEM_BEGINS)) {
    throw new TypeError(`\`tls.${name}\` is PEM in a string, which is the path of a file: give PEM as bytes`);
  }
  const content = typeof source === "string" ? readFileSync(source) : Buffer.from(source);
  // Given but empty is a file that lost its content; it must not do as if it was not given.
  if (!content.includes(PEM_BEGINS)) {
    throw new TypeError(`\`tls.${name}\` has no PEM in it`);
  }
  return content;
}

function channelOptions(options: ClientOptions, local: boolean): ChannelOptions {
  const maxReceiveBytes = options.maxReceiveBytes ?? DEFAULT_MAX_RECEIVE_BYTES;
  if (!(Number.isInteger(maxReceiveBytes) && maxReceiveBytes > 0)) {
    throw new RangeError(`\`maxReceiveBytes\` is \`${String(maxReceiveBytes)}\`: it must be a whole number above 0`);
  }
  return {
    "grpc.service_config": JSON.stringify(SERVICE_CONFIG),
    // A record in the DNS would change how calls are retried.
    "grpc.service_config_disable_resolution": 1,
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2_000,
    "grpc.max_receive_message_length": maxReceiveBytes,
    // What is local or in clear takes no way through a proxy that the environment names: it would read everything, and
    // could answer.
    ...(local || options.tls === undefined ? { "grpc.enable_http_proxy": 0 } : {}),
    ...(options.tls?.serverName === undefined ? {} : { "grpc.ssl_target_name_override": options.tls.serverName }),
  };
}
