// `/agentos`: a person's yes or no, typed in the chat. It is a command of the gateway's, never a tool: the model cannot call it,
// and what the model says is no command. Whether it counts is agentd's to judge: it is off unless the machine's owner switches
// it on, and a yes needs the code that agentd sent the person by another way.

import { callAgentd, type ClientOptions } from "./client.js";
import { AgentdError } from "./errors.js";

/** The name of the command. */
export const COMMAND = "agentos";

/**
 * What a client of the gateway needs to give this command; in a chat its sender must be an owner instead. With it the host
 * refuses everybody else before the handler runs.
 */
export const REQUIRED_SCOPE = "operator.approvals";

/** Who may do everything in the gateway. */
const ADMIN_SCOPE = "operator.admin";

const USAGE =
  "Usage: /agentos approve NUMBER CODE, or /agentos deny NUMBER WHY. The code comes with the notice that something waits, and " +
  "stands in `agentctl approvals show NUMBER`.";

/** What the host says of who typed a command: the part of its context that counts here. */
export interface CommandContext {
  readonly channel: string;
  readonly senderId?: string;
  readonly senderIsOwner?: boolean;
  /** Set for clients of the gateway, which are no chats. */
  readonly gatewayClientScopes?: readonly string[];
  /** Throws where the sender is an owner no more. */
  readonly assertOwnerCurrent?: () => void;
  readonly args?: string;
}

/** What a person decided. */
export type Typed =
  | { readonly decision: "approve"; readonly id: number; readonly code: string }
  | { readonly decision: "deny"; readonly id: number; readonly reason?: string };

/** What the arguments say; nothing where they are none. */
export function parse(args: string | undefined): Typed | undefined {
  const found = /^(approve|deny)\s+#?([1-9][0-9]{0,15})(?:\s+([^]*))?$/i.exec((args ?? "").trim());
  if (found === null) return undefined;
  const [, word, number, rest] = found;
  const id = Number(number);
  const text = (rest ?? "").trim();
  if (word?.toLowerCase() === "deny") {
    return text === "" ? { decision: "deny", id } : { decision: "deny", id, reason: text.slice(0, 1000) };
  }
  return text === "" || text.length > 32 ? undefined : { decision: "approve", id, code: text };
}

/** Whether the host says that an owner typed it. */
export function isOwner(context: CommandContext): boolean {
  const scopes = context.gatewayClientScopes;
  if (scopes !== undefined) return scopes.includes(REQUIRED_SCOPE) || scopes.includes(ADMIN_SCOPE);
  return context.senderIsOwner === true;
}

/** Hands what was typed to agentd, and answers what the chat shows. */
export async function decide(options: ClientOptions, context: CommandContext): Promise<{ text: string }> {
  // The host has checked it; a host that does not is no reason to let anybody through.
  if (!isOwner(context)) return { text: "Only an owner of this gateway decides on what waits." };
  const typed = parse(context.args);
  if (typed === undefined) return { text: USAGE };
  const { id, ...decision } = typed;
  const sender = context.senderId ?? (context.gatewayClientScopes === undefined ? "unknown" : "gateway-client");
  const body = { ...decision, channel: context.channel.slice(0, 64), sender: sender.slice(0, 128) };
  try {
    context.assertOwnerCurrent?.();
    const path = `/approvals/${id}/chat`;
    const answer = await callAgentd(options, { method: "POST", path, body: JSON.stringify(body) }, "chat");
    return { text: textOf(answer.value) };
  } catch (error) {
    if (!(error instanceof AgentdError)) throw error;
    const { message, hint } = error.failure;
    return { text: hint === undefined ? message : `${message}\n${hint}` };
  }
}

function textOf(value: unknown): string {
  const text = typeof value === "object" && value !== null && "text" in value ? value.text : undefined;
  return typeof text === "string" ? text : "agentd took it.";
}
