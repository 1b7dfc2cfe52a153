//! The client against real servers on Unix sockets: well-behaved ones (axum), and ones that say whatever they like.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentos_api::event::EventFilter;
use agentos_api::memory::{RecallRequest, StoreRequest};
use agentos_api::{Code, Problem, query};
use agentos_client::{ActorDetail, Client, ClientError, ClientOptions};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

struct Server {
    directory: TempDir,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn socket(&self) -> PathBuf {
        self.directory.path().join("agentd.sock")
    }

    fn client(&self) -> Client {
        Client::with_options(self.options())
    }

    fn options(&self) -> ClientOptions {
        ClientOptions { request_timeout: Duration::from_secs(10), ..ClientOptions::new(self.socket()) }
    }

    /// Calls `each` with the number and the stream of each connection.
    fn start<F: Future<Output = ()> + Send>(
        each: impl Fn(usize, UnixStream) -> F + Send + Sync + 'static,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("agentd.sock")).unwrap();
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
        Self { directory, connections }
    }

    fn axum(router: Router) -> Self {
        Self::start(move |_, stream| {
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            async move {
                let io = hyper_util::rt::TokioIo::new(stream);
                drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service).await);
            }
        })
    }

    /// A server that reads what it is sent and answers each connection with `answer`, then closes it.
    fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::start(move |_, mut stream| {
            let answer = Arc::clone(&answer);
            async move {
                let mut request = [0; 4096];
                drop(stream.read(&mut request).await);
                drop(stream.write_all(&answer).await);
            }
        })
    }
}

fn http(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn event(id: u64) -> Value {
    json!({
        "id": id, "ts": "2026-01-02T03:04:05.678Z", "type": "system.query", "actor": "agent/main",
        "payload": { "actor": "agent/main", "data": {}, "id": id, "ts": "2026-01-02T03:04:05.678Z", "type": "system.query" },
        "prev_hash": "0".repeat(64), "hash": "1".repeat(64),
    })
}

#[tokio::test]
async fn one_connection_carries_one_request_after_another() {
    let server = Server::axum(Router::new().route("/openapi.json", get(|| async { Json(json!({"ok": 1})) })));
    let client = server.client();
    for _ in 0..5 {
        assert_eq!(client.openapi().await.unwrap(), json!({"ok": 1}));
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn requests_at_the_same_time_have_connections_of_their_own() {
    let router = Router::new().route(
        "/openapi.json",
        get(|| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Json(json!({}))
        }),
    );
    let server = Server::axum(router);
    let client = server.client();
    let (a, b, c) = tokio::join!(client.openapi(), client.openapi(), client.openapi());
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_opened_anew_once() {
    // Each connection answers one request as if it would stay open, and closes.
    let server = Server::saying(http("{\"n\":1}"));
    let client = server.client();
    for _ in 0..3 {
        assert_eq!(client.openapi().await.unwrap(), json!({"n": 1}));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_store_that_may_have_been_carried_out_is_not_sent_twice() {
    // The first connection answers once, reads the second request and closes without a word.
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&requests);
    let server = Server::start(move |_, mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            let mut request = [0; 4096];
            drop(stream.read(&mut request).await);
            drop(stream.write_all(http("{}").as_bytes()).await);
            drop(stream.read(&mut request).await);
            seen.fetch_add(1, Ordering::SeqCst);
        }
    });
    let client = server.client();
    client.openapi().await.unwrap();
    let request = StoreRequest {
        summary: "s".into(),
        detail: String::new(),
        category: "note".into(),
        tags: Vec::new(),
    };
    let error = client.memory_store(&request).await.unwrap_err();
    assert!(matches!(error, ClientError::Interrupted { .. }), "{error:?}");
    assert!(error.is_transport());
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_query_sends_its_name_its_arguments_and_the_actor() {
    let router = Router::new().route(
        "/system/query",
        post(|headers: HeaderMap, Json(body): Json<Value>| async move {
            Json(json!({ "body": body, "actor": headers["x-agentos-actor"].to_str().unwrap() }))
        }),
    );
    let server = Server::axum(router);
    let actor = Some(ActorDetail::new("test:1").unwrap());
    let client = Client::with_options(ClientOptions { actor, ..server.options() });
    let args = Map::from_iter([("limit".to_owned(), json!(3))]);
    let answer = client.query_value("processes", &args).await.unwrap();
    assert_eq!(
        answer,
        json!({ "actor": "test:1", "body": { "query": "processes", "args": { "limit": 3 } } })
    );
}

#[tokio::test]
async fn a_filter_arrives_as_it_was_given() {
    let router = Router::new().route(
        "/events/log",
        get(|axum::extract::RawQuery(query): axum::extract::RawQuery| async move {
            let filter: EventFilter = serde_urlencoded::from_str(&query.unwrap()).unwrap();
            assert_eq!(filter.kind.unwrap().to_string(), "system.*");
            assert_eq!(filter.actor.unwrap().as_str(), "operator:1000/a+b@c");
            assert_eq!(filter.limit.get(), 7);
            Json(json!({ "events": [event(1)] }))
        }),
    );
    let server = Server::axum(router);
    let filter = EventFilter {
        kind: Some("system.".parse().unwrap()),
        actor: Some("operator:1000/a+b@c".parse().unwrap()),
        since: Some("2026-01-02T03:04:05Z".parse().unwrap()),
        limit: 7.try_into().unwrap(),
        ..EventFilter::default()
    };
    let page = server.client().events_page(&filter).await.unwrap();
    assert_eq!((page.events[0].id, page.next), (1, None));
}

#[tokio::test]
async fn a_problem_arrives_with_its_code_and_hint() {
    let router = Router::new().route(
        "/system/query",
        post(|| async {
            let problem = Problem::new(Code::UNKNOWN_QUERY, "there is no query \"procesess\"")
                .with_near(vec!["processes".into()])
                .with_hint("see the catalogue");
            (StatusCode::NOT_FOUND, Json(problem))
        }),
    );
    let server = Server::axum(router);
    let error = server.client().query_value("procesess", &Map::new()).await.unwrap_err();
    assert_eq!(error.problem().unwrap().code, Code::UNKNOWN_QUERY);
    assert_eq!(error.hint().as_deref(), Some("see the catalogue"));
    assert_eq!(error.to_string(), "there is no query \"procesess\"");
    assert!(!error.is_transport());
}

#[tokio::test]
async fn a_missing_socket_says_which_and_what_to_do() {
    let error = Client::new("/nonexistent/agentd.sock").health().await.unwrap_err();
    assert_eq!(error.to_string(), "cannot connect to agentd on /nonexistent/agentd.sock");
    assert!(error.hint().unwrap().contains("systemctl start agentd.socket"));
    let too_long = format!("/{}", "x".repeat(200));
    let error = Client::new(too_long).health().await.unwrap_err();
    assert!(error.hint().unwrap().contains("107 bytes"), "{error:?}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let server = Server::start(|_, stream| async move {
        tokio::time::sleep(Duration::from_mins(1)).await;
        drop(stream);
    });
    let limit = Duration::from_millis(100);
    let client = Client::with_options(ClientOptions { request_timeout: limit, ..server.options() });
    let error = client.health().await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error:?}");
    assert!(error.to_string().ends_with("did not answer GET /health within 0.1 s"), "{error}");
}

#[tokio::test]
async fn a_body_is_read_to_its_bound_and_no_further() {
    let limit = |server: &Server| {
        Client::with_options(ClientOptions { max_response_bytes: 1000, ..server.options() })
    };
    // It says its length: refused before a byte is read.
    let announced = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n[");
    let error = limit(&announced).openapi().await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { limit: 1000, .. }), "{error:?}");
    // It does not say its length: refused when it passes the bound.
    let endless = Server::start(|_, mut stream| async move {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        drop(stream.write_all(head).await);
        while stream.write_all(b"10\r\n0123456789abcdef\r\n").await.is_ok() {}
    });
    let error = limit(&endless).openapi().await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { limit: 1000, .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_not_of_this_api_is_an_error_that_shows_it() {
    for (answer, expected) in [
        (http("{\"chunks\":7}"), "invalid type"),
        (http(&format!("{{\"other\":{}", "[".repeat(100_000))), "EOF"),
        (http("{\"chunks\":\"\\u001b[2J\u{9b}2J\"}"), "invalid type"),
        (http("\u{1b}[2J"), "expected value"),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n<html>\u{1b}]0;x".to_owned(), "502"),
    ] {
        let server = Server::saying(answer);
        let error = server.client().memory_recall(&RecallRequest::new("x")).await.unwrap_err();
        assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.to_string().contains(char::is_control), "{error:?}");
    }
}

#[tokio::test]
async fn a_deeply_nested_answer_is_an_error_and_not_a_full_stack() {
    let error = Server::saying(http(&"[".repeat(1_000_000))).client().openapi().await.unwrap_err();
    assert!(error.to_string().contains("recursion limit"), "{error}");
}

#[tokio::test]
async fn a_stream_gives_events_until_it_ends_and_knows_where_to_resume() {
    let router = Router::new().route(
        "/events/stream",
        get(|axum::extract::RawQuery(query): axum::extract::RawQuery| async move {
            assert_eq!(query.as_deref(), Some("type=system.*&after=40"));
            let events = format!(
                ": hello\n\nid: 41\nevent: system.query\ndata: {}\n\n: alive\n\nid: 42\ndata: {}\n\n",
                event(41),
                event(42)
            );
            // One byte at a time: an event is whole whichever way it was cut.
            let bytes = events.into_bytes().into_iter().map(|byte| Ok::<_, std::io::Error>(vec![byte]));
            let body = axum::body::Body::from_stream(futures_util::stream::iter(bytes));
            ([("content-type", "text/event-stream")], body)
        }),
    );
    let server = Server::axum(router);
    let filter =
        EventFilter { kind: Some("system.*".parse().unwrap()), after: Some(40), ..EventFilter::default() };
    let mut stream = server.client().events_stream(&filter).await.unwrap();
    assert_eq!(stream.last_id(), Some(40));
    assert_eq!(stream.next().await.unwrap().unwrap().id, 41);
    assert_eq!(stream.next().await.unwrap().unwrap().id, 42);
    assert_eq!(stream.last_id(), Some(42));
    assert!(stream.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_stream_that_is_no_stream_or_breaks_off_is_an_error() {
    let open = |server: &Server| {
        let client = server.client();
        async move { client.events_stream(&EventFilter::default()).await }
    };
    let Err(error) = open(&Server::saying(http("{}"))).await else { panic!("JSON is no event stream") };
    assert!(error.to_string().contains("media type"), "{error}");

    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let broken = Server::saying(format!("{head}10\r\ndata: 1"));
    let error = open(&broken).await.unwrap().next().await.unwrap_err();
    assert!(matches!(error, ClientError::Interrupted { .. }), "{error:?}");

    let nonsense = Server::saying(format!("{head}9\r\ndata: {{}}\n\r\n1\r\n\n\r\n0\r\n\r\n"));
    let error = open(&nonsense).await.unwrap().next().await.unwrap_err();
    assert!(error.to_string().contains("an event of the stream"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_from_the_socket_make_the_client_panic_or_hang(
        answer in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            "HTTP/1\\.1 [0-9]{3} [ -~]{0,20}\r\n([a-z-]{1,12}: [ -~]{0,20}\r\n){0,4}\r\n[ -~]{0,80}".prop_map(String::into_bytes),
        ]
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::saying(answer);
            let client = Client::with_options(ClientOptions {
                request_timeout: Duration::from_millis(500),
                ..server.options()
            });
            assert!(client.health().await.is_err());
            drop(client.query::<query::Health>(&query::health::Args {}).await);
            if let Ok(mut stream) = client.events_stream(&EventFilter::default()).await {
                drop(tokio::time::timeout(Duration::from_millis(100), stream.next()).await);
            }
        });
    }
}

fn change(status: &str) -> Value {
    json!({
        "id": 7, "status": status, "actor": "agent/main", "reason": "r", "created": "2026-01-02T03:04:05Z",
        "updated": "2026-01-02T03:04:05Z",
        "plan": { "summary": "s", "risk": "low", "undo": "exact", "steps": [], "hash": "0".repeat(64) },
    })
}

#[tokio::test]
async fn a_change_that_waits_is_an_answer_and_its_hash_is_sent_back() {
    use agentos_api::change::{DecideRequest, Decision, MutateRequest, Status};
    let accepted = || async { (axum::http::StatusCode::ACCEPTED, Json(change("waiting"))) };
    let decided = |Json(body): Json<Value>| async move {
        assert_eq!(body, json!({ "decision": "approve", "plan_hash": "0".repeat(64) }));
        Json(change("applied"))
    };
    let router = Router::new()
        .route("/system/mutate", axum::routing::post(accepted))
        .route("/approvals/7", axum::routing::post(decided));
    let server = Server::axum(router);
    let client = server.client();
    let request = MutateRequest { mutation: Some("file.write".to_owned()), ..MutateRequest::default() };
    let waiting = client.mutate(&request).await.unwrap();
    assert_eq!((waiting.id, waiting.status), (7, Status::Waiting));
    let yes = DecideRequest {
        decision: Decision::Approve,
        plan_hash: Some(waiting.plan.hash),
        reason: None,
        for_seconds: None,
    };
    assert_eq!(client.decide(7, &yes).await.unwrap().status, Status::Applied);
}

#[tokio::test]
async fn a_confirmation_always_goes_over_a_connection_of_its_own() {
    let confirmed = || async { Json(change("applied")) };
    let router = Router::new()
        .route("/openapi.json", get(|| async { Json(json!({"ok": 1})) }))
        .route("/changes/7/confirm", axum::routing::post(confirmed));
    let server = Server::axum(router);
    let client = server.client();
    client.openapi().await.unwrap();
    client.confirm(7).await.unwrap();
    client.confirm(7).await.unwrap();
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
}
