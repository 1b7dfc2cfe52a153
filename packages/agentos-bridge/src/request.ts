// From a tool and its arguments to the HTTP request that agentd gets. What the arguments may be is agentd's to judge.

import type { ToolDefinition } from "./definition.js";

/** One request to agentd. */
export interface AgentdRequest {
  readonly method: string;
  /** Path with its query part. */
  readonly path: string;
  /** The JSON body, if there is one. */
  readonly body?: string;
}

/** The request that `tool` stands for, with these arguments. */
export function requestFor(tool: ToolDefinition, parameters: Readonly<Record<string, unknown>>): AgentdRequest {
  const request = tool.request;
  if (request.kind === "query") {
    const body = JSON.stringify({ query: request.query, args: parameters });
    return { method: "POST", path: "/system/query", body };
  }
  switch (request.in) {
    case "none":
      return { method: request.method, path: request.path };
    case "body":
      return { method: request.method, path: request.path, body: JSON.stringify(parameters) };
    case "query":
      return { method: request.method, path: request.path + queryPart(parameters) };
  }
}

/** `?name=value&…`, or nothing. An argument that is `null` was not given. */
function queryPart(parameters: Readonly<Record<string, unknown>>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value === undefined || value === null) continue;
    query.append(name, typeof value === "string" ? value : JSON.stringify(value));
  }
  const text = query.toString();
  return text === "" ? "" : `?${text}`;
}
