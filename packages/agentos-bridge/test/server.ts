// A real HTTP server on a real Unix socket, for what agentd itself never does: break off, stay silent, answer nonsense.

import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";

/** What a request looked like when it arrived. */
export interface Arrived {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** A server that is listening. */
export interface Listening {
  readonly socketPath: string;
  readonly arrived: Arrived[];
  close(): Promise<void>;
}

/** Listens on a fresh socket and lets `answer` answer each request once its body is there. */
export async function listen(answer: (request: Arrived, response: http.ServerResponse) => void): Promise<Listening> {
  const folder = await mkdtemp(path.join(tmpdir(), "agentos-bridge-"));
  const socketPath = path.join(folder, "agentd.sock");
  const arrived: Arrived[] = [];
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const seen = {
        method: request.method ?? "",
        url: request.url ?? "",
        headers: request.headers,
        body: Buffer.concat(chunks).toString("utf8"),
      };
      arrived.push(seen);
      answer(seen, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  return {
    socketPath,
    arrived,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true });
    },
  };
}
