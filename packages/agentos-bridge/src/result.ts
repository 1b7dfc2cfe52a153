// What a tool call hands back to OpenClaw. The host grades a call by reserved names at the top level of `details`
// (`status`, `ok`, `success`, `error`, `timedOut`, `exitCode`), so what agentd says is nested below `agentd`.

import type { Answer } from "./client.js";
import type { Failure } from "./errors.js";

/** A result in the host's shape. */
export interface ToolResult {
  content: { type: "text"; text: string }[];
  details: Record<string, unknown>;
}

/** agentd's answer, word for word. */
export function succeeded(answer: Answer): ToolResult {
  return { content: [{ type: "text", text: answer.text }], details: { agentd: { answer: answer.value } } };
}

/** What went wrong, for the model to read and act upon; the call counts as failed. */
export function failed(failure: Failure): ToolResult {
  return {
    content: [{ type: "text", text: JSON.stringify({ error: failure }) }],
    details: { status: "error", agentd: { failure } },
  };
}
