//! A conversation with servers on loopback that speak as the gateway does, and with some that do not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentos_client::gateway::{Access, Conversation, GatewayError, Limits, Session, ready};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use axum::{Json, Router};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Calls `each` with the number and the stream of each connection.
    async fn start<F: Future<Output = ()> + Send>(
        each: impl Fn(usize, TcpStream) -> F + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::clone(&connections);
        let each = Arc::new(each);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = accepted.fetch_add(1, Ordering::SeqCst);
                let each = Arc::clone(&each);
                tokio::spawn(async move { each(number, stream).await });
            }
        });
        Self { address, connections }
    }

    async fn axum(router: Router) -> Self {
        Self::start(move |_, stream| {
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            async move {
                let io = hyper_util::rt::TokioIo::new(stream);
                drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service).await);
            }
        })
        .await
    }

    /// A server that reads what it is sent and answers each connection with `answer`, then closes it.
    async fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::start(move |_, mut stream| {
            let answer = Arc::clone(&answer);
            async move {
                let mut request = [0; 4096];
                drop(stream.read(&mut request).await);
                drop(stream.write_all(&answer).await);
            }
        })
        .await
    }

    fn conversation(&self) -> Conversation {
        self.conversation_within(Limits::default())
    }

    fn conversation_within(&self, limits: Limits) -> Conversation {
        let access = Access::new(self.address, "secret").unwrap();
        Conversation::with_limits(access, Session::new("test").unwrap(), limits)
    }
}

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
const END: &str = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

/// One chunk of the body that carries one piece of an answer.
fn chunk(text: &str) -> String {
    let event = format!("data: {}\n\n", json!({ "choices": [{ "delta": { "content": text } }] }));
    format!("{:x}\r\n{event}\r\n", event.len())
}

async fn whole(conversation: &mut Conversation, text: &str) -> Result<String, GatewayError> {
    conversation.say(text).await?.whole().await
}

/// A gateway that answers with who asked what.
fn echo() -> Router {
    Router::new().route("/readyz", get(|| async { "ok" })).route(
        "/v1/chat/completions",
        post(|headers: HeaderMap, Json(body): Json<Value>| async move {
            let header = |name: &str| headers[name].to_str().unwrap().to_owned();
            assert_eq!((&body["stream"], &body["model"]), (&json!(true), &json!("openclaw/default")));
            let said = body["messages"][0]["content"].as_str().unwrap().to_owned();
            let pieces = [header("authorization"), header("x-openclaw-session-key"), said];
            let mut stream = String::new();
            for piece in pieces.map(|piece| format!("{piece}\n")) {
                let event = json!({ "choices": [{ "delta": { "content": piece } }] });
                stream.extend(["data: ", &event.to_string(), "\n\n"]);
            }
            stream.push_str("data: [DONE]\n\n");
            ([("content-type", "text/event-stream")], stream)
        }),
    )
}

#[tokio::test]
async fn turns_of_a_session_share_a_connection() {
    let server = Server::axum(echo()).await;
    assert!(ready(server.address).await);
    let mut conversation = server.conversation();
    conversation.connect().await.unwrap();
    for text in ["how are you?", "and now?"] {
        let answer = whole(&mut conversation, text).await.unwrap();
        assert_eq!(answer, format!("Bearer secret\nagent:main:test\n{text}\n"));
    }
    // One of them asked whether it is ready.
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn pieces_arrive_while_the_answer_is_being_given() {
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let receiver = Arc::new(tokio::sync::Mutex::new(Some(receiver)));
    let server = Server::start(move |_, mut stream| {
        let receiver = Arc::clone(&receiver);
        async move {
            let mut request = [0; 4096];
            drop(stream.read(&mut request).await);
            stream.write_all(format!("{HEAD}{}", chunk("first")).as_bytes()).await.unwrap();
            // The rest only once the first piece has been seen.
            receiver.lock().await.take().unwrap().await.unwrap();
            stream.write_all(format!("{}{END}", chunk("second")).as_bytes()).await.unwrap();
        }
    })
    .await;
    let mut conversation = server.conversation();
    let mut answer = conversation.say("go").await.unwrap();
    assert_eq!(answer.next().await.unwrap().unwrap(), "first");
    sender.send(()).unwrap();
    assert_eq!(answer.next().await.unwrap().unwrap(), "second");
    assert_eq!(answer.next().await.unwrap(), None);
    assert_eq!(answer.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_opened_anew() {
    let server = Server::saying(format!("{HEAD}{}{END}", chunk("yes"))).await;
    let mut conversation = server.conversation();
    for _ in 0..3 {
        assert_eq!(whole(&mut conversation, "there?").await.unwrap(), "yes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_turn_that_may_have_been_taken_is_not_said_twice() {
    // The first connection answers once, reads the second turn and closes without a word.
    let turns = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&turns);
    let server = Server::start(move |_, mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            let mut request = [0; 4096];
            drop(stream.read(&mut request).await);
            drop(stream.write_all(format!("{HEAD}{}{END}", chunk("yes")).as_bytes()).await);
            drop(stream.read(&mut request).await);
            seen.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let mut conversation = server.conversation();
    whole(&mut conversation, "first").await.unwrap();
    let error = whole(&mut conversation, "second").await.unwrap_err();
    assert!(matches!(error, GatewayError::Interrupted { .. }) && error.is_transport(), "{error:?}");
    assert_eq!((turns.load(Ordering::SeqCst), server.connections.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn an_answer_that_is_left_ends_its_turn_and_not_the_conversation() {
    let ended = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&ended);
    let server = Server::start(move |number, mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            let mut request = [0; 4096];
            drop(stream.read(&mut request).await);
            drop(stream.write_all(format!("{HEAD}{}", chunk("long")).as_bytes()).await);
            if number == 0 {
                // Nothing more is sent; what is read now is the end of the connection.
                assert_eq!(stream.read(&mut request).await.unwrap_or(0), 0);
                seen.fetch_add(1, Ordering::SeqCst);
            } else {
                drop(stream.write_all(END.as_bytes()).await);
            }
        }
    })
    .await;
    let mut conversation = server.conversation();
    let mut answer = conversation.say("begin").await.unwrap();
    assert_eq!(answer.next().await.unwrap().unwrap(), "long");
    drop(answer);
    assert_eq!(whole(&mut conversation, "again").await.unwrap(), "long");
    for _ in 0..500 {
        if ended.load(Ordering::SeqCst) == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the gateway was not told that the first turn is over");
}

#[tokio::test]
async fn an_answer_without_its_end_is_an_error() {
    let events = "data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\n";
    for answer in [
        // Cut off within a chunk; ended in good order too early; a body that just stops.
        format!("{HEAD}{}fff\r\ndata: ", chunk("half")),
        format!("{HEAD}{}0\r\n\r\n", chunk("half")),
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{events}"),
    ] {
        let server = Server::saying(answer.clone()).await;
        let mut conversation = server.conversation();
        let mut given = conversation.say("go").await.unwrap();
        assert_eq!(given.next().await.unwrap().unwrap(), "half");
        let error = given.next().await.unwrap_err();
        assert!(matches!(error, GatewayError::Interrupted { .. }), "{answer}: {error:?}");
        assert_eq!(given.next().await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_refusal_says_why_and_what_to_do() {
    for (status, body, reason, hint) in [
        (
            401,
            r#"{"error":{"message":"Unauthorized\u001b[2J","type":"unauthorized"}}"#,
            "Unauthorized",
            "restart",
        ),
        (500, "<html>\u{9b}2J", "<html>", "journalctl -u openclaw-gateway"),
        (429, "", "", "journalctl -u openclaw-gateway"),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let router = Router::new()
            .route("/v1/chat/completions", post(move || async move { (status, body).into_response() }));
        let server = Server::axum(router).await;
        let error = whole(&mut server.conversation(), "go").await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("status {}: {reason}", status.as_u16())), "{text}");
        assert!(error.hint().contains(hint) && !text.contains(char::is_control), "{error:?}");
    }
}

#[tokio::test]
async fn a_refusal_without_end_is_not_read_to_it() {
    let server = Server::start(|_, mut stream| async move {
        drop(stream.write_all(b"HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n").await);
        while stream.write_all(b"10\r\n0123456789abcdef\r\n").await.is_ok() {}
    })
    .await;
    let error = whole(&mut server.conversation(), "go").await.unwrap_err();
    assert!(matches!(error, GatewayError::Refused { status: 500, .. }), "{error:?}");
}

#[tokio::test]
async fn a_turn_that_fails_says_why() {
    let event = "data: {\"error\":{\"message\":\"no credit\"}}\n\n";
    let server =
        Server::saying(format!("{HEAD}{}{:x}\r\n{event}\r\n{END}", chunk("Well"), event.len())).await;
    let error = whole(&mut server.conversation(), "go").await.unwrap_err();
    assert_eq!(error.to_string(), "the turn failed: no credit");
    assert!(!error.is_transport());
}

#[tokio::test]
async fn each_time_and_size_is_bounded() {
    let limits = || Limits { silence: Duration::from_millis(100), ..Limits::default() };
    let silent = Server::start(|_, stream| async move {
        tokio::time::sleep(Duration::from_mins(1)).await;
        drop(stream);
    })
    .await;
    let error = whole(&mut silent.conversation_within(limits()), "go").await.unwrap_err();
    assert!(error.to_string().ends_with("it was silent for 0.1 s"), "{error}");
    assert!(!ready(silent.address).await);

    let stuck = Server::start(|_, mut stream| async move {
        drop(stream.write_all(format!("{HEAD}{}", chunk("Well")).as_bytes()).await);
        tokio::time::sleep(Duration::from_mins(1)).await;
    })
    .await;
    let error = whole(&mut stuck.conversation_within(limits()), "go").await.unwrap_err();
    assert!(error.to_string().ends_with("it was silent for 0.1 s"), "{error}");

    let endless = Server::start(|_, mut stream| async move {
        drop(stream.write_all(HEAD.as_bytes()).await);
        while stream.write_all(b"9\r\n: alive\n\n\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let turn = Limits { turn: Duration::from_millis(200), ..Limits::default() };
    let error = whole(&mut endless.conversation_within(turn), "go").await.unwrap_err();
    assert!(matches!(error, GatewayError::TimedOut { .. }), "{error:?}");
    let stream = Limits { max_stream_bytes: 100, ..Limits::default() };
    let error = whole(&mut endless.conversation_within(stream), "go").await.unwrap_err();
    assert!(matches!(error, GatewayError::TooLarge { limit: 100, .. }), "{error:?}");

    let said = Limits { max_said_bytes: 3, ..Limits::default() };
    let error = whole(&mut endless.conversation_within(said), "four").await.unwrap_err();
    assert!(matches!(error, GatewayError::SaidTooMuch { length: 4, limit: 3 }), "{error:?}");
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_named_with_what_to_do() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let access = Access::new(free, "secret").unwrap();
    let mut conversation = Conversation::new(access, Session::new("test").unwrap());
    for error in
        [conversation.connect().await.unwrap_err(), conversation.say("go").await.map(drop).unwrap_err()]
    {
        assert_eq!(error.to_string(), format!("cannot reach the gateway at {free}"));
        assert!(
            error.is_transport() && error.hint().contains("systemctl status openclaw-gateway"),
            "{error:?}"
        );
    }
    assert!(!ready(free).await);
}

#[tokio::test]
async fn what_is_no_stream_of_the_gateway_is_told() {
    let html = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi";
    let strange = format!("{HEAD}9\r\ndata: {{\n\n\r\n{END}");
    for (answer, expected) in [(html.to_owned(), "media type"), (strange, "an event of its stream")] {
        let server = Server::saying(answer).await;
        let error = whole(&mut server.conversation(), "go").await.unwrap_err();
        assert!(matches!(error, GatewayError::Protocol { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_from_the_gateway_make_it_panic_or_hang_or_pass_for_an_answer(
        answer in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            "HTTP/1\\.1 [0-9]{3} [ -~]{0,20}\r\n([a-z-]{1,12}: [ -~]{0,20}\r\n){0,4}\r\n[ -~]{0,80}".prop_map(String::into_bytes),
            "[0-9a-f]{1,2}\r\n(data: |: |\n|[ -~]{0,10}){0,10}\r\n".prop_map(|body| format!("{HEAD}{body}").into_bytes()),
        ]
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::saying(answer).await;
            let limits = Limits { silence: Duration::from_millis(500), ..Limits::default() };
            assert!(whole(&mut server.conversation_within(limits), "go").await.is_err());
            ready(server.address).await;
        });
    }
}
