// The plugin's own configuration, as `configSchema` in openclaw.plugin.json describes it.

import type { ClientOptions } from "./client.js";

/** agentd's socket for the agent, where nothing else is configured. */
export const DEFAULT_SOCKET = "/run/agentos/agentd.sock";

/** How long a request may take, in milliseconds, where nothing else is configured. */
export const DEFAULT_TIMEOUT_MS = 60_000;

/** Reads the configuration. The host has checked it against the schema; what is missing gets its default. */
export function readConfiguration(config: Readonly<Record<string, unknown>> | undefined): ClientOptions {
  const socketPath = config?.["socketPath"];
  const timeoutMs = config?.["timeoutMs"];
  return {
    socketPath: typeof socketPath === "string" && socketPath !== "" ? socketPath : DEFAULT_SOCKET,
    timeoutMs: typeof timeoutMs === "number" && timeoutMs > 0 ? timeoutMs : DEFAULT_TIMEOUT_MS,
  };
}
