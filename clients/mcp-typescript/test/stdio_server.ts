/** The played server on standard input and output: stdio_server.js ADDRESS. */

import { Server } from "@modelcontextprotocol/server";
import { serveStdio } from "@modelcontextprotocol/server/stdio";
import { Client, entitySubject } from "pdp-client";
import { guardServer } from "pdp-mcp";

import { answer, pinned } from "./service.js";

const client = new Client(process.argv[2] ?? "", { deadlineMs: 10_000 });

serveStdio(() => {
  const server = new Server({ name: "played", version: "1" }, { capabilities: { tools: {} } });
  server.setRequestHandler("tools/list", () => ({ tools: pinned() }));
  server.setRequestHandler("tools/call", ({ params }) => answer([], params));
  return guardServer(server, { client, server: "git", subject: () => entitySubject("Agent", "coder") });
});
