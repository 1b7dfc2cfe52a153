// Which agent and session a request comes from, as the ledger may show it below the caller's principal.

/** The header agentd reads it from. The principal itself is the socket's peer, never this. */
export const ACTOR_HEADER = "x-agentos-actor";

/** Longest value agentd takes, in characters. */
const LONGEST = 64;

/**
 * The header's value: 1 to 64 of `[A-Za-z0-9._:-]`. Other characters become `-`.
 *
 * A session key of OpenClaw begins with its agent (`agent:main:…`); where it does not, the agent is put before it.
 */
export function actorOf(agentId: string | undefined, sessionKey: string | undefined): string {
  const agent = agentId === undefined || agentId === "" ? "main" : agentId;
  const session = sessionKey === undefined || sessionKey === "" ? `agent:${agent}` : sessionKey;
  const whole = session.startsWith(`agent:${agent}`) ? session.slice("agent:".length) : `${agent}:${session}`;
  return whole.replaceAll(/[^A-Za-z0-9._:-]/g, "-").slice(0, LONGEST);
}
