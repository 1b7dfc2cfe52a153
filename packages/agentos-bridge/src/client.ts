// The one way to agentd: HTTP over its Unix socket, bounded in time and in size. It keeps no state between requests.

import http from "node:http";

import { ACTOR_HEADER } from "./actor.js";
import { AgentdError, failureOfConnection, failureOfProblem } from "./errors.js";
import type { AgentdRequest } from "./request.js";

/** The most that is read of an answer, in bytes. agentd's lists are paged well below it. */
export const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/** How to reach agentd. */
export interface ClientOptions {
  readonly socketPath: string;
  /** How long a request may take in all, in milliseconds. */
  readonly timeoutMs: number;
}

/** agentd's answer: the text as it was sent, and its value. */
export interface Answer {
  /** The HTTP status, of those that mean success. */
  readonly status: number;
  readonly text: string;
  readonly value: unknown;
  /** How many secrets agentd masked in it. */
  readonly masked: number;
}

/** The header in which agentd says so. */
const MASKED_HEADER = "x-agentos-masked";

/**
 * Sends one request and waits for the answer.
 *
 * @throws {AgentdError} when agentd refuses, does not answer in time, cannot be reached or answers with what is not JSON.
 * @throws the signal's reason when the caller gave up.
 */
export async function callAgentd(
  options: ClientOptions,
  request: AgentdRequest,
  actor: string,
  signal?: AbortSignal,
): Promise<Answer> {
  signal?.throwIfAborted();
  const timeoutMs = options.timeoutMs + (request.patienceMs ?? 0);
  const deadline = AbortSignal.timeout(timeoutMs);
  try {
    const { status, text, masked } = await exchange(
      options.socketPath,
      request,
      actor,
      signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
    );
    if (status < 200 || status > 299) throw new AgentdError(failureOfProblem(status, text));
    return { status, text, value: parse(status, text), masked };
  } catch (error) {
    if (error instanceof AgentdError) throw error;
    signal?.throwIfAborted();
    if (deadline.aborted) {
      throw new AgentdError(
        {
          code: "agentd_timeout",
          message: `agentd did not answer ${request.method} ${request.path} within ${timeoutMs} ms.`,
          hint: "Ask for less (a smaller limit, a narrower time), or tell the user that agentd is slow to answer.",
        },
        error,
      );
    }
    throw new AgentdError(failureOfConnection(options.socketPath, error as NodeJS.ErrnoException), error);
  }
}

function exchange(
  socketPath: string,
  request: AgentdRequest,
  actor: string,
  signal: AbortSignal,
): Promise<{ status: number; text: string; masked: number }> {
  return new Promise((resolve, reject) => {
    const headers: http.OutgoingHttpHeaders = { accept: "application/json", [ACTOR_HEADER]: actor };
    if (request.body !== undefined) {
      headers["content-type"] = "application/json";
      headers["content-length"] = Buffer.byteLength(request.body);
    }
    const outgoing = http.request(
      // A connection of its own for each request: a Unix socket costs nothing to open, and none is left stale.
      { socketPath, method: request.method, path: request.path, headers, signal, agent: false },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > MAX_ANSWER_BYTES) {
            reject(
              new AgentdError({
                code: "agentd_protocol",
                message: `agentd's answer to ${request.path} is larger than ${MAX_ANSWER_BYTES} bytes.`,
                hint: "Ask for less: a smaller limit, a narrower filter.",
              }),
            );
            outgoing.destroy();
            return;
          }
          chunks.push(chunk);
        });
        response.on("end", () => {
          const masked = Number(response.headers[MASKED_HEADER] ?? 0) || 0;
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8"), masked });
        });
        // A body that ends before its announced length is an error here, not an `end`.
        response.on("error", reject);
      },
    );
    outgoing.on("error", reject);
    outgoing.end(request.body);
  });
}

function parse(status: number, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new AgentdError(
      {
        code: "agentd_protocol",
        message: `agentd answered ${status} with what is not JSON: ${text.slice(0, 200)}`,
        http_status: status,
        hint: "Tell the user: the bridge and agentd may be of different versions.",
      },
      error,
    );
  }
}
