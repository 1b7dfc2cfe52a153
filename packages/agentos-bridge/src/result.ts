// What a tool call hands back to OpenClaw. The host grades a call by reserved names at the top level of `details`
// (`status`, `ok`, `success`, `error`, `timedOut`, `exitCode`), so what agentd says is nested below `agentd`.

import type { Answer } from "./client.js";
import type { Failure } from "./errors.js";

/** A result in the host's shape. */
export interface ToolResult {
  content: { type: "text"; text: string }[];
  details: Record<string, unknown>;
}

/** agentd's answer, word for word; and where secrets were masked in it, a sentence that says so. */
export function succeeded(answer: Answer): ToolResult {
  const content: ToolResult["content"] = [{ type: "text", text: answer.text }];
  if (answer.masked > 0) {
    const secrets = answer.masked === 1 ? "1 secret" : `${answer.masked} secrets`;
    content.push({
      type: "text",
      text: `${secrets} in this answer masked by the policy, as [masked: KIND]. Asking again gives the same; the person sees them with agentctl query.`,
    });
  }
  return { content, details: { agentd: { answer: answer.value } } };
}

/** What went wrong, for the model to read and act upon; the call counts as failed. */
export function failed(failure: Failure): ToolResult {
  return {
    content: [{ type: "text", text: JSON.stringify({ error: failure }) }],
    details: { status: "error", agentd: { failure } },
  };
}
