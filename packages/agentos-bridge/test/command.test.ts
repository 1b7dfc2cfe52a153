import assert from "node:assert/strict";
import { test } from "node:test";

import { COMMAND, REQUIRED_SCOPE, decide, isOwner, parse } from "../src/command.js";
import plugin from "../src/index.js";
import { tools } from "../src/tools.generated.js";
import { listen } from "./server.js";

test("what is typed is a yes with a code, or a no, and nothing else", () => {
  assert.deepEqual(parse("approve 12 K7QM-2XPD"), { decision: "approve", id: 12, code: "K7QM-2XPD" });
  assert.deepEqual(parse("  Approve #12  k7qm 2xpd "), { decision: "approve", id: 12, code: "k7qm 2xpd" });
  assert.deepEqual(parse("deny 3"), { decision: "deny", id: 3 });
  assert.deepEqual(parse("deny 3 not on\na Friday"), { decision: "deny", id: 3, reason: "not on\na Friday" });
  for (const none of [undefined, "", "approve", "approve 12", "approve 0 X", "approve -1 X", "approve 1e3 X", "approve 12/../1 X", "yes 1", `approve 1 ${"x".repeat(33)}`]) {
    assert.equal(parse(none), undefined, none);
  }
});

test("an owner is whom the host calls one", () => {
  const chat = { channel: "telegram", senderId: "1" };
  assert.equal(isOwner({ ...chat, senderIsOwner: true }), true);
  assert.equal(isOwner({ ...chat, senderIsOwner: false }), false);
  assert.equal(isOwner(chat), false);
  assert.equal(isOwner({ channel: "webchat", gatewayClientScopes: [REQUIRED_SCOPE] }), true);
  assert.equal(isOwner({ channel: "webchat", gatewayClientScopes: ["operator.admin"] }), true);
  // A client without the scope is none, whatever else is said.
  assert.equal(isOwner({ channel: "webchat", gatewayClientScopes: ["operator.write"], senderIsOwner: true }), false);
});

test("what an owner typed goes to agentd with who typed it, and agentd's words come back", async () => {
  const server = await listen((_request, response) => {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ id: 12, status: "applied", text: "Change 12 is applied." }));
  });
  const options = { socketPath: server.socketPath, timeoutMs: 5000 };
  const context = { channel: "telegram", senderId: "4711", senderIsOwner: true, args: "approve 12 K7QM-2XPD" };
  assert.deepEqual(await decide(options, context), { text: "Change 12 is applied." });
  const [request] = server.arrived;
  assert.equal(request?.url, "/approvals/12/chat");
  assert.deepEqual(JSON.parse(request?.body ?? ""), {
    decision: "approve",
    code: "K7QM-2XPD",
    channel: "telegram",
    sender: "4711",
  });
  // Nobody else's words get there.
  assert.match((await decide(options, { ...context, senderIsOwner: false })).text, /Only an owner/);
  const gone = () => {
    throw new Error("no owner any more");
  };
  await assert.rejects(decide(options, { ...context, assertOwnerCurrent: gone }), /no owner any more/);
  assert.equal(server.arrived.length, 1);
  await server.close();
});

test("what agentd refuses is told", async () => {
  const server = await listen((_request, response) => {
    response.writeHead(403, { "content-type": "application/problem+json" });
    response.end(JSON.stringify({ code: "forbidden", detail: "It is off.", hint: "Use the terminal." }));
  });
  const options = { socketPath: server.socketPath, timeoutMs: 5000 };
  const answer = await decide(options, { channel: "x", senderIsOwner: true, args: "deny 1 no" });
  assert.equal(answer.text, "It is off.\nUse the terminal.");
  await server.close();
});

test("it is a command that only owners give, and no tool reaches its route", () => {
  const commands: Record<string, unknown>[] = [];
  const api = {
    pluginConfig: {},
    registerTool() {},
    registerCommand(command: Record<string, unknown>) {
      commands.push(command);
    },
  };
  plugin.register?.(api as never);
  assert.equal(commands.length, 1);
  const [command] = commands;
  assert.equal(command?.["name"], COMMAND);
  assert.equal(command?.["requireAuth"], true);
  assert.deepEqual(command?.["requiredScopes"], [REQUIRED_SCOPE]);
  assert.equal(command?.["agentPromptGuidance"], undefined);
  for (const tool of tools) {
    assert.notEqual(tool.name, COMMAND);
    if (tool.request.kind !== "http") continue;
    assert.ok(!tool.request.path.startsWith("/approvals/") && !tool.request.path.startsWith("/questions"), tool.name);
    // A number in a path stays one segment of it.
    assert.ok(!tool.request.path.includes("}{"), tool.name);
  }
});
