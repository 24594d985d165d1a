//! The listener for gateways.

use axum::body::Bytes;
use hyper::{Request, StatusCode};
use ledger_limiter::server::grpc::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use ledger_limiter::server::grpc::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use ledger_limiter::server::grpc::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use ledger_limiter::server::grpc::proto::envoy::service::ratelimit::v3::{
    RateLimitRequest, RateLimitResponse,
};
use prost::Message;
use tokio::net::TcpStream as AsyncStream;

use super::*;

const RULES: &str = "[[rule]]\ndomain = 'edge'\nentries = [{ key = 'user' }]\nlimit = 'rpm'\n";
/// A byte for the compression, and four for the length.
const FRAME_HEAD: usize = 5;

fn start(folder: &Path) -> Server {
    start_with(folder, &[])
}

fn start_with(folder: &Path, variables: &[(&str, &str)]) -> Server {
    std::fs::write(folder.join("rules.toml"), RULES).expect("it is written");
    let mut command = program(folder);
    command
        .env("RATELIMITERD_SERVER_GRPC_LISTEN_ADDR", LOOPBACK)
        .env("RATELIMITERD_GATEWAY_RULES", "rules.toml")
        .envs(variables.iter().copied());
    Server::start_by(command)
}

/// The message as gRPC frames it.
fn frame(message: &impl Message) -> Bytes {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).expect("short").to_be_bytes();
    [&[0][..], &length, &bytes].concat().into()
}

/// The answer to one call, and the gRPC status behind it.
async fn should_rate_limit(address: &str) -> (RateLimitResponse, String) {
    let entries = vec![Entry { key: "user".to_owned(), value: "ann".to_owned() }];
    let descriptors = vec![RateLimitDescriptor { entries, ..RateLimitDescriptor::default() }];
    let message = RateLimitRequest { domain: "edge".to_owned(), descriptors, hits_addend: 0 };
    let stream = AsyncStream::connect(address).await.expect("it listens");
    let (mut send, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
    let connection = tokio::spawn(connection);
    let url = "http://cluster/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
    let request = Request::post(url).header("content-type", "application/grpc").header("te", "trailers");
    let (answer, mut body) =
        send.send_request(request.body(()).expect("a request"), false).expect("it is sent");
    body.send_data(frame(&message), true).expect("it is sent");
    let answer = answer.await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let mut body = answer.into_body();
    let bytes = body.data().await.expect("a body").expect("a body");
    let trailers = body.trailers().await.expect("trailers").expect("trailers");
    connection.abort();
    let status = trailers["grpc-status"].to_str().expect("text").to_owned();
    (RateLimitResponse::decode(&bytes[FRAME_HEAD..]).expect("a message"), status)
}

#[tokio::test]
async fn gateways_have_a_listener_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path());
    let client = reqwest::Client::new();
    let limit = json!({ "key": "rpm", "kind": "rolling", "capacity": 1, "window_seconds": 60 });
    client.put(server.url("/v1/admin/limits")).json(&limit).send().await.expect("an answer");
    let address = server.grpc_address.clone().expect("it is logged");
    for expected in [Code::Ok, Code::OverLimit] {
        let (answer, status) = should_rate_limit(&address).await;
        assert_eq!((answer.overall_code(), status.as_str()), (expected, "0"));
    }
    let answer = client.get(format!("http://{address}/v1/admin/limits")).send().await.expect("an answer");
    assert_eq!(answer.status(), 505, "the HTTP API is elsewhere");
    server.send_sigterm();
    server.assert_exits_with_0();
}

/// Cancels calls until the connection ends, and returns how many it cancelled; at most 200.
async fn cancelled_until_closed(address: &str) -> usize {
    let stream = AsyncStream::connect(address).await.expect("it listens");
    let (mut send, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
    let connection = tokio::spawn(connection);
    let mut cancelled = 0;
    while let (true, Ok(ready)) = (cancelled < 200, send.clone().ready().await) {
        send = ready;
        let url = "http://cluster/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
        let request =
            Request::post(url).header("content-type", "application/grpc").body(()).expect("a request");
        // Its body never comes, so that the service waits when the call is cancelled.
        let Ok((answer, mut stream)) = send.send_request(request, false) else { break };
        tokio::time::sleep(Duration::from_millis(2)).await;
        stream.send_reset(h2::Reason::CANCEL);
        drop(answer);
        cancelled += 1;
    }
    connection.abort();
    cancelled
}

#[tokio::test]
async fn a_gateway_may_cancel_more_calls_than_another_client() {
    let folder = tempfile::tempdir().expect("a folder");
    let few = ("RATELIMITERD_CONNECTIONS_HTTP2_RESETS_MAX", "1");
    for (variables, expected) in
        [(&[few][..], 200..=200), (&[few, ("RATELIMITERD_GATEWAY_HTTP2_RESETS_MAX", "20")], 20..=100)]
    {
        let server = start_with(folder.path(), variables);
        let address = server.grpc_address.clone().expect("it is logged");
        let cancelled = cancelled_until_closed(&address).await;
        assert!(expected.contains(&cancelled), "{cancelled} with {variables:?}");
    }
}

#[test]
fn rules_that_cannot_be_used_stop_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("bad.toml"), RULES.replace("rpm", "r p m")).expect("it is written");
    let listen = ["--server-grpc-listen-addr", LOOPBACK];
    for (arguments, cause) in [
        (&["--gateway-rules", "missing.toml"][..], "cannot read missing.toml (gateway.rules)"),
        (
            &["--gateway-rules", "bad.toml"],
            "bad.toml (gateway.rules): rule 1: limit \"r p m\" must not hold ' '",
        ),
        (&[], "setting gateway.rules: must name the file of rules"),
    ] {
        let serve = ["serve", "--server-backend", "memory", "--server-listen-addr", LOOPBACK];
        let error = error_of(folder.path(), &[&serve[..], &listen, arguments].concat(), &[]);
        assert!(error.contains(cause), "{arguments:?}: {error}");
    }
    let error = error_of(folder.path(), &["check-config", "--gateway-rules", "rules.toml"], &[]);
    assert!(error.contains("setting gateway.rules: needs a listener for gateways"), "{error}");
}

#[tokio::test]
async fn a_connection_ends_at_its_age() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = program(folder.path());
    command.env("RATELIMITERD_CONNECTIONS_MAX_AGE_SECONDS", "1");
    let server = Server::start_by(command);
    let stream = AsyncStream::connect(&server.address).await.expect("it listens");
    let (_send, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
    let started = Instant::now();
    tokio::time::timeout(Duration::from_secs(30), connection)
        .await
        .expect("it ends")
        .expect("without an error");
    assert!(started.elapsed() >= Duration::from_millis(900), "it ended after {:?}", started.elapsed());
}
