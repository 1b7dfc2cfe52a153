// Types a message into a chat of the gateway, as a client with the given scopes, and prints what the chat answers.
// Arguments: the address, the scopes, the session, the message. The token comes in OPENCLAW_GATEWAY_TOKEN.

const [address, scopes, sessionKey, message] = process.argv.slice(-4);
const socket = new WebSocket(address);
const waiting = new Map();

function call(method, params) {
  const id = String(waiting.size + 1);
  socket.send(JSON.stringify({ type: "req", id, method, params }));
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

function end(code, text) {
  console.log(text);
  process.exit(code);
}

async function type() {
  const client = { id: "gateway-client", version: "1", platform: "linux", mode: "backend" };
  const auth = { token: process.env.OPENCLAW_GATEWAY_TOKEN };
  await call("connect", {
    minProtocol: 4, maxProtocol: 4, client, role: "operator", scopes: scopes.split(","), caps: [], auth,
  });
  await call("chat.send", { sessionKey, message, idempotencyKey: crypto.randomUUID() });
}

socket.onmessage = ({ data }) => {
  const frame = JSON.parse(data);
  if (frame.type === "res") {
    const { resolve, reject } = waiting.get(frame.id);
    if (frame.ok) resolve(frame.payload);
    else reject(new Error(JSON.stringify(frame.error)));
  } else if (frame.event === "connect.challenge") {
    type().catch((error) => end(1, error.message));
  } else if (frame.event === "chat" && ["final", "error"].includes(frame.payload?.state)) {
    const parts = frame.payload.message?.content ?? [];
    end(0, parts.map((part) => part.text ?? "").join("\n"));
  }
};
socket.onerror = () => end(1, "the gateway cannot be reached");
setTimeout(() => end(1, "the chat does not answer"), 60_000);
