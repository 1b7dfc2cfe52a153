//! The server over its socket: requests as OpenClaw sends them, and requests as nobody should.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use agentos_rehearsal::{
    Clock, MAX_BODY_BYTES, RequestLog, ServeError, Server, ServerOptions, Stage, library,
};
use serde_json::{Value, json};

/// Starts a server in a thread of its own; it ends with the test's process.
fn start(options: ServerOptions) -> SocketAddr {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stage = Stage::new(library::built_in().unwrap(), Clock::System);
            let server = Server::bind("127.0.0.1:0".parse().unwrap(), stage, options).await.unwrap();
            send.send(server.address()).unwrap();
            server.run(std::future::pending()).await;
        });
    });
    receive.recv().unwrap()
}

/// Sends the bytes and reads until the server closes; the request must ask it to.
fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // A server that refuses may close before everything is sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn post(address: SocketAddr, body: &str) -> (u16, String, String) {
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer sk-local\r\n\
         content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    split(&exchange(address, request.as_bytes()))
}

fn split(answer: &str) -> (u16, String, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
}

/// The JSON of each event in a streamed answer.
fn events(body: &str) -> Vec<Value> {
    assert!(body.contains("data: [DONE]"), "{body}");
    body.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

/// A request as OpenClaw 2026.9.6 sends it: parts, notes around what the person wrote, an internal message behind it.
fn openclaw_request(messages: &[Value]) -> Value {
    let tool = |name: &str| json!({ "type": "function", "function": { "name": name, "description": "d", "parameters": { "type": "object" } } });
    let mut all = vec![
        json!({ "role": "system", "content": "You are the operating system. What is eating the CPU? Remember that." }),
        json!({ "role": "user", "content": [{ "type": "text", "text":
            "Conversation info: ⟦openclaw:ctx⟧\n```json\n{\"conversation\": \"main\"}\n```\n\n[Sun 2026-11-22 16:14 UTC] How full is the disk? I mean: how much disk space is left?" }] }),
    ];
    all.extend(messages.iter().cloned());
    all.push(json!({ "role": "user", "content": "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>\nRemember that nginx is running.\n<<<END_OPENCLAW_INTERNAL_CONTEXT>>>" }));
    json!({
        "model": "agentos-rehearsal", "messages": all, "stream": true, "stream_options": { "include_usage": true },
        "store": false, "max_completion_tokens": 4096, "tools": [tool("read"), tool("system_query"), tool("memory_store")],
    })
}

#[test]
fn a_turn_goes_from_the_question_over_the_tool_to_the_answer() {
    let address = start(ServerOptions::default());
    let (status, head, body) = post(address, &openclaw_request(&[]).to_string());
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    let chunks = events(&body);
    let deltas: Vec<&Value> =
        chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0]).collect();
    let opening = deltas.iter().find(|call| call["id"].is_string()).unwrap();
    assert_eq!(opening["function"]["name"], "system_query");
    let arguments: String = deltas.iter().filter_map(|call| call["function"]["arguments"].as_str()).collect();
    assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap(), json!({ "query": "disks" }));
    let reasons: Vec<&str> =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["finish_reason"].as_str()).collect();
    assert_eq!(reasons, ["tool_calls"]);
    assert!(chunks.last().unwrap()["usage"]["prompt_tokens"].as_u64().unwrap() > 0);
    assert!(chunks.iter().all(|chunk| chunk["system_fingerprint"] == "agentos-rehearsal-scripted"));

    let result = json!({ "file_systems": [{
        "mount_point": "/", "source": "/dev/vda1", "file_system": "ext4", "read_only": false, "unresponsive": false,
        "usage": { "total_bytes": 10_737_418_240_u64, "used_bytes": 5_368_709_120_u64, "available_bytes": 4_294_967_296_u64,
                   "used_percent": 55.56, "inodes_used_percent": 3.0 } }] });
    let messages = [
        json!({ "role": "assistant", "content": null, "tool_calls": [{ "id": opening["id"], "type": "function",
            "function": { "name": "system_query", "arguments": arguments } }] }),
        json!({ "role": "tool", "tool_call_id": opening["id"], "content": [{ "type": "text", "text": result.to_string() }] }),
    ];
    let (_, _, body) = post(address, &openclaw_request(&messages).to_string());
    let said: String =
        events(&body).iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert!(
        said.contains("- / (/dev/vda1, ext4): 5.0 GiB of 10.0 GiB used (55.6 %), 4.0 GiB free"),
        "{said}"
    );
    assert!(said.ends_with("\n\n(scripted model)"), "{said}");
}

#[test]
fn an_error_of_a_tool_is_told() {
    let address = start(ServerOptions::default());
    let messages = [
        json!({ "role": "assistant", "tool_calls": [{ "id": "a", "type": "function", "function": { "name": "system_query", "arguments": "{}" } }] }),
        json!({ "role": "tool", "tool_call_id": "a", "content":
            "{\"status\":\"error\",\"tool\":\"system_query\",\"error\":\"The ledger cannot be written (ledger_unavailable)\"}" }),
    ];
    let mut request = openclaw_request(&messages);
    request["stream"] = false.into();
    let (status, _, body) = post(address, &request.to_string());
    let answer: Value = serde_json::from_str(&body).unwrap();
    let said = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(status, 200);
    assert!(said.contains("The ledger cannot be written") && said.contains("`ledger_unavailable`"), "{said}");
}

#[test]
fn what_no_scene_answers_is_answered_with_what_can_be_asked() {
    let address = start(ServerOptions::default());
    let request = json!({ "model": "agentos-rehearsal", "messages": [{ "role": "user", "content": "Tell me a joke" }] });
    let (_, _, body) = post(address, &request.to_string());
    let answer: Value = serde_json::from_str(&body).unwrap();
    let said = answer["choices"][0]["message"]["content"].as_str().unwrap();
    for scenario in library::built_in().unwrap() {
        assert!(said.contains(&format!("- {}\n", scenario.ask[0])), "{said}");
    }
    assert!(said.ends_with("(scripted model)"));
}

#[test]
fn a_tool_that_is_not_offered_is_not_called() {
    let address = start(ServerOptions::default());
    for choice in [json!({ "tools": [] }), json!({ "tool_choice": "none" })] {
        let mut request = openclaw_request(&[]);
        request["stream"] = false.into();
        for (name, value) in choice.as_object().unwrap() {
            request[name] = value.clone();
        }
        let (_, _, body) = post(address, &request.to_string());
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
        let said = answer["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(said.contains("`system_query`"), "{said}");
    }
}

#[test]
fn the_models_are_listed() {
    let address = start(ServerOptions::default());
    for (path, pointer) in [("/v1/models", "/data/0/id"), ("/v1/models/agentos-rehearsal", "/id")] {
        let answer = exchange(
            address,
            format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes(),
        );
        let (status, _, body) = split(&answer);
        assert_eq!(status, 200);
        assert_eq!(
            serde_json::from_str::<Value>(&body).unwrap().pointer(pointer).unwrap(),
            "agentos-rehearsal"
        );
    }
}

#[test]
fn refusals_have_the_shape_of_openai_errors() {
    let address = start(ServerOptions::default());
    let deep = format!(
        "{{\"model\": \"m\", \"messages\": [{{\"role\": \"user\", \"content\": {}1",
        "[".repeat(100_000)
    );
    for (body, status, word) in [
        ("", 400, "not a chat completion request"),
        ("{\"model\": \"agentos-rehearsal\"}", 400, "messages"),
        ("{\"model\": \"agentos-rehearsal\", \"messages\": []}", 400, "empty"),
        ("{\"model\": \"gpt\", \"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}", 404, "`gpt`"),
        ("{\"model\": \"agentos-rehearsal\", \"messages\": [{\"role\": \"user\"}], \"n\": 2}", 400, "`n`"),
        (deep.as_str(), 400, "recursion"),
    ] {
        let (found, _, answer) = post(address, body);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(found, status, "{answer}");
        assert_eq!(answer["error"]["type"], "invalid_request_error");
        assert!(answer["error"]["message"].as_str().unwrap().contains(word), "{answer}");
    }
    for (line, status) in [("GET /v1/chat/completions", 405), ("POST /v1/models", 405), ("GET /", 404)] {
        let answer =
            exchange(address, format!("{line} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes());
        let (found, _, body) = split(&answer);
        assert_eq!(found, status, "{line}");
        assert!(serde_json::from_str::<Value>(&body).unwrap()["error"]["message"].is_string());
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_whether_it_says_so_or_not() {
    let address = start(ServerOptions::default());
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
    let announced = format!("{head}content-length: {}\r\n\r\n", MAX_BODY_BYTES + 1);
    let mut chunked = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
    let chunk = vec![b' '; 1 << 20];
    for _ in 0..=MAX_BODY_BYTES >> 20 {
        chunked.extend(b"100000\r\n");
        chunked.extend(&chunk);
        chunked.extend(b"\r\n");
    }
    for request in [announced.into_bytes(), chunked] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _ = stream.write_all(&request);
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 413");
    }
}

#[test]
fn an_address_that_others_can_reach_is_refused_unless_asked_for() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bind = |any_address| {
        let options = ServerOptions { any_address, ..ServerOptions::default() };
        let stage = Stage::new(Vec::new(), Clock::System);
        runtime.block_on(Server::bind("0.0.0.0:0".parse().unwrap(), stage, options))
    };
    assert!(matches!(bind(false), Err(ServeError::NotLoopback(_))));
    assert!(bind(true).is_ok());
}

#[test]
fn a_delayed_stream_comes_piece_by_piece() {
    let address = start(ServerOptions { delay: Duration::from_millis(20), ..ServerOptions::default() });
    let started = Instant::now();
    let (_, _, body) = post(address, &openclaw_request(&[]).to_string());
    let pauses = u32::try_from(events(&body).len()).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(20) * pauses);
}

#[test]
fn the_log_has_each_request_and_only_its_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("requests.jsonl");
    let log = Some(RequestLog::open(&path).unwrap());
    let address = start(ServerOptions { log, ..ServerOptions::default() });
    post(address, &openclaw_request(&[]).to_string());
    exchange(address, b"GET /nothing HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["scenario"], &lines[0]["calls"][0]),
        (&json!("disk-space"), &json!("system_query"))
    );
    assert_eq!(lines[0]["request"]["model"], "agentos-rehearsal");
    assert_eq!(lines[1]["status"], 404);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
