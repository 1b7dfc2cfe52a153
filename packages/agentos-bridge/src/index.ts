// The OpenClaw plugin: every tool of the generated table becomes one request to agentd. All state is agentd's.

import { definePluginEntry } from "openclaw/plugin-sdk/plugin-entry";

import { actorOf } from "./actor.js";
import { callAgentd } from "./client.js";
import { COMMAND, REQUIRED_SCOPE, decide, type CommandContext } from "./command.js";
import { readConfiguration } from "./configuration.js";
import { AgentdError } from "./errors.js";
import { requestFor } from "./request.js";
import { failed, succeeded } from "./result.js";
import { tools } from "./tools.generated.js";

export default definePluginEntry({
  id: "agentos-bridge",
  name: "AgentOS bridge",
  description: "Reads and changes this machine through agentd, on the record.",
  register(api) {
    const options = readConfiguration(api.pluginConfig);
    api.registerCommand({
      name: COMMAND,
      description: "Says yes or no to what waits on this machine: approve NUMBER CODE, or deny NUMBER WHY.",
      acceptsArgs: true,
      requireAuth: true,
      requiredScopes: [REQUIRED_SCOPE],
      handler: (context) => decide(options, context as CommandContext),
    });
    for (const tool of tools) {
      api.registerTool(
        (context) => ({
          name: tool.name,
          label: tool.label,
          description: tool.description,
          parameters: tool.parameters,
          async execute(_toolCallId, parameters, signal) {
            const request = requestFor(tool, (parameters ?? {}) as Record<string, unknown>);
            const actor = actorOf(context.agentId, context.sessionKey);
            try {
              return succeeded(await callAgentd(options, request, actor, signal));
            } catch (error) {
              if (error instanceof AgentdError) return failed(error.failure);
              throw error;
            }
          },
        }),
        { name: tool.name },
      );
    }
  },
});
