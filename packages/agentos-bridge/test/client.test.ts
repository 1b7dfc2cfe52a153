import assert from "node:assert/strict";
import { chmod } from "node:fs/promises";
import type http from "node:http";
import { test } from "node:test";

import { callAgentd, MAX_ANSWER_BYTES } from "../src/client.js";
import { AgentdError } from "../src/errors.js";
import { type Arrived, type Listening, listen } from "./server.js";

const health = { method: "GET", path: "/health" };

async function withServer(
  answer: (request: Arrived, response: http.ServerResponse) => void,
  use: (server: Listening) => Promise<void>,
): Promise<void> {
  const server = await listen(answer);
  try {
    await use(server);
  } finally {
    await server.close();
  }
}

async function failureOf(promise: Promise<unknown>) {
  const error = await promise.then(
    () => assert.fail("the call succeeded"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof AgentdError, String(error));
  return error.failure;
}

test("an answer arrives as it was sent, and the request says who asks", async () => {
  await withServer(
    (_request, response) => response.end('{"b":1, "a":2}'),
    async ({ socketPath, arrived }) => {
      const body = JSON.stringify({ query: "os", args: {} });
      const request = { method: "POST", path: "/system/query", body };
      const answer = await callAgentd({ socketPath, timeoutMs: 5000 }, request, "main:x");
      assert.equal(answer.text, '{"b":1, "a":2}');
      assert.deepEqual(answer.value, { a: 2, b: 1 });
      assert.equal(arrived[0]?.headers["x-agentos-actor"], "main:x");
      assert.equal(arrived[0]?.headers["content-type"], "application/json");
      assert.equal(arrived[0]?.body, body);
    },
  );
});

test("a problem keeps its code, its field, its near names and its hint", async () => {
  const problem = {
    type: "urn:agentos:problem:unknown_query",
    title: "No such query",
    status: 404,
    detail: "there is no query `proceses`",
    code: "unknown_query",
    field: "query",
    near: ["processes", "process"],
    hint: "GET /catalog lists them",
  };
  await withServer(
    (_request, response) => {
      response.writeHead(404, { "content-type": "application/problem+json" }).end(JSON.stringify(problem));
    },
    async ({ socketPath }) => {
      assert.deepEqual(await failureOf(callAgentd({ socketPath, timeoutMs: 5000 }, health, "main")), {
        code: "unknown_query",
        message: "there is no query `proceses`",
        http_status: 404,
        field: "query",
        near: ["processes", "process"],
        hint: "GET /catalog lists them",
      });
    },
  );
});

test("a refusal that is no problem document is told with its status", async () => {
  await withServer(
    (_request, response) => response.writeHead(502).end("<html>bad"),
    async ({ socketPath }) => {
      const failure = await failureOf(callAgentd({ socketPath, timeoutMs: 5000 }, health, "main"));
      assert.equal(failure.code, "agentd_protocol");
      assert.match(failure.message, /502.*<html>bad/);
    },
  );
});

test("an answer that is not JSON is not passed on", async () => {
  await withServer(
    (_request, response) => response.end('{"cut": [1,'),
    async ({ socketPath }) => {
      const failure = await failureOf(callAgentd({ socketPath, timeoutMs: 5000 }, health, "main"));
      assert.equal(failure.code, "agentd_protocol");
    },
  );
});

test("an answer that never ends is cut off", async () => {
  await withServer(
    (_request, response) => {
      const chunk = Buffer.alloc(64 * 1024, "x");
      const more = () => {
        while (!response.destroyed && response.write(chunk));
        if (!response.destroyed) response.once("drain", more);
      };
      more();
    },
    async ({ socketPath }) => {
      const failure = await failureOf(callAgentd({ socketPath, timeoutMs: 20_000 }, health, "main"));
      assert.equal(failure.code, "agentd_protocol");
      assert.ok(failure.message.includes(String(MAX_ANSWER_BYTES)), failure.message);
    },
  );
});

test("silence ends with the time that was given", async () => {
  await withServer(
    () => {},
    async ({ socketPath }) => {
      const failure = await failureOf(callAgentd({ socketPath, timeoutMs: 150 }, health, "main"));
      assert.equal(failure.code, "agentd_timeout");
      assert.match(failure.message, /GET \/health within 150 ms/);
    },
  );
});

test("a caller that gives up gets its own reason, not an error of agentd", async () => {
  await withServer(
    () => {},
    async ({ socketPath }) => {
      const controller = new AbortController();
      const call = callAgentd({ socketPath, timeoutMs: 60_000 }, health, "main", controller.signal);
      controller.abort(new Error("the turn was stopped"));
      await assert.rejects(call, /the turn was stopped/);
    },
  );
});

test("a connection that breaks is told as that", async () => {
  await withServer(
    (_request, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write('{"half":');
      setTimeout(() => response.destroy(), 20);
    },
    async ({ socketPath }) => {
      const failure = await failureOf(callAgentd({ socketPath, timeoutMs: 5000 }, health, "main"));
      assert.equal(failure.code, "agentd_unreachable");
    },
  );
});

test("an agentd that does not run is named with its socket and the command that says why", async () => {
  const failure = await failureOf(callAgentd({ socketPath: "/nonexistent/agentd.sock", timeoutMs: 5000 }, health, "main"));
  assert.equal(failure.code, "agentd_unreachable");
  assert.match(failure.message, /\/nonexistent\/agentd\.sock \(ENOENT\)/);
  assert.match(failure.hint ?? "", /systemctl status agentd/);
});

test("a socket that may not be opened is told as that", { skip: process.getuid?.() === 0 && "root may open every socket" }, async () => {
  await withServer(
    (_request, response) => response.end("{}"),
    async ({ socketPath }) => {
      await chmod(socketPath, 0o000);
      const failure = await failureOf(callAgentd({ socketPath, timeoutMs: 5000 }, health, "main"));
      assert.match(failure.message, /may not open/);
    },
  );
});
