// From a tool and its arguments to the HTTP request that agentd gets. What the arguments may be is agentd's to judge.

import type { ToolDefinition } from "./definition.js";

/** One request to agentd. */
export interface AgentdRequest {
  readonly method: string;
  /** Path with its query part. */
  readonly path: string;
  /** The JSON body, if there is one. */
  readonly body?: string;
  /** How much longer than others it may take, in milliseconds: the time that a command is given. */
  readonly patienceMs?: number;
}

type Parameters = Readonly<Record<string, unknown>>;

/** The request that `tool` stands for, with these arguments. */
export function requestFor(tool: ToolDefinition, parameters: Parameters): AgentdRequest {
  const request = tool.request;
  if (request.kind === "query") {
    const body = JSON.stringify({ query: request.query, args: parameters });
    return { method: "POST", path: "/system/query", body };
  }
  if (request.kind === "mutation") {
    // `null` is what some models send for an argument they leave out.
    const { reason, dry_run, plan_hash, ...args } = parameters;
    const beside = { reason: reason ?? undefined, dry_run: dry_run ?? undefined, plan_hash: plan_hash ?? undefined };
    const body = JSON.stringify({ mutation: request.mutation, args, ...beside });
    return { method: "POST", path: "/system/mutate", body };
  }
  const { path, rest } = fillPath(request.path, parameters);
  switch (request.in) {
    case "none":
      return { method: request.method, path };
    case "body": {
      const seconds = rest["time_limit_seconds"];
      const patience = typeof seconds === "number" && seconds > 0 ? { patienceMs: seconds * 1000 } : {};
      return { method: request.method, path, body: JSON.stringify(rest), ...patience };
    }
    case "query":
      return { method: request.method, path: path + queryPart(rest) };
  }
}

/** The path with each `{name}` replaced by that argument as one segment, and the arguments that are left. */
function fillPath(template: string, parameters: Parameters): { path: string; rest: Parameters } {
  const rest: Record<string, unknown> = { ...parameters };
  const path = template.replace(/\{(\w+)\}/g, (_whole, name: string) => {
    const value = parameters[name];
    delete rest[name];
    const text = typeof value === "string" ? value : JSON.stringify(value) ?? "null";
    // A segment of dots would be taken for a step up, or for none.
    return /^\.*$/.test(text) ? "-" : encodeURIComponent(text);
  });
  return { path, rest };
}

/** `?name=value&…`, or nothing. An argument that is `null` was not given. */
function queryPart(parameters: Parameters): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value === undefined || value === null) continue;
    query.append(name, typeof value === "string" ? value : JSON.stringify(value));
  }
  const text = query.toString();
  return text === "" ? "" : `?${text}`;
}
