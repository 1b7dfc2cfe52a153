// The shape of one row of the generated tool table: what a model sees of a tool, and the request it stands for.

/** Where the arguments of a tool go in its request. */
export type ArgumentsIn = "none" | "query" | "body";

/** The request a tool stands for. */
export type ToolRequest =
  /** `POST /system/query` of that query, with the tool's arguments as its `args`. */
  | { readonly kind: "query"; readonly query: string }
  /** `POST /system/mutate` of that mutation; `reason`, `dry_run` and `plan_hash` stand beside its `args`. */
  | { readonly kind: "mutation"; readonly mutation: string }
  /** A route of its own; `{name}` in its path stands for the argument of that name. */
  | { readonly kind: "http"; readonly method: string; readonly path: string; readonly in: ArgumentsIn };

/** A tool as the catalogue describes it. */
export interface ToolDefinition {
  /** The name a model calls it by. */
  readonly name: string;
  /** A short name for people. */
  readonly label: string;
  /** What it does and when to use it. */
  readonly description: string;
  /** `read`: calling it again changes nothing. `write`: something stays. */
  readonly effect: "read" | "write";
  /** The request it stands for. */
  readonly request: ToolRequest;
  /** The JSON Schema of its arguments: an object. */
  readonly parameters: Readonly<Record<string, unknown>>;
}
