//! The stop: which signals begin it, what it waits for, and what it does not wait for.

use super::*;

/// Far above the time that a stop without a request in flight takes, and below the time-out for requests in flight.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_exit() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let body = json!({ "lease_id": lease().to_string(), "requirements": [{ "key": "nope", "amount": 1 }] })
        .to_string();
    // The service has half of the request when the stop signal arrives.
    let mut stream = TcpStream::connect(&server.address).expect("it listens");
    let head = format!(
        "POST /v1/reserve HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("it is sent");
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.send_sigterm();
    tokio::time::sleep(Duration::from_millis(100)).await;
    stream.write_all(body.as_bytes()).expect("it is sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("it is answered");
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(response.contains("unknown_limit_key:nope"), "{response}");
    server.assert_exits_with_0();
}

#[tokio::test]
async fn half_requests_and_unread_answers_do_not_delay_the_exit() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let open = |sent: &str| {
        let mut stream = TcpStream::connect(&server.address).expect("it listens");
        stream.write_all(sent.as_bytes()).expect("it is sent");
        stream
    };
    let silent = open("");
    let half_head = open("POST /v1/complete HTTP/1.1\r\nhost:");
    let half_body = open(
        "POST /v1/complete HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{",
    );
    let mut idle = open("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert!(idle.read(&mut [0; 1_024]).expect("an answer") > 0);
    // Thousands of answers, none of which is read: the service cannot write all of them.
    let unread = open(&"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(4_000));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    server.send_sigterm();
    server.assert_exits_with_0();
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
    drop((silent, half_head, half_body, idle, unread));
}

#[tokio::test]
async fn a_service_that_drains_answers_but_is_not_ready() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = program(folder.path());
    command.env("RATELIMITERD_SERVER_DRAIN_MS", "1500");
    let server = Server::start_by(command);
    let client = reqwest::Client::new();
    let status = async |path: &str| client.get(server.url(path)).send().await.expect("an answer").status();
    assert_eq!(status("/readyz").await, 200);
    let started = Instant::now();
    server.send_sigterm();
    while status("/readyz").await == 200 {
        assert!(started.elapsed() < Duration::from_millis(1_000), "it stays ready");
    }
    assert_eq!(status("/readyz").await, 503);
    assert_eq!(status("/healthz").await, 200);
    server.assert_exits_with_0();
    assert!(started.elapsed() >= Duration::from_millis(1_500), "{:?}", started.elapsed());
}

#[test]
fn a_hangup_stops_the_service_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    // The tests may run under nohup, and the service would inherit the ignored signal.
    let mut command = Command::new("/usr/bin/env");
    command.current_dir(folder.path()).stderr(Stdio::piped()).stdout(Stdio::piped());
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_ratelimiterd")]).env_clear();
    let server = Server::start_by(command);
    server.send_signal("HUP");
    server.assert_exits_with_0();
}

#[tokio::test]
async fn a_hangup_that_is_ignored_at_the_start_stays_ignored() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut nohup = Command::new("/bin/sh");
    nohup.current_dir(folder.path()).stderr(Stdio::piped()).stdout(Stdio::piped());
    nohup.args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_ratelimiterd")]).env_clear();
    let server = Server::start_by(nohup);
    server.send_signal("HUP");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let health = reqwest::get(server.url("/healthz")).await.expect("an answer");
    assert_eq!(health.status(), 200);
    server.send_sigterm();
    server.assert_exits_with_0();
}
