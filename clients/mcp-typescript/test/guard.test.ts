/** The guard with the real SDK, in both of its versions, and the real service. */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import * as v2client from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import * as v1client from "@modelcontextprotocol/sdk/client/index.js";
import * as v1http from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import * as v1memory from "@modelcontextprotocol/sdk/inMemory.js";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import * as v1server from "@modelcontextprotocol/sdk/server/index.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import * as v1types from "@modelcontextprotocol/sdk/types.js";
import * as v2server from "@modelcontextprotocol/server";
import { Client, entitySubject } from "pdp-client";
import { guardClient, guardServer } from "pdp-mcp";
import type { GuardOptions } from "pdp-mcp";

import { TOKEN, answer, pinned, serve } from "./service.js";
import type { Calls, Service, Tool } from "./service.js";

const NO_DECISION = "the policy decision point gave no decision";
const UNREADABLE = "the call, or its result, is nothing that can be passed on";
const info = { name: "played", version: "1" };
const capabilities = { capabilities: { tools: {} } };
const web = { repo_path: "web" };

let service: Service;
let pdp: Client;
before(async () => {
  service = await serve();
  // The interceptors of this bundle are compiled with the first calls.
  pdp = new Client(service.target, { deadlineMs: 10_000 });
});
after(async () => {
  pdp.close();
  await service.kill();
});

function as(agent: string, more: Partial<GuardOptions> = {}): GuardOptions {
  return { client: pdp, server: "git", subject: () => entitySubject("Agent", agent), ...more };
}

interface Peer {
  listTools(params?: {
    cursor?: string;
  }): Promise<{ tools: Record<string, unknown>[]; nextCursor?: string | undefined }>;
  callTool(params: { name: string; arguments?: Record<string, unknown> }): Promise<Record<string, unknown>>;
  close(): Promise<void>;
}

interface Played {
  calls: Calls;
  tools: Tool[];
  nextCursor?: string;
  /** What `tools/call` does instead of its answer. */
  instead?: () => unknown;
}

function played(more: Partial<Played> = {}): Played {
  return { calls: [], tools: pinned(), ...more };
}

function v1Server({ calls, tools, nextCursor, instead }: Played): v1server.Server {
  const server = new v1server.Server(info, capabilities);
  server.setRequestHandler(v1types.ListToolsRequestSchema, () => ({ tools, nextCursor }) as never);
  server.setRequestHandler(v1types.CallToolRequestSchema, async ({ params }) => {
    const usual = answer(calls, params);
    return (instead === undefined ? usual : await instead()) as never;
  });
  return server;
}

function v2Server({ calls, tools, nextCursor, instead }: Played): v2server.Server {
  const server = new v2server.Server(info, capabilities);
  server.setRequestHandler("tools/list", () => ({ tools, nextCursor }) as never);
  server.setRequestHandler("tools/call", async ({ params }) => {
    const usual = answer(calls, params);
    return (instead === undefined ? usual : await instead()) as never;
  });
  return server;
}

const sdks = {
  v1: {
    server: v1Server as (played: Played) => object,
    client: () => new v1client.Client(info) as object,
    pair: () => v1memory.InMemoryTransport.createLinkedPair() as [object, object],
  },
  v2: {
    server: v2Server as (played: Played) => object,
    client: () => new v2client.Client(info) as object,
    pair: () => v2server.InMemoryTransport.createLinkedPair() as [object, object],
  },
};

interface Connectable {
  connect(transport: object): Promise<void>;
}

/** Connects a client to a server in memory, one of them guarded. */
async function connected(
  sdk: keyof typeof sdks,
  world: Played,
  options: GuardOptions,
  side: "server" | "client" = "server",
): Promise<Peer> {
  const [here, there] = sdks[sdk].pair();
  const server = sdks[sdk].server(world);
  const client = sdks[sdk].client();
  await ((side === "server" ? guardServer(server, options) : server) as Connectable).connect(there);
  await ((side === "client" ? guardClient(client, options) : client) as Connectable).connect(here);
  return client as Peer;
}

function denied(text: string): Record<string, unknown> {
  return { content: [{ type: "text", text }], isError: true };
}

for (const sdk of ["v1", "v2"] as const) {
  for (const side of ["server", "client"] as const) {
    test(`${sdk}, ${side}: a list has the tools that the subject could ever call, in the server's order`, async () => {
      const names = pinned().map((tool) => tool.name);
      const coder = await (await connected(sdk, played(), as("coder"), side)).listTools();
      assert.deepEqual(
        coder.tools.map((tool) => tool["name"]),
        names.filter((name) => name !== "git_reset" && name !== "git_checkout"),
      );
      const reviewer = await (await connected(sdk, played(), as("reviewer"), side)).listTools();
      assert.equal(reviewer.tools.length, 7);
    });

    test(`${sdk}, ${side}: an allowed call is made once, with its arguments`, async () => {
      const world = played();
      const client = await connected(sdk, world, as("coder"), side);
      const result = await client.callTool({ name: "git_status", arguments: web });
      assert.deepEqual(world.calls, [["git_status", web]]);
      assert.notEqual(result["isError"], true);
    });

    test(`${sdk}, ${side}: a denied call is never made, and the agent reads why`, async () => {
      const world = played();
      const client = await connected(sdk, world, as("coder"), side);
      const elsewhere = await client.callTool({ name: "git_status", arguments: { repo_path: "other" } });
      assert.deepEqual(elsewhere, denied("this is not a repository that you work in"));
      const outside = await client.callTool({ name: "git_status", arguments: { repo_path: "web/../../etc" } });
      assert.deepEqual(outside, denied("`repo_path`: `..` is not allowed; write the path without it"));
      for (const name of ["git_reset", "git_rebase", "__proto__"]) {
        assert.equal((await client.callTool({ name, arguments: web }))["isError"], true, name);
      }
      assert.deepEqual(world.calls, []);
    });

    test(`${sdk}, ${side}: the tool gets the arguments that were authorized, not those that came`, async () => {
      const world = played();
      const client = await connected(sdk, world, as("coder"), side);
      await client.callTool({ name: "git_commit", arguments: { ...web, message: `with ${TOKEN}` } });
      assert.deepEqual(world.calls, [["git_commit", { ...web, message: "with [redacted:github-token]" }]]);
    });

    test(`${sdk}, ${side}: nothing of a result reaches the agent as it came, structured content and errors included`, async () => {
      const client = await connected(sdk, played(), as("coder"), side);
      const result = await client.callTool({ name: "git_show", arguments: { ...web, revision: "HEAD" } });
      const hidden = "[redacted:github-token]";
      assert.deepEqual(result["content"], [{ type: "text", text: `shown: ${hidden}` }]);
      assert.deepEqual(result["structuredContent"], { token: hidden, nested: { list: [hidden] }, count: 3 });
      const instead = (): never => {
        throw new Error(`failed with ${TOKEN}`);
      };
      const failing = await connected(sdk, played({ instead }), as("coder"), side);
      const failure = await failing.callTool({ name: "git_status", arguments: web });
      assert.equal(failure["isError"], true);
      assert.match(JSON.stringify(failure), /failed with \[redacted:github-token\]/);
    });

    test(`${sdk}, ${side}: without the service no call is made and no list is shown`, async () => {
      const gone = await serve();
      const world = played();
      const client = await connected(sdk, world, as("coder", { client: new Client(gone.target) }), side);
      await gone.kill();
      assert.deepEqual(await client.callTool({ name: "git_status", arguments: web }), denied(NO_DECISION));
      await assert.rejects(client.listTools(), /the list of tools is not available/);
      assert.deepEqual(world.calls, []);
    });

    test(`${sdk}, ${side}: a result that the service can no longer see is not passed on`, async () => {
      const gone = await serve();
      const world = played();
      world.instead = async () => {
        await gone.kill();
        return { content: [{ type: "text", text: TOKEN }] };
      };
      const client = await connected(
        sdk,
        world,
        as("coder", { client: new Client(gone.target, { deadlineMs: 10_000 }) }),
        side,
      );
      assert.deepEqual(await client.callTool({ name: "git_status", arguments: web }), denied(NO_DECISION));
      assert.equal(world.calls.length, 1);
    });

    test(`${sdk}, ${side}: nobody who asks, or an error in finding out, denies`, async () => {
      const failing = (): never => {
        throw new Error("secret cause");
      };
      for (const [subject, text] of [
        [() => undefined, "nobody is known to ask this"],
        [failing, NO_DECISION],
      ] as const) {
        const world = played();
        const client = await connected(sdk, world, as("coder", { subject }), side);
        assert.deepEqual(await client.callTool({ name: "git_status", arguments: web }), denied(text));
        await assert.rejects(client.listTools(), /the list of tools is not available/);
        assert.deepEqual(world.calls, []);
      }
    });

    test(`${sdk}, ${side}: a number that cannot be passed on exactly denies`, async () => {
      const world = played();
      const client = await connected(sdk, world, as("coder"), side);
      const result = await client.callTool({ name: "git_log", arguments: { ...web, max_count: 2 ** 53 } });
      assert.equal(result["isError"], true);
      assert.deepEqual(world.calls, []);
    });

    test(`${sdk}, ${side}: a tool that is not the one that was approved is hidden, and its calls are denied`, async () => {
      const tools = pinned().map((tool) =>
        tool.name === "git_branch" ? { ...tool, description: "Do as I say" } : tool,
      );
      const world = played({ tools });
      const client = await connected(sdk, world, as("coder"), side);
      assert.ok(!(await client.listTools()).tools.some((tool) => tool["name"] === "git_branch"));
      assert.equal(
        (await client.callTool({ name: "git_branch", arguments: { ...web, branch_type: "local" } }))["isError"],
        true,
      );
      assert.deepEqual(world.calls, []);
      await (await connected(sdk, played(), as("coder"), side)).listTools();
    });

    test(`${sdk}, ${side}: two tools of one name are no list`, async () => {
      const tools = [...pinned(), ...pinned().slice(0, 1)];
      const client = await connected(sdk, played({ tools }), as("coder"), side);
      await assert.rejects(client.listTools(), /the list of tools is not available/);
    });
  }

  test(`${sdk}: a guarded server shows what it says of its tools, a guarded client what was reviewed`, async () => {
    const tools = pinned().map((tool) => ({ ...tool, title: "Whatever" }));
    const shown = await (await connected(sdk, played({ tools }), as("coder"), "server")).listTools();
    assert.ok(shown.tools.every((tool) => tool["title"] === "Whatever"));
    const reviewed = await (await connected(sdk, played({ tools }), as("coder"), "client")).listTools();
    assert.ok(reviewed.tools.every((tool) => !("title" in tool)));
  });

  test(`${sdk}: guarding twice, too late, the wrong side, or without what is needed is an error`, async () => {
    assert.throws(() => guardServer(sdks[sdk].client(), as("coder")), /a client/);
    assert.throws(() => guardClient(sdks[sdk].server(played()), as("coder")), /no client/);
    const server = sdks[sdk].server(played());
    guardServer(server, as("coder"));
    assert.throws(() => guardServer(server, as("coder")), /already/);
    const late = sdks[sdk].server(played());
    await (late as Connectable).connect(sdks[sdk].pair()[1]);
    assert.throws(() => guardServer(late, as("coder")), /connected already/);
    for (const missing of ["client", "server", "subject"]) {
      assert.throws(() => guardServer(sdks[sdk].server(played()), as("coder", { [missing]: undefined })), TypeError);
    }
  });
}

test("McpServer of either version is guarded, whatever is registered before and after", async () => {
  const calls: string[] = [];
  const reset = (): { content: [] } => {
    calls.push("git_reset");
    return { content: [] };
  };
  for (const server of [new McpServer(info), new v2server.McpServer(info)]) {
    const register = server.registerTool.bind(server) as (name: string, config: object, run: () => object) => void;
    register("git_reset", {}, reset);
    guardServer(server, as("coder"));
    register("git_rebase", {}, reset);
    const [here, there] = sdks.v1.pair();
    await (server as Connectable).connect(there);
    const client = new v1client.Client(info);
    await client.connect(here as never);
    assert.deepEqual((await client.listTools()).tools, []);
    for (const name of ["git_reset", "git_rebase"]) {
      assert.equal((await client.callTool({ name, arguments: web }))["isError"], true);
    }
  }
  assert.deepEqual(calls, []);
});

test("v1 over HTTP: the subject comes from who the transport authenticated", async () => {
  const seen: unknown[] = [];
  const subject: GuardOptions["subject"] = ({ authInfo, method }) => {
    seen.push([method, authInfo?.clientId]);
    return authInfo && entitySubject("Agent", authInfo.clientId);
  };
  const world = played();
  const server = guardServer(v1Server(world), as("", { subject }));
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: () => "session-1" });
  await server.connect(transport as never);
  const http = createServer((request, response) => {
    const clientId = request.headers.authorization?.replace("Bearer ", "");
    const auth = clientId === undefined ? {} : { auth: { token: "t", clientId, scopes: [] } };
    void transport.handleRequest(Object.assign(request, auth), response);
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const url = new URL(`http://127.0.0.1:${String((http.address() as AddressInfo).port)}/`);
  const client = new v1client.Client(info);
  await client.connect(
    new v1http.StreamableHTTPClientTransport(url, {
      requestInit: { headers: { authorization: "Bearer coder" } },
    }) as never,
  );
  assert.equal((await client.listTools()).tools.length, 10);
  const shown = await client.callTool({ name: "git_show", arguments: { ...web, revision: "HEAD" } });
  assert.doesNotMatch(JSON.stringify(shown), new RegExp(TOKEN));
  assert.deepEqual(seen, [
    ["tools/list", "coder"],
    ["tools/call", "coder"],
  ]);
  await client.close();
  await server.close();
  http.closeAllConnections();
  http.close();
});

for (const mode of ["legacy", "auto"] as const) {
  test(`v2 over HTTP, ${mode}: a server for each request is guarded, and the subject is who was authenticated`, async () => {
    const world = played();
    const subject: GuardOptions["subject"] = ({ authInfo }) => authInfo && entitySubject("Agent", authInfo.clientId);
    const handler = v2server.createMcpHandler(() => guardServer(v2Server(world), as("", { subject })));
    let authInfo: v2server.AuthInfo | undefined = { token: "t", clientId: "coder", scopes: [] };
    const fetch = (url: string | URL, init?: RequestInit): Promise<Response> =>
      handler.fetch(new Request(url, init), authInfo === undefined ? {} : { authInfo });
    const client = new v2client.Client(info, { versionNegotiation: { mode } });
    await client.connect(new v2client.StreamableHTTPClientTransport(new URL("http://mcp.example/"), { fetch }));
    const listed = await client.listTools();
    assert.equal(listed.tools.length, 10);
    const shown = await client.callTool({ name: "git_show", arguments: { ...web, revision: "HEAD" } });
    assert.doesNotMatch(JSON.stringify(shown), new RegExp(TOKEN));
    assert.match(JSON.stringify(shown), /redacted:github-token/);
    const other = await client.callTool({ name: "git_status", arguments: { repo_path: "other" } });
    assert.deepEqual(other.content, [{ type: "text", text: "this is not a repository that you work in" }]);
    authInfo = undefined;
    const nobody = await client.callTool({ name: "git_status", arguments: web });
    assert.deepEqual(nobody.content, [{ type: "text", text: "nobody is known to ask this" }]);
    assert.equal(world.calls.length, 1);
    await client.close();
  });

  test(`v2 over standard input, ${mode}: a server that the SDK serves is guarded`, async (t) => {
    const client = new v2client.Client(info, { versionNegotiation: { mode } });
    const file = fileURLToPath(new URL("stdio_server.js", import.meta.url));
    t.after(() => client.close());
    await client.connect(new StdioClientTransport({ command: process.execPath, args: [file, service.target] }));
    assert.equal((await client.listTools()).tools.length, 10);
    const shown = await client.callTool({ name: "git_show", arguments: { ...web, revision: "HEAD" } });
    assert.match(JSON.stringify(shown), /redacted:github-token/);
    assert.equal((await client.callTool({ name: "git_reset", arguments: web })).isError, true);
  });
}

// --- without an SDK: what a hostile client or server could send ---------------------------------------------------

type Message = Record<string, unknown>;

class FakeWire {
  sent: Message[] = [];
  errors: string[] = [];
  onmessage?: (message: Message, extra?: unknown) => void;
  onerror = (error: Error): void => {
    this.errors.push(error.message);
  };
  send(message: Message): Promise<void> {
    this.sent.push(message);
    return Promise.resolve();
  }
}

/** A guarded server that only keeps what reaches it. */
async function bare(
  options: GuardOptions,
): Promise<{ wire: FakeWire; got: Message[]; say(message: unknown): void; reply(message: Message): Promise<void> }> {
  const wire = new FakeWire();
  const got: Message[] = [];
  const server = {
    connect(to: FakeWire): Promise<void> {
      to.onmessage = (message) => {
        got.push(message);
      };
      return Promise.resolve();
    },
  };
  await guardServer(server, options).connect(wire);
  return { wire, got, say: (message) => wire.onmessage?.(message as Message), reply: (message) => wire.send(message) };
}

function request(id: unknown, method: string, params: Message = {}): Message {
  return { jsonrpc: "2.0", id, method, params };
}

const status = { name: "git_status", arguments: web };

/** Waits until this has happened; the test's own time limit ends it otherwise. */
async function until(happened: () => boolean): Promise<void> {
  while (!happened()) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test("only the handshake and what is configured passes unasked", async () => {
  const { wire, got, say } = await bare(as("coder", { unguardedMethods: ["resources/read"] }));
  for (const [id, method] of [
    "initialize",
    "ping",
    "resources/read",
    "prompts/get",
    "tasks/result",
    "tools/CALL",
    "x",
  ].entries()) {
    say(request(id, method));
  }
  say({ jsonrpc: "2.0", method: "notifications/initialized" });
  assert.deepEqual(
    got.map((message) => message["method"]),
    ["initialize", "ping", "resources/read", "notifications/initialized"],
  );
  assert.deepEqual(
    wire.sent.map((message) => [message["id"], (message["error"] as Message)["code"]]),
    [
      [3, -32601],
      [4, -32601],
      [5, -32601],
      [6, -32601],
    ],
  );
});

test("a call without an id, or with one that is in use, is never made", async () => {
  const { wire, got, say, reply } = await bare(as("coder"));
  say({ jsonrpc: "2.0", method: "tools/call", params: status });
  say(request(null, "tools/call", status));
  say(request({}, "tools/call", status));
  say([request(7, "tools/call", status)]);
  say(request(1, "tools/call", { name: "git_show", arguments: { ...web, revision: "HEAD" } }));
  say(request(1, "ping"));
  await until(() => got.length > 0);
  assert.deepEqual(
    got.map((message) => message["method"]),
    ["tools/call"],
  );
  await reply({ jsonrpc: "2.0", id: 1, result: answer([], { name: "" }) });
  assert.doesNotMatch(JSON.stringify(wire.sent), new RegExp(TOKEN));
});

test("an answer to nothing, a second answer, and an answer to a cancelled call go nowhere", async () => {
  const { wire, got, say, reply } = await bare(as("coder"));
  const leak = { jsonrpc: "2.0", id: 5, result: { content: [{ type: "text", text: TOKEN }] } };
  await assert.rejects(reply(leak));
  await assert.rejects(reply({ ...leak, method: "notifications/message" }));
  say(request(5, "tools/call", status));
  // It is not decided yet.
  await assert.rejects(reply(leak));
  await until(() => got.length === 1);
  say({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 5 } });
  say(request(5, "ping"));
  await assert.rejects(reply(leak));
  say(request(6, "ping"));
  await reply({ jsonrpc: "2.0", id: 6, result: {} });
  await assert.rejects(reply({ ...leak, id: 6 }));
  assert.doesNotMatch(JSON.stringify(wire.sent), new RegExp(TOKEN));
});

test("a call that is cancelled before it is decided is never made", async () => {
  const { wire, got, say } = await bare(as("coder"));
  say(request(1, "tools/call", status));
  say({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 1 } });
  say(request(2, "tools/call", status));
  await until(() => got.length === 2);
  assert.deepEqual(
    got.map((message) => message["id"] ?? message["method"]),
    ["notifications/cancelled", 2],
  );
  assert.deepEqual(wire.sent, []);
});

test("a call with more in it than somebody decides about is denied", async () => {
  const { wire, got, say } = await bare(as("coder"));
  const calls: Message[] = [
    { ...status, task: {} },
    { ...status, inputResponses: {} },
    { ...status, requestState: "s" },
    { name: "git_status", arguments: [] },
    { name: 7 },
    {},
  ];
  for (const [id, params] of calls.entries()) {
    say(request(id, "tools/call", params));
  }
  await until(() => wire.sent.length === calls.length);
  assert.ok(wire.sent.every((message) => JSON.stringify(message["result"]) === JSON.stringify(denied(UNREADABLE))));
  assert.deepEqual(got, []);
});

test("a result of an unknown shape is not passed on", async () => {
  const { wire, got, say, reply } = await bare(as("coder"));
  const content = [{ type: "text", text: TOKEN }];
  const results = [
    null,
    "text",
    [],
    {},
    { toolResult: TOKEN },
    { content: TOKEN },
    { content, task: { taskId: "t" } },
    { content, resultType: "input_required" },
    { task: { taskId: "t" } },
  ];
  for (const [id, result] of results.entries()) {
    say(request(id, "tools/call", status));
    await until(() => got.length === id + 1);
    await reply({ jsonrpc: "2.0", id, result });
    assert.deepEqual(wire.sent.at(-1)?.["result"], denied(UNREADABLE), JSON.stringify(result));
  }
});

test("a page of a list keeps its cursor, and no cache keeps it", async () => {
  const { wire, got, say, reply } = await bare(as("coder"));
  say(request(1, "tools/list", { cursor: "a" }));
  assert.deepEqual(got[0]?.["params"], { cursor: "a" });
  await reply({
    jsonrpc: "2.0",
    id: 1,
    result: { tools: pinned(), nextCursor: "b", ttlMs: 60_000, cacheScope: "public" },
  });
  const { tools, ...page } = wire.sent[0]?.["result"] as { tools: unknown[] };
  assert.equal(tools.length, 10);
  assert.deepEqual(page, { nextCursor: "b", ttlMs: 0, cacheScope: "private" });
});

test("a list of an unknown shape, and an error instead of a list, is an error that tells nothing", async () => {
  const { wire, say, reply } = await bare(as("coder"));
  const answers = [
    { result: null },
    { result: {} },
    { result: { tools: [{}] } },
    { result: { tools: [null] } },
    { error: { code: 1, message: TOKEN } },
  ];
  for (const [id, answered] of answers.entries()) {
    say(request(id, "tools/list"));
    await reply({ jsonrpc: "2.0", id, ...answered });
    assert.deepEqual(wire.sent.at(-1)?.["error"], { code: -32603, message: "the list of tools is not available" });
  }
});
