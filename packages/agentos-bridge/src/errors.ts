// What can go wrong between a tool call and agentd's answer, each with what the model is told to do about it.

/** An error as the model reads it. */
export interface Failure {
  /** The stable name: agentd's own code, or one of `agentd_unreachable`, `agentd_timeout`, `agentd_protocol`. */
  readonly code: string;
  /** What happened, on which object. */
  readonly message: string;
  /** agentd's HTTP status, when it answered. */
  readonly http_status?: number;
  /** The argument at fault. */
  readonly field?: string;
  /** Names close to the one that was not found. */
  readonly near?: readonly string[];
  /** What to do next. */
  readonly hint?: string;
}

/** A request that agentd refused, or that got no usable answer. */
export class AgentdError extends Error {
  override readonly name = "AgentdError";
  readonly failure: Failure;

  constructor(failure: Failure, cause?: unknown) {
    super(`${failure.message} (${failure.code})`, { cause });
    this.failure = failure;
  }
}

/** The failure that an RFC 9457 problem describes; a body that is none is told as what it is. */
export function failureOfProblem(status: number, body: string): Failure {
  const problem = parseObject(body);
  const code = problem?.["code"];
  const detail = problem?.["detail"] ?? problem?.["title"];
  if (problem === undefined || typeof code !== "string" || typeof detail !== "string") {
    const shown = body.trim().slice(0, 200);
    return {
      code: "agentd_protocol",
      message: `agentd answered ${status} without a problem document${shown === "" ? "" : `: ${shown}`}.`,
      http_status: status,
      hint: "Tell the user, and name `journalctl --unit agentd` as the place to look.",
    };
  }
  const { field, near, hint } = problem;
  return {
    code,
    message: detail,
    http_status: status,
    ...(typeof field === "string" ? { field } : {}),
    ...(Array.isArray(near) && near.length > 0 ? { near: near.filter((name) => typeof name === "string") } : {}),
    ...(typeof hint === "string" ? { hint } : {}),
  };
}

/** The failure of a connection that did not come about, or broke. */
export function failureOfConnection(socketPath: string, error: NodeJS.ErrnoException): Failure {
  const reason = error.code ?? error.message;
  switch (error.code) {
    case "EACCES":
    case "EPERM":
      return {
        code: "agentd_unreachable",
        message: `The gateway may not open agentd's socket ${socketPath} (${reason}).`,
        hint: "Tell the user: the gateway's user needs the socket's group; `ls -l` on the socket shows which.",
      };
    case "ENOENT":
    case "ECONNREFUSED":
      return {
        code: "agentd_unreachable",
        message: `agentd does not run: nothing listens on ${socketPath} (${reason}). Nothing was read or changed.`,
        hint: "Tell the user: `systemctl status agentd` says why.",
      };
    default:
      return {
        code: "agentd_unreachable",
        message: `The connection to agentd on ${socketPath} broke (${reason}).`,
        hint: "Try once more; if it stays so, tell the user that `systemctl status agentd` says why.",
      };
  }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
