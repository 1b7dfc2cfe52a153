import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { actorOf } from "../src/actor.js";
import { DEFAULT_SOCKET, DEFAULT_TIMEOUT_MS, readConfiguration } from "../src/configuration.js";
import type { ToolDefinition } from "../src/definition.js";
import plugin from "../src/index.js";
import { requestFor } from "../src/request.js";
import { failed, succeeded } from "../src/result.js";
import { tools } from "../src/tools.generated.js";
import { listen } from "./server.js";

const manifest = JSON.parse(readFileSync(new URL("../../openclaw.plugin.json", import.meta.url), "utf8")) as {
  id: string;
  contracts: { tools: string[] };
  configSchema: { properties: { socketPath: { default: string }; timeoutMs: { default: number } } };
};

function named(name: string): ToolDefinition {
  const tool = tools.find((candidate) => candidate.name === name);
  assert.ok(tool, `${name} is not in the table`);
  return tool;
}

interface RegisteredTool {
  name: string;
  execute(id: string, parameters: unknown, signal?: AbortSignal): Promise<ReturnType<typeof succeeded>>;
}

/** The tools as the host gets them, for the agent `main` in the session `agent:main:t`. */
function registered(pluginConfig: Record<string, unknown>): RegisteredTool[] {
  const found: RegisteredTool[] = [];
  const api = {
    pluginConfig,
    registerCommand() {},
    registerTool(factory: (context: object) => RegisteredTool, options: { name: string }) {
      const tool = factory({ agentId: "main", sessionKey: "agent:main:t" });
      assert.equal(tool.name, options.name);
      found.push(tool);
    },
  };
  plugin.register?.(api as never);
  return found;
}

test("the manifest declares exactly the tools that are registered", () => {
  assert.equal(plugin.id, manifest.id);
  assert.deepEqual(
    registered({}).map((tool) => tool.name),
    manifest.contracts.tools,
  );
});

test("the manifest's defaults are the ones that hold", () => {
  const properties = manifest.configSchema.properties;
  assert.equal(properties.socketPath.default, DEFAULT_SOCKET);
  assert.equal(properties.timeoutMs.default, DEFAULT_TIMEOUT_MS);
  assert.deepEqual(readConfiguration(undefined), { socketPath: DEFAULT_SOCKET, timeoutMs: DEFAULT_TIMEOUT_MS });
});

test("a query tool asks its query with the arguments as they are", () => {
  const request = requestFor(named("file_read"), { path: "/etc/os-release" });
  assert.equal(request.method, "POST");
  assert.equal(request.path, "/system/query");
  assert.deepEqual(JSON.parse(request.body ?? ""), { query: "file", args: { path: "/etc/os-release" } });
});

test("arguments in the address are escaped, and those not given are left out", () => {
  const request = requestFor(named("event_log"), { type: "system.*", actor: "agent:a&limit=1", since: null, limit: 5 });
  assert.equal(request.path, "/events/log?type=system.*&actor=agent%3Aa%26limit%3D1&limit=5");
  assert.equal(request.body, undefined);
  assert.equal(requestFor(named("event_log"), {}).path, "/events/log");
});

test("a mutation tool sends its arguments, and the reason beside them", () => {
  const parameters = { path: "/etc/motd", content: "hello", reason: "greet", dry_run: null };
  const request = requestFor(named("file_write"), parameters);
  assert.deepEqual([request.method, request.path], ["POST", "/system/mutate"]);
  assert.deepEqual(JSON.parse(request.body ?? ""), {
    mutation: "file.write",
    args: { path: "/etc/motd", content: "hello" },
    reason: "greet",
  });
});

test("a command that is given time is waited for that much longer", () => {
  const request = requestFor(named("shell_exec"), { mode: "preview", command: "make", time_limit_seconds: 300 });
  assert.deepEqual([request.path, request.patienceMs], ["/shell/exec", 300_000]);
  assert.equal(requestFor(named("shell_exec"), { command: "ls" }).patienceMs, undefined);
});

test("an argument in a path is one segment of it, and goes nowhere else", () => {
  const status = named("change_status");
  assert.deepEqual(requestFor(status, { id: 12 }), { method: "GET", path: "/changes/12" });
  const undo = requestFor(named("change_undo"), { id: 12, reason: "wrong" });
  assert.deepEqual(undo, { method: "POST", path: "/changes/12/undo", body: '{"reason":"wrong"}' });
  for (const [id, path] of [
    ["../approvals/12?x=1#y", "/changes/..%2Fapprovals%2F12%3Fx%3D1%23y"],
    ["..", "/changes/-"],
    ["", "/changes/-"],
    [undefined, "/changes/null"],
  ]) {
    assert.equal(requestFor(status, { id }).path, path);
  }
});

test("the model is told that a change waits before it reads the change", async () => {
  const text = '{"id":7,"status":"waiting"}';
  let status = 202;
  const server = await listen((_request, response) => {
    response.statusCode = status;
    response.end(text);
  });
  try {
    const tool = registered({ socketPath: server.socketPath }).find((candidate) => candidate.name === "file_write");
    const waiting = await tool?.execute("call-1", { path: "/x", content: "", reason: "r" });
    assert.match(waiting?.content[0]?.text ?? "", /^NOT DONE YET: change 7 waits .*`agentctl approvals show 7`/);
    assert.match(waiting?.content[0]?.text ?? "", /do not try another way/);
    assert.equal(waiting?.content[1]?.text, text);
    // A call that waits did not fail: a host that takes it for a failure would have it tried again.
    assert.deepEqual(Object.keys(waiting?.details ?? {}), ["agentd"]);
    status = 200;
    const made = await tool?.execute("call-2", { path: "/x", content: "", reason: "r" });
    assert.deepEqual(made?.content, [{ type: "text", text }]);
  } finally {
    await server.close();
  }
});

test("the actor is the agent and its session, within what agentd takes", () => {
  assert.equal(actorOf("main", "agent:main:terminal-1"), "main:terminal-1");
  assert.equal(actorOf("ops", "cron/7 ü"), "ops:cron-7--");
  assert.equal(actorOf(undefined, undefined), "main");
  for (const session of ["", "x".repeat(500), "agent:main", "\u0000\n{}", "🦀"]) {
    assert.match(actorOf("main", session), /^[A-Za-z0-9._:-]{1,64}$/);
  }
});

test("a failed call is graded as one, and agentd's words are below a name of their own", () => {
  const reserved = ["ok", "success", "error", "timedOut", "exitCode"];
  const failure = { code: "ledger_unavailable", message: "the ledger cannot be written", hint: "free some space" };
  const result = failed(failure);
  assert.equal(result.details["status"], "error");
  assert.deepEqual(JSON.parse(result.content[0]?.text ?? ""), { error: failure });
  for (const name of reserved) assert.ok(!(name in result.details), name);
  const good = succeeded({ status: 200, text: '{"status":"failed"}', value: { status: "failed" }, masked: 0 });
  assert.deepEqual(Object.keys(good.details), ["agentd"]);
});

test("a registered tool reaches agentd and says for whom", async () => {
  const server = await listen((_request, response) => response.end('{"cpus":2}'));
  try {
    const tool = registered({ socketPath: server.socketPath }).find((candidate) => candidate.name === "system_health");
    const result = await tool?.execute("call-1", undefined);
    assert.equal(result?.content[0]?.text, '{"cpus":2}');
    assert.equal(server.arrived[0]?.headers["x-agentos-actor"], "main:t");
  } finally {
    await server.close();
  }
});

test("the model is told how many secrets are masked, beside the answer as it was sent", async () => {
  const text = '{"content":"password=[masked: password]"}';
  const server = await listen((_request, response) => {
    response.setHeader("X-AgentOS-Masked", "1");
    response.end(text);
  });
  try {
    const tool = registered({ socketPath: server.socketPath }).find((candidate) => candidate.name === "file_read");
    const result = await tool?.execute("call-1", { path: "/x" });
    assert.equal(result?.content[0]?.text, text);
    assert.match(result?.content[1]?.text ?? "", /^1 secret in this answer masked/);
  } finally {
    await server.close();
  }
});

test("a registered tool tells the model what went wrong instead of throwing it away", async () => {
  const tool = registered({ socketPath: "/nonexistent.sock" }).find((candidate) => candidate.name === "network_info");
  const result = await tool?.execute("call-1", {});
  assert.match(result?.content[0]?.text ?? "", /agentd_unreachable/);
});
