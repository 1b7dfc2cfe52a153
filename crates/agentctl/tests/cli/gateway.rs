//! A server on loopback that speaks as the agent's gateway does, and acts at agentd as its plugin does.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The token that is in the file for the operators.
pub(crate) const TOKEN: &str = "0123456789abcdef";

/// A turn as the gateway heard it.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) authorization: String,
    pub(crate) session: String,
    pub(crate) said: String,
    /// Which connection it came over.
    pub(crate) connection: usize,
}

/// A gateway, and the folder with the file that says how to reach it.
pub(crate) struct Gateway {
    folder: TempDir,
    heard: Arc<Mutex<Vec<Turn>>>,
}

impl Gateway {
    /// A gateway that answers each turn as `answer` does.
    pub(crate) fn start(answer: impl Fn(&Turn, &mut Answer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gateway = Self { folder: tempfile::tempdir().unwrap(), heard: Arc::default() };
        gateway.write_access(&address_of(listener.local_addr().unwrap()));
        let heard = Arc::clone(&gateway.heard);
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let (heard, answer) = (Arc::clone(&heard), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let mut requests = BufReader::new(stream.try_clone().unwrap());
                    while let Some(turn) = turn(&mut requests, connection) {
                        heard.lock().unwrap().push(turn.clone());
                        let mut given = Answer { stream: stream.try_clone().unwrap(), begun: false };
                        answer(&turn, &mut given);
                    }
                });
            }
        });
        gateway
    }

    /// A gateway that is set up and does not run.
    pub(crate) fn stopped() -> Self {
        let gateway = Self { folder: tempfile::tempdir().unwrap(), heard: Arc::default() };
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        gateway.write_access(&address_of(free));
        gateway
    }

    pub(crate) fn write_access(&self, url: &str) {
        fs::write(self.file(), json!({ "url": url, "token": TOKEN }).to_string()).unwrap();
    }

    /// The file that says how to reach it.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("operator.json")
    }

    /// The turns it heard.
    pub(crate) fn heard(&self) -> Vec<Turn> {
        self.heard.lock().unwrap().clone()
    }
}

fn address_of(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn turn(requests: &mut BufReader<TcpStream>, connection: usize) -> Option<Turn> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if requests.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    assert_eq!(head[0], "POST /v1/chat/completions HTTP/1.1");
    let header = |name: &str| {
        let value = head.iter().filter_map(|line| line.split_once(": ")).find(|(found, _)| *found == name);
        value.unwrap_or_else(|| panic!("no {name} in {head:?}")).1.to_owned()
    };
    let mut body = vec![0; header("content-length").parse().unwrap()];
    requests.read_exact(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["stream"], true);
    Some(Turn {
        authorization: header("authorization"),
        session: header("x-openclaw-session-key"),
        said: body["messages"][0]["content"].as_str().unwrap().to_owned(),
        connection,
    })
}

/// An answer that is being given.
pub(crate) struct Answer {
    stream: TcpStream,
    begun: bool,
}

impl Answer {
    fn event(&mut self, data: &str) {
        if !std::mem::replace(&mut self.begun, true) {
            self.raw(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
            );
        }
        let event = format!("data: {data}\n\n");
        self.raw(&format!("{:x}\r\n{event}\r\n", event.len()));
    }

    /// Writes to the connection. Whether anybody is still there is not the gateway's concern.
    pub(crate) fn raw(&mut self, text: &str) {
        drop(self.stream.write_all(text.as_bytes()));
    }

    /// The next piece of the answer.
    pub(crate) fn piece(&mut self, text: &str) -> &mut Self {
        self.event(&json!({ "choices": [{ "delta": { "content": text } }] }).to_string());
        self
    }

    /// The turn fails.
    pub(crate) fn fails(&mut self, message: &str) {
        self.event(&json!({ "error": { "message": message } }).to_string());
        self.end();
    }

    /// The answer is complete.
    pub(crate) fn end(&mut self) {
        self.event("[DONE]");
        self.raw("0\r\n\r\n");
    }

    /// Waits until whoever listened has gone.
    pub(crate) fn is_left(&mut self) -> bool {
        self.stream.read(&mut [0]).is_ok_and(|read| read == 0)
    }
}

/// Asks agentd on the agent's `socket` as the plugin does in the session that is called `session` there.
pub(crate) fn ask_as_agent(socket: &Path, session: &str, query: &str) {
    let actor = session.strip_prefix("agent:").unwrap();
    let body = json!({ "query": query, "args": {} }).to_string();
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(
        stream,
        "POST /system/query HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-agentos-actor: {actor}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
