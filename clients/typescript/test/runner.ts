/** The conformance runner: commands on standard input, answers on standard output, one JSON object a line. */

import { createInterface } from "node:readline";

import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMethodUnary } from "@bufbuild/protobuf";
import { Client, DecisionService, DenialCodeSchema, SERVICE_CONFIG, allowed, errorInfo, status } from "pdp-client";
import type { AuthorizeBatchResponse, Decision, Denial, ServiceError } from "pdp-client";

interface Options {
  deadline_ms?: number;
  max_receive_bytes?: number;
  bearer?: string;
  tls?: { ca?: string; certificate?: string; key?: string; server_name?: string };
}

type Command =
  | { id: number; do: "describe" }
  | { id: number; do: "open"; client: string; target: string; options?: Options }
  | { id: number; do: "call"; client: string; method: string; request: string; deadline_ms?: number }
  | { id: number; do: "close"; client: string };

type Reply = Record<string, unknown>;

const clients = new Map<string, Client>();

function open(name: string, target: string, options: Options): Reply {
  const { tls } = options;
  try {
    const client = new Client(target, {
      deadlineMs: options.deadline_ms,
      maxReceiveBytes: options.max_receive_bytes,
      bearer: options.bearer,
      tls: tls && { ca: tls.ca, certificate: tls.certificate, key: tls.key, serverName: tls.server_name },
    });
    clients.set(name, client);
    return { opened: true };
  } catch (error) {
    return { refused: String(error) };
  }
}

async function call(client: Client, name: string, request: Buffer, deadlineMs: number | undefined): Promise<Reply> {
  const method = DecisionService.methods.find((known) => known.name === name) as DescMethodUnary | undefined;
  if (method === undefined) {
    throw new Error(`unknown method \`${name}\``);
  }
  const message = fromBinary(method.input, request);
  const ask = client[method.localName as keyof typeof DecisionService.method] as (
    request: unknown,
    options: { deadlineMs?: number | undefined },
  ) => Promise<{ $typeName: string; decision?: Decision; denial?: Denial }>;
  try {
    const response = await ask.call(client, message, { deadlineMs });
    const bytes = toBinary(method.output, response as never);
    return { response: Buffer.from(bytes).toString("base64"), ...verdict(response) };
  } catch (error) {
    return failure(error);
  }
}

function verdict(response: { $typeName: string; decision?: Decision; denial?: Denial }): Reply {
  if (response.$typeName === "pdp.v1.AuthorizeBatchResponse") {
    const { results } = response as unknown as AuthorizeBatchResponse;
    return { allowed: results.map(({ result }) => (result.case === "error" ? null : allowed(result.value))) };
  }
  if (response.$typeName === "pdp.v1.FilterToolsResponse") {
    return {};
  }
  const { decision, denial } = response as { decision: Decision; denial?: Denial };
  const code = denial?.code;
  return {
    allowed: allowed({ decision }),
    ...(code === undefined ? {} : { denial: DenialCodeSchema.value[code]?.name ?? code }),
  };
}

function failure(error: unknown): Reply {
  if (!(error instanceof Error) || typeof (error as Partial<ServiceError>).code !== "number") {
    throw error;
  }
  const { code, details } = error as ServiceError;
  return { error: { code: status[code], message: details, ...errorInfo(error) } };
}

async function answer(command: Command): Promise<Reply> {
  if (command.do === "describe") {
    return { language: "typescript", service_config: SERVICE_CONFIG };
  }
  if (command.do === "open") {
    return open(command.client, command.target, command.options ?? {});
  }
  // Neither a type nor a client that is there can be taken for granted here.
  const kind: string = command.do;
  const client = clients.get(command.client);
  if (client === undefined || (kind !== "call" && kind !== "close")) {
    throw new Error(`cannot \`${kind}\` with the client \`${command.client}\``);
  }
  if (command.do === "close") {
    client.close();
    clients.delete(command.client);
    return { closed: true };
  }
  return call(client, command.method, Buffer.from(command.request, "base64"), command.deadline_ms);
}

for await (const line of createInterface({ input: process.stdin })) {
  let id: unknown = null;
  let reply: Reply;
  try {
    const command = JSON.parse(line) as Command;
    id = command.id ?? null;
    reply = await answer(command);
  } catch (error) {
    reply = { failed: String(error) };
  }
  process.stdout.write(`${JSON.stringify({ id, ...reply })}\n`);
}
for (const client of clients.values()) {
  client.close();
}
