//! The webhook of crossed thresholds: receivers that take events, fail, hang, redirect, or are not there.

mod example;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::fixtures::eventually;

const SECRET: &str = "a secret of the tests";
const SOON: Duration = Duration::from_secs(30);
const TIMEOUT_MS: &str = "300";

/// How a receiver treats a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    Answer(u16),
    Redirect,
    /// It takes the request, and answers a long while later.
    Hang,
    AnswerAfter(Duration),
}

/// A request: its path, headers and body.
type Request = (String, HeaderMap, Bytes);

/// A receiver on a port of its own.
struct Receiver {
    address: SocketAddr,
    requests: UnboundedReceiver<Request>,
}

#[derive(Clone)]
struct Script {
    /// Behind the last one, requests are answered 204.
    treatments: Arc<Mutex<VecDeque<Treatment>>>,
    requests: UnboundedSender<Request>,
}

impl Receiver {
    async fn start(treatments: &[Treatment]) -> Self {
        Self::start_on(tokio::net::TcpListener::bind(LOOPBACK).await.expect("a port"), treatments)
    }

    fn start_on(listener: tokio::net::TcpListener, treatments: &[Treatment]) -> Self {
        let (sender, requests) = unbounded_channel();
        let treatments = Arc::new(Mutex::new(treatments.iter().copied().collect()));
        let script = Script { treatments, requests: sender };
        let router = Router::new().fallback(treat).with_state(script);
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { address, requests }
    }

    async fn next(&mut self) -> Request {
        tokio::time::timeout(SOON, self.requests.recv()).await.expect("an event").expect("it runs")
    }

    /// The next event, whose signature is checked.
    async fn event(&mut self) -> Value {
        let (path, headers, body) = self.next().await;
        assert_eq!(
            (path.as_str(), &headers["content-type"]),
            ("/hook/7?q=1", &"application/json".parse().expect("text"))
        );
        assert!(is_signed(&headers, &body, SECRET), "{headers:?}");
        let event: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(headers["x-ratelimiterd-event"], event["id"].as_str().expect("an id"));
        event
    }

    fn assert_no_more(&mut self) {
        assert!(self.requests.try_recv().is_err(), "no further request");
    }
}

async fn treat(State(script): State<Script>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    script.requests.send((uri.to_string(), headers, body)).ok();
    let treatment = script.treatments.lock().expect("no test panics while it holds the lock").pop_front();
    match treatment.unwrap_or(Treatment::Answer(204)) {
        Treatment::Answer(status) => StatusCode::from_u16(status).expect("a status").into_response(),
        Treatment::Redirect => (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, "/elsewhere")]).into_response(),
        Treatment::Hang => std::future::pending().await,
        Treatment::AnswerAfter(time) => {
            tokio::time::sleep(time).await;
            StatusCode::OK.into_response()
        }
    }
}

/// As a receiver verifies it.
fn is_signed(headers: &HeaderMap, body: &[u8], secret: &str) -> bool {
    let header = headers["x-ratelimiterd-signature"].to_str().expect("text");
    let (time, signature) = header.split_once(",v1=").expect("two parts");
    let time = time.strip_prefix("t=").expect("a time");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    assert!(time.parse::<u64>().expect("a number").abs_diff(now) < 60, "{time}");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let bytes: Vec<u8> = (0..signature.len() / 2)
        .map(|index| u8::from_str_radix(&signature[2 * index..2 * index + 2], 16).expect("hex"))
        .collect();
    ring::hmac::verify(&key, &[time.as_bytes(), b".", body].concat(), &bytes).is_ok()
}

pub(super) fn write_secret(folder: &Path) -> PathBuf {
    let path = folder.join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).expect("it is written");
    path
}

/// A service that posts events to a receiver, and a limit of 100. The variables are settings of `alerts.*`.
async fn service(folder: &Path, to: SocketAddr, variables: &[(&str, &str)]) -> Server {
    let mut command = program(folder);
    command
        .env("RATELIMITERD_ALERTS_WEBHOOK_URL", format!("http://{to}/hook/7?q=1"))
        .env("RATELIMITERD_ALERTS_WEBHOOK_SECRET_PATH", write_secret(folder))
        .env("RATELIMITERD_ALERTS_LOOK_INTERVAL_MS", "100")
        .env("RATELIMITERD_ALERTS_WEBHOOK_RETRY_MS", "10")
        .env("RATELIMITERD_ALERTS_WEBHOOK_TIMEOUT_MS", TIMEOUT_MS);
    command.envs(variables.iter().map(|(name, value)| (format!("RATELIMITERD_ALERTS_{name}"), value)));
    let server = Server::start_by(command);
    put_limit(&server).await;
    server
}

pub(super) async fn put_limit(server: &Server) {
    let limit = json!({ "key": "tpm", "kind": "rolling", "capacity": 100, "window_seconds": 3_600,
        "unit": "token", "alerts": [50, 80, 100] });
    let put = reqwest::Client::new().put(server.url("/v1/admin/limits")).json(&limit).send().await;
    assert_eq!(put.expect("an answer").status(), 200);
}

pub(super) async fn take(server: &Server, units: u64) {
    let body =
        json!({ "lease_id": lease().to_string(), "requirements": [{ "key": "tpm", "amount": units }] });
    let answer = reqwest::Client::new().post(server.url("/v1/reserve")).json(&body).send().await;
    let answer: Value = answer.expect("an answer").json().await.expect("JSON");
    assert_eq!(answer["allowed"], json!(true), "{answer}");
}

/// Waits until a metric has a value.
async fn metric(server: &Server, line: &str) {
    eventually(line, SOON, || async {
        let text = reqwest::get(server.url("/metrics")).await.expect("an answer").text().await.expect("text");
        text.lines().any(|found| found == line)
    })
    .await;
}

#[tokio::test]
async fn an_event_is_posted_and_signed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut receiver = Receiver::start(&[]).await;
    let server = service(folder.path(), receiver.address, &[]).await;
    take(&server, 81).await;
    let (first, second) = (receiver.event().await, receiver.event().await);
    assert_eq!((&first["threshold_percent"], &second["threshold_percent"]), (&json!(50), &json!(80)));
    assert_ne!(first["id"], second["id"]);
    let mut event = second;
    let seen_at_ms = event["seen_at_unix_ms"].as_u64().expect("a time");
    assert!(seen_at_ms > 1_700_000_000_000, "{event}");
    let fields = event.as_object_mut().expect("an object");
    fields.remove("id");
    fields.remove("seen_at_unix_ms");
    assert_eq!(
        event,
        json!({ "event": "threshold_crossed", "key": "tpm", "threshold_percent": 80, "capacity": 100,
            "used": 81, "available": 19, "unit": "token", "enforce": true })
    );
    metric(&server, "ratelimiterd_alert_events_total{outcome=\"delivered\"} 2").await;
    metric(&server, "ratelimiterd_alerts_total{threshold_percent=\"80\"} 1").await;
    metric(&server, "ratelimiterd_alerts_queued 0").await;
    receiver.assert_no_more();
}

#[tokio::test]
async fn an_event_is_posted_again_until_it_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let treatments =
        [Treatment::Answer(500), Treatment::Answer(429), Treatment::Hang, Treatment::Answer(200)];
    let mut receiver = Receiver::start(&treatments).await;
    let server = service(folder.path(), receiver.address, &[]).await;
    take(&server, 50).await;
    let first = receiver.event().await;
    for _ in 1..treatments.len() {
        assert_eq!(receiver.event().await, first, "the same event");
    }
    metric(&server, "ratelimiterd_alert_events_total{outcome=\"delivered\"} 1").await;
    metric(&server, "ratelimiterd_alert_retries_total 3").await;
    receiver.assert_no_more();
}

#[tokio::test]
async fn an_event_is_given_up_after_its_last_attempt_and_the_next_follows() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut receiver = Receiver::start(&[Treatment::Answer(503); 3]).await;
    let server = service(folder.path(), receiver.address, &[("WEBHOOK_ATTEMPTS_MAX", "3")]).await;
    take(&server, 80).await;
    for percent in [50, 50, 50, 80] {
        assert_eq!(receiver.event().await["threshold_percent"], json!(percent));
    }
    metric(&server, "ratelimiterd_alert_events_total{outcome=\"gave_up\"} 1").await;
    metric(&server, "ratelimiterd_alert_events_total{outcome=\"delivered\"} 1").await;
}

#[tokio::test]
async fn a_refusal_is_final_and_no_redirect_is_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut receiver = Receiver::start(&[Treatment::Redirect, Treatment::Answer(410)]).await;
    let server = service(folder.path(), receiver.address, &[]).await;
    take(&server, 100).await;
    for percent in [50, 80, 100] {
        // Each event checks that it is posted to the path of the settings.
        assert_eq!(receiver.event().await["threshold_percent"], json!(percent));
    }
    metric(&server, "ratelimiterd_alert_events_total{outcome=\"refused\"} 2").await;
    metric(&server, "ratelimiterd_alert_events_total{outcome=\"delivered\"} 1").await;
    receiver.assert_no_more();
}

#[tokio::test]
async fn a_receiver_that_starts_later_gets_the_event() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind(LOOPBACK).expect("a port");
    let address = taken.local_addr().expect("it is bound");
    drop(taken);
    let server = service(folder.path(), address, &[("WEBHOOK_ATTEMPTS_MAX", "1000")]).await;
    take(&server, 50).await;
    metric(&server, "ratelimiterd_alerts_queued 1").await;
    let listener = tokio::net::TcpListener::bind(address).await.expect("the port is free");
    let mut receiver = Receiver::start_on(listener, &[]);
    assert_eq!(receiver.event().await["threshold_percent"], json!(50));
}

#[tokio::test]
async fn events_above_the_queue_are_counted_and_callers_do_not_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::start(&[Treatment::Hang; 100]).await;
    let settings = [("QUEUE_MAX", "1"), ("WEBHOOK_TIMEOUT_MS", "60000")];
    let server = service(folder.path(), receiver.address, &settings).await;
    take(&server, 50).await;
    metric(&server, "ratelimiterd_alerts_queued 1").await;
    let started = Instant::now();
    take(&server, 50).await;
    metric(&server, "ratelimiterd_alert_events_total{outcome=\"dropped\"} 1").await;
    metric(&server, "ratelimiterd_alerts_queued 2").await;
    metric(&server, "ratelimiterd_alerts_total{threshold_percent=\"100\"} 1").await;
    assert!(started.elapsed() < SOON);
}

#[tokio::test]
async fn a_stop_posts_what_is_queued() {
    let folder = tempfile::tempdir().expect("a folder");
    let slow = Treatment::AnswerAfter(Duration::from_millis(100));
    let mut receiver = Receiver::start(&[slow; 3]).await;
    let server = service(folder.path(), receiver.address, &[]).await;
    take(&server, 100).await;
    assert_eq!(receiver.event().await["threshold_percent"], json!(50));
    server.send_sigterm();
    assert_eq!(receiver.event().await["threshold_percent"], json!(80));
    assert_eq!(receiver.event().await["threshold_percent"], json!(100));
    tokio::task::spawn_blocking(move || server.assert_exits_with_0()).await.expect("it ends");
}

#[tokio::test]
async fn a_receiver_that_hangs_does_not_keep_the_service_from_stopping() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut receiver = Receiver::start(&[Treatment::Hang; 100]).await;
    let server = service(folder.path(), receiver.address, &[("WEBHOOK_TIMEOUT_MS", "60000")]).await;
    take(&server, 100).await;
    receiver.event().await;
    let started = Instant::now();
    server.send_sigterm();
    tokio::task::spawn_blocking(move || server.assert_exits_with_0()).await.expect("it ends");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn without_a_webhook_events_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    put_limit(&server).await;
    take(&server, 80).await;
    metric(&server, "ratelimiterd_alerts_total{threshold_percent=\"50\"} 1").await;
    metric(&server, "ratelimiterd_alerts_total{threshold_percent=\"80\"} 1").await;
}

#[tokio::test]
async fn the_log_shows_neither_the_secret_nor_the_path_of_the_webhook() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut receiver =
        Receiver::start(&[Treatment::Answer(500), Treatment::Answer(400), Treatment::Hang]).await;
    let mut command = program(folder.path());
    command
        .env("RATELIMITERD_ALERTS_WEBHOOK_URL", format!("http://{}/hook/7?q=1", receiver.address))
        .env("RATELIMITERD_ALERTS_WEBHOOK_SECRET_PATH", write_secret(folder.path()))
        .env("RATELIMITERD_ALERTS_WEBHOOK_TIMEOUT_MS", "60000");
    let (server, log) = Server::spawn(command, "trace,hyper_util=trace", LOOPBACK);
    let log = std::thread::spawn(move || log.map(|line| line.to_string()).collect::<Vec<String>>());
    put_limit(&server).await;
    take(&server, 100).await;
    for _ in 0..3 {
        receiver.event().await;
    }
    server.send_sigterm();
    tokio::task::spawn_blocking(move || server.assert_exits_with_0()).await.expect("it ends");
    let lines = log.join().expect("it is read");
    assert!(lines.iter().any(|line| line.contains("the receiver of alerts refused one")), "it says so");
    for hidden in ["hook/7", SECRET] {
        let shows = lines.iter().find(|line| line.contains(hidden));
        assert_eq!(shows, None, "{hidden}");
    }
}

#[test]
fn a_secret_that_cannot_be_used_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let short = folder.path().join("short");
    std::fs::write(&short, "0123456789\n").expect("it is written");
    let serve = ["serve", "--server-backend", "memory", "--server-listen-addr", LOOPBACK];
    for (path, error) in [("missing", "cannot read the secret"), ("short", "at least 16 bytes long")] {
        let path = folder.path().join(path);
        let variables = [
            ("RATELIMITERD_ALERTS_WEBHOOK_URL", "http://127.0.0.1:1/"),
            ("RATELIMITERD_ALERTS_WEBHOOK_SECRET_PATH", path.to_str().expect("text")),
        ];
        let actual = error_of(folder.path(), &serve, &variables);
        assert!(actual.contains(error) && actual.contains("alerts.webhook_secret_path"), "{actual}");
        assert!(!actual.contains("0123456789"), "{actual}");
    }
}
