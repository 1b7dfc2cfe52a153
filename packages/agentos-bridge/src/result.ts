// What a tool call hands back to OpenClaw. The host grades a call by reserved names at the top level of `details`
// (`status`, `ok`, `success`, `error`, `timedOut`, `exitCode`), so what agentd says is nested below `agentd`.

import type { Answer } from "./client.js";
import type { Failure } from "./errors.js";

/** A result in the host's shape. */
export interface ToolResult {
  content: { type: "text"; text: string }[];
  details: Record<string, unknown>;
}

/** The status with which agentd answers that a change waits for a person (RFC 9110, section 15.3.3). */
const ACCEPTED = 202;

/** agentd's answer, word for word; before it, where a change waits, a sentence that says so; and where secrets were masked in it, a sentence that says so. */
export function succeeded(answer: Answer): ToolResult {
  const content: ToolResult["content"] = [{ type: "text", text: answer.text }];
  if (answer.status === ACCEPTED) content.unshift({ type: "text", text: waits(answer.value) });
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

/** What the model is told of a change that waits: that nothing was done, what the person types, and to leave it at that. */
function waits(value: unknown): string {
  const id = typeof value === "object" && value !== null && "id" in value ? value.id : undefined;
  const [named, command] =
    typeof id === "number" ? [`change ${id}`, `agentctl approvals show ${id}`] : ["the change", "agentctl approvals"];
  return (
    `NOT DONE YET: ${named} waits for the person's yes. Nothing was changed. Tell the person what you asked for and why, ` +
    `and that they look at it with \`${command}\` and decide with \`agentctl approvals\`. Then stop: do not ask for it ` +
    "again, and do not try another way to the same end."
  );
}
