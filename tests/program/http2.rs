//! HTTP/2 without TLS, by clients that know that the service speaks it, and what its clients can hold.

use axum::body::Bytes;
use h2::client::SendRequest;
use hyper::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream as AsyncStream;
use tokio::task::JoinHandle;

use super::bounds::{SHORT_MS, SOON, start, until};
use super::*;

/// The preface of a client and its empty settings.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
/// `:method GET`, `:scheme http`, `:path /`, `:authority localhost`, compressed by the static table.
pub(super) const HEADER_BLOCK: &[u8] = b"\x82\x86\x84\x41\x09localhost";

async fn connect(server: &Server) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let stream = AsyncStream::connect(&server.address).await.expect("it listens");
    let (send, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
    (send, tokio::spawn(connection))
}

fn reserve(body_length: usize) -> Request<()> {
    Request::post("http://localhost/v1/reserve")
        .header("content-type", "application/json")
        .header("content-length", body_length)
        .body(())
        .expect("a request")
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Writes until the service closes the connection, and returns how many bytes it took.
async fn written_until_closed(server: &Server, mut next: impl FnMut(u32) -> Vec<u8>) -> usize {
    let stream = AsyncStream::connect(&server.address).await.expect("it listens");
    let (mut reader, mut writer) = stream.into_split();
    let reading = tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
    writer.write_all(PREFACE).await.expect("it is sent");
    let mut written = 0;
    for index in 0_u32.. {
        let bytes = next(index);
        let sent = tokio::time::timeout(SOON, writer.write_all(&bytes)).await.expect("it reads or closes");
        if sent.is_err() || reading.is_finished() {
            break;
        }
        written += bytes.len();
        assert!(written < 64 << 20, "the connection stays open");
    }
    written
}

#[tokio::test]
async fn requests_and_bodies_go_over_http2_without_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let (send, _connection) = connect(&server).await;
    let body = json!({ "lease_id": lease().to_string(), "requirements": [{ "key": "no", "amount": 1 }] });
    let body = Bytes::from(body.to_string());
    for _ in 0..300 {
        let mut send = send.clone().ready().await.expect("it is open");
        let (answer, mut stream) = send.send_request(reserve(body.len()), false).expect("it is sent");
        stream.send_data(body.clone(), true).expect("it is sent");
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        let read = answer.into_body().data().await.expect("a body").expect("a body");
        assert!(read.starts_with(b"{\"allowed\":false"), "{read:?}");
    }
}

#[tokio::test]
async fn an_unfinished_body_of_http2_is_answered_408_and_the_connection_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[("connections.body_timeout_ms", SHORT_MS)]);
    let (send, _connection) = connect(&server).await;
    let mut send = send.ready().await.expect("it is open");
    let (answer, _stream) = send.send_request(reserve(99), false).expect("it is sent");
    assert_eq!(answer.await.expect("an answer").status(), StatusCode::REQUEST_TIMEOUT);
    let mut send = send.ready().await.expect("it is open");
    let health = Request::get("http://localhost/healthz").body(()).expect("a request");
    let (answer, _) = send.send_request(health, true).expect("it is sent");
    assert_eq!(answer.await.expect("an answer").status(), StatusCode::OK);
}

#[tokio::test]
async fn an_answer_of_http2_that_is_not_read_ends_the_connection() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[("connections.write_timeout_ms", SHORT_MS)]);
    let stream = AsyncStream::connect(&server.address).await.expect("it listens");
    // No window for the bytes of any answer. The connection itself is read.
    let (send, connection) = h2::client::Builder::new()
        .initial_window_size(0)
        .handshake::<_, Bytes>(stream)
        .await
        .expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let mut send = send.ready().await.expect("it is open");
    let request = Request::get("http://localhost/metrics").body(()).expect("a request");
    let (answer, _) = send.send_request(request, true).expect("it is sent");
    let answer = answer.await.expect("the head of an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    tokio::time::timeout(SOON, connection).await.expect("it is closed").expect("it runs").ok();
    let server = tokio::task::spawn_blocking(move || {
        server.until_struck("write_time", 1);
        server
    });
    server.await.expect("it is struck");
}

#[tokio::test]
async fn an_idle_connection_of_http2_is_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[("connections.idle_timeout_ms", SHORT_MS)]);
    let (_send, connection) = connect(&server).await;
    tokio::time::timeout(SOON, connection).await.expect("it is closed").expect("it runs").ok();
}

#[tokio::test]
async fn requests_that_are_cancelled_at_once_end_the_connection() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let written = written_until_closed(&server, |index| {
        let stream = 2 * index + 1;
        let mut bytes = frame(HEADERS, END_STREAM | END_HEADERS, stream, HEADER_BLOCK);
        bytes.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        bytes
    })
    .await;
    assert!(written < 8 << 20, "{written} bytes");
}

#[tokio::test]
async fn requests_that_are_cancelled_while_they_are_carried_out_end_the_connection() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[("connections.http2_resets_max", "50")]);
    let (mut send, connection) = connect(&server).await;
    let mut cancelled = 0;
    while let Ok(ready) = send.clone().ready().await {
        send = ready;
        // Its body never comes, so that the service waits when the request is cancelled.
        let Ok((answer, mut stream)) = send.send_request(reserve(99), false) else { break };
        tokio::time::sleep(Duration::from_millis(2)).await;
        stream.send_reset(h2::Reason::CANCEL);
        drop(answer);
        cancelled += 1;
        assert!(cancelled < 5_000, "the connection stays open");
    }
    assert!(cancelled >= 50, "{cancelled}");
    tokio::time::timeout(SOON, connection).await.expect("it is closed").expect("it runs").ok();
    tokio::task::spawn_blocking(move || assert_eq!(server.struck("http2_resets"), 1))
        .await
        .expect("it is struck");
}

#[tokio::test]
async fn headers_without_an_end_end_the_connection() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let written = written_until_closed(&server, |index| match index {
        0 => frame(HEADERS, END_STREAM, 1, HEADER_BLOCK),
        // A literal header without an index, `a: b`.
        _ => frame(CONTINUATION, 0, 1, b"\0\x01a\x01b"),
    })
    .await;
    assert!(written < 8 << 20, "{written} bytes");
}

#[tokio::test]
async fn no_more_requests_of_one_connection_are_served_at_a_time_than_the_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[("connections.http2_streams_max", "3")]);
    let mut stream = AsyncStream::connect(&server.address).await.expect("it listens");
    stream.write_all(PREFACE).await.expect("it is sent");
    // Bodies that never come. The fourth is refused.
    for index in 0..4 {
        let post = b"\x83\x86\x44\x0b/v1/reserve\x41\x09localhost\x0f\x10\x10application/json";
        stream.write_all(&frame(HEADERS, END_HEADERS, 2 * index + 1, post)).await.expect("it is sent");
    }
    let mut read = Vec::new();
    let refused = frame(RST_STREAM, 0, 7, &[0, 0, 0, 7]);
    while !read.windows(refused.len()).any(|window| window == refused) {
        let length = tokio::time::timeout(SOON, stream.read_buf(&mut read)).await;
        assert!(length.expect("the stream is refused").expect("it is open") > 0, "{read:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_read_ends_the_connection_also_if_others_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[("connections.write_timeout_ms", SHORT_MS)]);
    let stream = AsyncStream::connect(&server.address).await.expect("it listens");
    // A window for the answer to a health check, not for the metrics.
    let (mut send, connection) = h2::client::Builder::new()
        .initial_window_size(100)
        .handshake::<_, Bytes>(stream)
        .await
        .expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let request = |path: &str| Request::get(format!("http://localhost{path}")).body(()).expect("a request");
    let (unread, _) = send.send_request(request("/metrics"), true).expect("it is sent");
    let unread = unread.await.expect("the head of an answer");
    let started = Instant::now();
    while let Ok(ready) = send.clone().ready().await {
        assert!(started.elapsed() < SOON, "the connection stays open");
        send = ready;
        let Ok((answer, _)) = send.send_request(request("/healthz"), true) else { break };
        let Ok(answer) = answer.await else { break };
        answer.into_body().data().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    connection.await.expect("it runs").ok();
    drop(unread);
}

#[tokio::test]
async fn a_client_of_http2_that_ignores_the_stop_does_not_delay_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let mut stream = AsyncStream::connect(&server.address).await.expect("it listens");
    stream.write_all(PREFACE).await.expect("it is sent");
    assert!(stream.read_buf(&mut Vec::new()).await.expect("settings") > 0);
    let started = Instant::now();
    server.send_sigterm();
    server.assert_exits_with_0();
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

#[test]
fn half_a_preface_ends_the_connection() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[("connections.head_timeout_ms", SHORT_MS)]);
    let half = server.send("PRI");
    until(|| server.struck("head_time") == 1, "it is closed");
    drop(half);
}
