/** The real service with the bundle of examples/gateway, and MCP servers that play the one that the bundle pins. */

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

// This file runs in build/clients/mcp-typescript/build.
const root = join(dirname(fileURLToPath(import.meta.url)), "../../../..");
const bundle = join(root, "examples/gateway/bundle");
const python = process.env["REPO_PYTHON"] ?? join(root, ".venv/bin/python");

export interface Service {
  readonly target: string;
  kill(): Promise<void>;
}

export async function serve(): Promise<Service> {
  const options = [
    "--bundle",
    bundle,
    "--listen",
    "127.0.0.1:0",
    "--log-format",
    "json",
    "--decision-log",
    "none",
    "--no-watch",
  ];
  const child = spawn(join(dirname(python), "pdp"), ["serve", ...options], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, PDP_STATE_DIR: state },
  });
  running.add(child);
  return { target: await address(child), kill: () => kill(child) };
}

const state = mkdtempSync(join(tmpdir(), "pdp-mcp-"));
const running = new Set<ChildProcess>();

// Nothing is left behind, whatever becomes of a test.
process.on("exit", () => {
  for (const child of running) {
    child.kill("SIGKILL");
  }
  rmSync(state, { recursive: true, force: true });
});
process.once("SIGTERM", () => process.exit(1));

async function address(child: ChildProcess & { stderr: NodeJS.ReadableStream }): Promise<string> {
  for await (const line of createInterface({ input: child.stderr })) {
    const event = JSON.parse(line) as { event: string; addresses?: string[] };
    if (event.event === "serving" && event.addresses?.[0] !== undefined) {
      // Nobody reads on, and the service must not wait for that.
      child.stderr.resume();
      return event.addresses[0];
    }
  }
  throw new Error("the service did not start");
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill("SIGKILL");
    await once(child, "exit");
    running.delete(child);
  }
}

export interface Tool {
  name: string;
  inputSchema: { type: "object" };
  [member: string]: unknown;
}

/** The tools as the bundle pins them. */
export function pinned(): Tool[] {
  return (JSON.parse(readFileSync(join(bundle, "tools/git.json"), "utf-8")) as { tools: Tool[] }).tools;
}

/** What could be a token of GitHub. */
export const TOKEN = `ghp_${"0123456789abcdef".repeat(3).slice(0, 36)}`;

/** Calls that reached the server: the name and the arguments. */
export type Calls = [name: string, args: unknown][];

/** What the played server answers to `tools/call`: a result with the token in all its parts. */
export function answer(calls: Calls, params: { name: string; arguments?: unknown }) {
  calls.push([params.name, params.arguments]);
  return {
    content: [{ type: "text" as const, text: `shown: ${TOKEN}` }],
    structuredContent: { token: TOKEN, nested: { list: [TOKEN] }, count: 3 },
  };
}
