/** The client against a real gRPC server in this process that answers as each test says. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { inspect } from "node:util";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Metadata, Server, ServerCredentials, status } from "@grpc/grpc-js";
import type { sendUnaryData, ServerUnaryCall } from "@grpc/grpc-js";
import {
  Client,
  DecideRequestSchema,
  DecideResponseSchema,
  Decision,
  DenialCode,
  SERVICE_CONFIG,
  allowed,
  entitySubject,
  errorInfo,
  jsonText,
  tokenSubject,
  toolCall,
} from "pdp-client";
import type { ClientOptions, DecideRequest, Json, ServiceError } from "pdp-client";

type Handler = (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => void;

const raw = {
  requestStream: false,
  responseStream: false,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
};
const cleanups: (() => void)[] = [];
after(() => {
  for (const cleanup of cleanups.reverse()) {
    cleanup();
  }
});

function asIs(bytes: Buffer): Buffer {
  return bytes;
}

async function serve(handler: Handler, address = "127.0.0.1:0"): Promise<{ target: string; server: Server }> {
  const server = new Server();
  server.addService({ Decide: { path: "/pdp.v1.DecisionService/Decide", ...raw } }, { Decide: handler });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) {
        resolve(bound);
      } else {
        reject(error);
      }
    });
  });
  cleanups.push(() => {
    server.forceShutdown();
  });
  return { target: address.startsWith("unix:") ? address : `127.0.0.1:${String(port)}`, server };
}

function connect(target: string, options?: ClientOptions): Client {
  const client = new Client(target, options);
  cleanups.push(() => {
    client.close();
  });
  return client;
}

function answering(decision: number): Handler {
  return (_call, reply) => {
    reply(null, Buffer.from(toBinary(DecideResponseSchema, create(DecideResponseSchema, { decision }))));
  };
}

/** Answers with these statuses, one a call, and then allows; `attempts` counts. */
function failing(codes: readonly status[]): { handler: Handler; attempts: () => number } {
  let attempts = 0;
  const handler: Handler = (call, reply) => {
    const code = codes[attempts++];
    if (code === undefined) {
      answering(Decision.ALLOW)(call, reply);
    } else {
      reply({ code, details: "as the test says" });
    }
  };
  return { handler, attempts: () => attempts };
}

function coded(code: status): (error: unknown) => boolean {
  return (error) => error instanceof Error && (error as ServiceError).code === code;
}

const question = {
  subject: entitySubject("Agent", "coder"),
  toolCall: toolCall("git", "git_commit", { message: "fix" }),
};

test("only DECISION_ALLOW is an allow", async () => {
  for (const [decision, expected] of [
    [1, true],
    [0, false],
    [2, false],
    [99, false],
  ] as const) {
    const { target } = await serve(answering(decision));
    const response = await connect(target).decide(question);
    assert.equal(response.decision, decision);
    assert.equal(allowed(response), expected);
  }
  assert.equal(allowed(undefined), false);
});

test("what is asked arrives as it was asked", async () => {
  let asked: DecideRequest | undefined;
  const { target } = await serve((call, reply) => {
    asked = fromBinary(DecideRequestSchema, call.request);
    answering(Decision.ALLOW)(call, reply);
  });
  await connect(target).decide(question);
  assert.deepEqual(asked?.subject?.subject.value, question.subject.subject.value);
  assert.equal(Buffer.from(asked?.toolCall?.argumentsJson ?? []).toString(), '{"message":"fix"}');
});

test("UNAVAILABLE is tried three times, and an answer of the third attempt counts", async () => {
  const twice = failing([status.UNAVAILABLE, status.UNAVAILABLE]);
  assert.equal(allowed(await connect((await serve(twice.handler)).target).decide(question)), true);
  assert.equal(twice.attempts(), 3);
  const always = failing(Array<status>(9).fill(status.UNAVAILABLE));
  await assert.rejects(connect((await serve(always.handler)).target).decide(question), coded(status.UNAVAILABLE));
  assert.equal(always.attempts(), 3);
});

test("nothing but UNAVAILABLE is tried again", async () => {
  for (const code of [status.INTERNAL, status.RESOURCE_EXHAUSTED, status.PERMISSION_DENIED, status.UNAUTHENTICATED]) {
    const once = failing([code]);
    await assert.rejects(connect((await serve(once.handler)).target).decide(question), coded(code));
    assert.equal(once.attempts(), 1);
  }
});

test("a service that never answers ends the call at the client's deadline or the call's own", async () => {
  const { target } = await serve(() => undefined);
  await assert.rejects(connect(target, { deadlineMs: 50 }).decide(question), coded(status.DEADLINE_EXCEEDED));
  await assert.rejects(connect(target).decide(question, { deadlineMs: 50 }), coded(status.DEADLINE_EXCEEDED));
  await assert.rejects(connect(target).decide(question), coded(status.DEADLINE_EXCEEDED));
});

test("there is no way to have no deadline", async () => {
  for (const deadlineMs of [0, -1, Number.NaN, Infinity, 2 ** 31]) {
    assert.throws(() => new Client("127.0.0.1:1", { deadlineMs }), RangeError);
    await assert.rejects(connect("127.0.0.1:1").decide(question, { deadlineMs }), RangeError);
  }
});

test("nobody who listens is UNAVAILABLE", async () => {
  const { target, server } = await serve(answering(Decision.ALLOW));
  server.forceShutdown();
  await assert.rejects(connect(target).decide(question), coded(status.UNAVAILABLE));
});

test("a response that is no message is an error", async () => {
  const { target } = await serve((_call, reply) => {
    reply(null, Buffer.from([0x08]));
  });
  await assert.rejects(connect(target).decide(question), coded(status.INTERNAL));
});

test("a response that is larger than allowed is RESOURCE_EXHAUSTED", async () => {
  const { target } = await serve((_call, reply) => {
    const response = create(DecideResponseSchema, { decision: Decision.ALLOW, argumentsJson: new Uint8Array(5000) });
    reply(null, Buffer.from(toBinary(DecideResponseSchema, response)));
  });
  await assert.rejects(connect(target, { maxReceiveBytes: 4096 }).decide(question), coded(status.RESOURCE_EXHAUSTED));
  assert.equal(allowed(await connect(target, { maxReceiveBytes: 8192 }).decide(question)), true);
});

test("the call ends with CANCELLED when its signal says so", async () => {
  const { target } = await serve(() => undefined);
  const stop = new AbortController();
  const call = connect(target).decide(question, { signal: stop.signal });
  setImmediate(() => {
    stop.abort();
  });
  await assert.rejects(call, coded(status.CANCELLED));
});

test("the key goes with each call, over a unix socket too", async () => {
  const directory = mkdtempSync(join(tmpdir(), "pdp-client-"));
  cleanups.push(() => {
    rmSync(directory, { recursive: true });
  });
  const socket = `unix:${join(directory, "s")}`;
  const seen: unknown[] = [];
  const handler: Handler = (call, reply) => {
    seen.push(...call.metadata.get("authorization"));
    answering(Decision.ALLOW)(call, reply);
  };
  for (const { target } of [await serve(handler), await serve(handler, socket)]) {
    await connect(target, { bearer: "key-1" }).decide(question);
  }
  assert.deepEqual(seen, ["Bearer key-1", "Bearer key-1"]);
});

test("a key is not sent in clear over a network, and is in no message and no printed form", () => {
  const remote = [
    "10.0.0.1:1",
    "pdp.example:1",
    "127.0.0.1.example:1",
    "localhost.example:1",
    "[2001:db8::1]:1",
    "dns:///pdp.example:1",
  ];
  const tricks = [
    "dns://203.0.113.1/localhost:1",
    "ipv4:127.0.0.1:1,10.0.0.1:1",
    "http://127.0.0.1:1",
    "localhost@10.0.0.1:1",
    "127.1:1",
  ];
  for (const target of [...remote, ...tricks]) {
    assert.throws(
      () => new Client(target, { bearer: "hush" }),
      (error) => !String(error).includes("hush"),
      target,
    );
  }
  for (const bearer of ["", "hush hush", "hush\n", "hush\u{e9}"]) {
    assert.throws(
      () => new Client("127.0.0.1:1", { bearer }),
      (error) => !String(error).includes("hush"),
    );
  }
  for (const target of [
    "127.0.0.1:1",
    "127.9.9.9:1",
    "[::1]:1",
    "localhost:1",
    "dns:///localhost:1",
    "unix:/nowhere",
  ]) {
    const client = connect(target, { bearer: "hush" });
    assert.doesNotMatch(inspect(client, { depth: 9, showHidden: true }) + JSON.stringify(client), /hush/);
  }
  connect("pdp.example:1", { bearer: "hush", tls: {} });
});

test("half a client certificate is refused", () => {
  assert.throws(() => new Client("127.0.0.1:1", { tls: { certificate: new Uint8Array() } }), /both/);
});

test("PEM in a string, which is a path, is refused in words that do not repeat it, and so is what has no PEM", () => {
  const key = "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n";
  const certificate = new TextEncoder().encode("-----BEGIN CERTIFICATE-----\n");
  assert.throws(
    () => new Client("127.0.0.1:1", { tls: { certificate, key } }),
    (error) => error instanceof TypeError && /`tls.key`/.test(error.message) && !inspect(error).includes("hush"),
  );
  assert.throws(() => new Client("127.0.0.1:1", { tls: { ca: new Uint8Array() } }), /`tls.ca` has no PEM/);
});

test("the reason and the field of an error are read, and garbage in their place is nothing", async () => {
  // google.rpc.Status{details: [Any{ErrorInfo{MISSING_FIELD, pdp.v1, {field: subject}}}]}
  const info = message(1, "MISSING_FIELD", 2, "pdp.v1", 3, message(1, "field", 2, "subject"));
  const good = message(2, "wrong", 3, message(1, "type.googleapis.com/google.rpc.ErrorInfo", 2, info));
  for (const [details, expected] of [
    [good, { reason: "MISSING_FIELD", field: "subject" }],
    [Buffer.from([0x1a, 0xff]), undefined],
  ] as const) {
    const { target } = await serve((_call, reply) => {
      const metadata = new Metadata();
      metadata.set("grpc-status-details-bin", details);
      reply({ code: status.INVALID_ARGUMENT, details: "wrong", metadata });
    });
    const error: unknown = await connect(target)
      .decide(question)
      .catch((caught: unknown) => caught);
    assert.ok(coded(status.INVALID_ARGUMENT)(error));
    assert.deepEqual(errorInfo(error), expected);
  }
  assert.equal(errorInfo(undefined), undefined);
  assert.equal(errorInfo(new Error("another one")), undefined);
});

test("the same client finds the service again after a restart on the same port", async () => {
  const first = await serve(answering(Decision.ALLOW));
  const client = connect(first.target);
  await client.decide(question);
  first.server.forceShutdown();
  await assert.rejects(client.decide(question), coded(status.UNAVAILABLE));
  await serve(answering(Decision.DENY), first.target);
  for (let patience = 50; ; patience--) {
    try {
      assert.equal((await client.decide(question)).decision, Decision.DENY);
      return;
    } catch (error) {
      assert.ok(patience > 0 && coded(status.UNAVAILABLE)(error));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
});

test("arguments are exact JSON, and what JSON cannot say is refused", () => {
  const args = { n: 9007199254740993n, text: 'ä\u2028"', list: [1.5, null, true], gone: undefined, __proto__: null };
  assert.equal(jsonText(args), '{"n":9007199254740993,"text":"ä\u2028\\"","list":[1.5,null,true]}');
  const bytes = Buffer.from('{"a" : 1}');
  assert.deepEqual(Buffer.from(toolCall("s", "t", bytes).argumentsJson), bytes);
  for (const wrong of [Number.NaN, Infinity, [undefined], new Date(), new Map(), () => 1, Symbol("s"), Array(1)]) {
    assert.throws(() => jsonText({ wrong } as unknown as Json), TypeError);
  }
});

test("a denial code that nobody knows yet keeps its number, and subjects are what they say", () => {
  const response = fromBinary(DecideResponseSchema, Buffer.from([0x08, 2, 0x12, 2, 0x08, 99]));
  assert.equal(response.denial?.code, 99);
  assert.equal(DenialCode[99], undefined);
  assert.deepEqual(tokenSubject("t").subject, { case: "token", value: "t" });
  assert.equal(entitySubject("Agent", "a", { type: "User", id: "u" }).onBehalfOf?.id, "u");
});

test("retries follow the shared service config", () => {
  assert.equal(SERVICE_CONFIG.methodConfig[0]?.retryPolicy.maxAttempts, 3);
});

/** A message of length-delimited fields: number, value, number, value… */
function message(...parts: (number | string | Buffer)[]): Buffer {
  const encoded: Buffer[] = [];
  for (let i = 0; i < parts.length; i += 2) {
    const value = Buffer.from(parts[i + 1] as string);
    encoded.push(Buffer.from([((parts[i] as number) << 3) | 2, value.length]), value);
  }
  return Buffer.concat(encoded);
}
