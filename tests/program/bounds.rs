//! What clients can hold: connections, time, bytes and file descriptors.

use super::*;

/// The time-out that a test is about.
pub(super) const SHORT_MS: &str = "400";
/// Far above every short time-out, and far below the defaults.
pub(super) const SOON: Duration = Duration::from_secs(5);

/// A service with these settings.
pub(super) fn start(folder: &Path, settings: &[(&str, &str)]) -> Server {
    let mut command = program(folder);
    for (name, value) in settings {
        command.env(format!("RATELIMITERD_{}", name.replace('.', "_").to_uppercase()), value);
    }
    Server::start_by(command)
}

impl Server {
    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(SOON)).expect("a time-out");
        stream
    }

    pub(super) fn send(&self, bytes: &str) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(bytes.as_bytes()).expect("it is sent");
        stream
    }

    /// The whole answer to a `GET` on a connection of its own.
    pub(super) fn get_once(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        read_all(self.send(&request)).0
    }

    pub(super) fn assert_answers(&self) {
        let answer = self.get_once("/healthz");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    }

    /// How often a bound was struck.
    pub(super) fn struck(&self, bound: &str) -> u64 {
        self.metric(&format!("ratelimiterd_bounds_struck_total{{bound=\"{bound}\"}} "))
    }

    pub(super) fn connections(&self) -> u64 {
        self.metric("ratelimiterd_connections ")
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.get_once("/metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
    }

    /// Waits until a bound was struck this often.
    pub(super) fn until_struck(&self, bound: &str, times: u64) {
        until(|| self.struck(bound) >= times, &format!("{bound} is struck {times} times"));
    }
}

pub(super) fn until(condition: impl Fn() -> bool, what: &str) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < SOON, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Everything until the end of the connection, and how long it took.
pub(super) fn read_all(mut stream: TcpStream) -> (String, Duration) {
    let started = Instant::now();
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        // The service closed a connection on which it had not read everything.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection stays open: {error}"),
    }
    (String::from_utf8_lossy(&bytes).into_owned(), started.elapsed())
}

fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("it is set");
    let read = stream.read(&mut [0; 64]);
    stream.set_nonblocking(false).expect("it is set");
    match read {
        Ok(length) => length == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

/// A reserve whose body is announced as this long.
fn head_of_reserve(length: usize) -> String {
    format!(
        "POST /v1/reserve HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

#[test]
fn half_a_head_ends_the_connection_also_if_more_of_it_keeps_arriving() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[("connections.head_timeout_ms", SHORT_MS)]);
    let silent = server.send("GET /healthz HTTP/1.1\r\nhost:");
    let mut slow = server.send("GET /healthz HTTP/1.1\r\nx: ");
    let started = Instant::now();
    while slow.write_all(b"a").is_ok() {
        assert!(started.elapsed() < SOON, "a byte now and then keeps the connection");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(started.elapsed() >= Duration::from_millis(400), "{:?}", started.elapsed());
    assert_eq!(read_all(silent).0, "");
    assert_eq!(server.struck("head_time"), 2);
}

#[test]
fn half_a_body_is_answered_408_and_ends_the_connection() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[("connections.body_timeout_ms", SHORT_MS)]);
    for sent in [
        head_of_reserve(99),
        head_of_reserve(99) + "{",
        "POST /v1/reserve HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"
            .to_owned(),
    ] {
        let (answer, _) = read_all(server.send(&sent));
        assert!(answer.starts_with("HTTP/1.1 408"), "{sent}: {answer:?}");
        assert!(answer.contains("\"error\":\"body_timeout\""), "{answer}");
    }
    assert_eq!(server.struck("body_time"), 3);
}

#[test]
fn an_idle_connection_is_closed_and_one_with_requests_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[("connections.idle_timeout_ms", SHORT_MS)]);
    let (silent, mut used) = (server.connect(), server.connect());
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(1_200) {
        used.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("it is open");
        assert!(used.read(&mut [0; 1_024]).expect("an answer") > 0);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(read_all(silent).0, "");
    let (_, waited) = read_all(used);
    assert!(waited >= Duration::from_millis(300), "{waited:?}");
    assert_eq!(server.struck("idle_time"), 2);
}

#[test]
fn a_client_that_does_not_read_is_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[("connections.write_timeout_ms", SHORT_MS)]);
    // More answers than the buffers of both kernels take.
    let unread = server.send(&"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(4_000));
    server.until_struck("write_time", 1);
    until(|| server.connections() == 1, "the connection is closed");
    drop(unread);
}

#[test]
fn a_body_that_is_announced_too_long_is_refused_before_it_is_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[]);
    let mut stream = server.send(&head_of_reserve(1024 * 1024 + 1));
    let mut answer = [0; 1_024];
    let length = stream.read(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // A client that sends all of it nevertheless can go on.
    stream.write_all(" ".repeat(1024 * 1024 + 1).as_bytes()).expect("it is read");
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .expect("it is read");
    let (answer, _) = read_all(stream);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(server.struck("body_length"), 1);
}

#[test]
fn a_client_that_waits_to_be_asked_for_a_refused_body_is_not_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[]);
    let head = head_of_reserve(1024 * 1024 + 1);
    let head = head.replace("host: localhost\r\n", "host: localhost\r\nexpect: 100-continue\r\n");
    let (answer, _) = read_all(server.send(&head));
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[test]
fn long_heads_and_many_headers_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("connections.header_bytes_max", "2048"), ("connections.headers_max", "10")];
    let server = start(folder.path(), &settings);
    let with =
        |headers: &str| {
            read_all(server.send(&format!(
                "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n"
            )))
            .0
        };
    assert!(with(&"a: b\r\n".repeat(8)).starts_with("HTTP/1.1 200"));
    let answer = with(&"a: b\r\n".repeat(9));
    assert!(answer.starts_with("HTTP/1.1 431") && answer.contains("too_many_headers"), "{answer}");
    assert!(with(&format!("a: {}\r\n", "b".repeat(3_000))).starts_with("HTTP/1.1 431"));
    assert_eq!(server.struck("headers"), 1);
}

#[test]
fn unfinished_bodies_hold_no_more_than_their_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[("connections.body_bytes_max", "100000")]);
    let part = " ".repeat(60_000);
    let mut first = server.send(&head_of_reserve(60_001));
    first.write_all(part.as_bytes()).expect("it is sent");
    std::thread::sleep(Duration::from_millis(200));
    let (answer, _) = {
        let mut second =
            server.send(&head_of_reserve(60_001).replace("host: ", "connection: close\r\nhost: "));
        second.write_all(part.as_bytes()).expect("it is sent");
        second.write_all(b" ").expect("it is sent");
        read_all(second)
    };
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\"overloaded\""), "{answer}");
    assert!(answer.contains("retry-after: 1"), "{answer}");
    server.until_struck("body_bytes", 1);
    // The first has what it holds, and what it hands back is there again.
    first.write_all(b" ").expect("it is sent");
    let mut answer = [0; 1_024];
    let length = first.read(&mut answer).expect("an answer");
    assert!(answer[..length].starts_with(b"HTTP/1.1 400"), "an empty body is no reserve");
    let mut third = server.send(&head_of_reserve(60_001));
    third.write_all(part.as_bytes()).expect("it is sent");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(server.struck("body_bytes"), 1);
}

#[test]
fn unread_answers_hold_no_more_than_their_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[("connections.answer_bytes_max", "1000")]);
    let limits: String = (0..400)
        .map(|n| {
            let body =
                json!({ "key": format!("limit-{n}"), "kind": "rolling", "capacity": 1, "window_seconds": 1 });
            put_limit(&body)
        })
        .collect();
    let mut admin = server.send(&limits);
    admin.shutdown(std::net::Shutdown::Write).expect("it is closed");
    let mut answers = String::new();
    admin.read_to_string(&mut answers).expect("answers");
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 400);
    let answer = server.get_once("/v1/admin/limits");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\"overloaded\""), "{answer}");
    assert_eq!(server.struck("answer_bytes"), 1);
    server.assert_answers();
}

pub(super) fn put_limit(limit: &Value) -> String {
    let body = limit.to_string();
    let length = body.len();
    format!(
        "PUT /v1/admin/limits HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

#[test]
fn a_peer_has_at_most_its_share_of_connections() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[("connections.max_per_peer", "3")]);
    let mut held: Vec<_> = (0..3).map(|_| server.connect()).collect();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(read_all(server.connect()).0, "");
    held.pop();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(server.struck("peer_connections"), 1);
}

#[test]
fn a_new_connection_takes_the_place_of_one_that_does_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[("connections.max", "8")]);
    let mut idle: Vec<_> = (0..8).map(|_| server.connect()).collect();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(read_all(server.connect()).0, "", "the others are young");
    // The check of all connections runs every second.
    std::thread::sleep(Duration::from_millis(3_200));
    server.assert_answers();
    let displaced = server.struck("displaced");
    assert!((1..=2).contains(&displaced), "{displaced} for two new connections");
    assert_eq!(server.struck("connections"), 1);
    let closed = idle.iter_mut().map(is_closed).filter(|is_closed| *is_closed).count();
    assert!((1..=4).contains(&closed), "{closed} for four new connections");
}

/// As many connections as `IDLE_CONNECTIONS` says do nothing, 1,000 if it is not set. The long form is 10,000.
#[test]
fn many_idle_connections_harm_nobody() {
    let count = std::env::var("IDLE_CONNECTIONS").map_or(1_000, |count| count.parse().expect("a number"));
    rlimit::increase_nofile_limit(count as u64 + 2_000).expect("enough file descriptors");
    let folder = tempfile::tempdir().expect("a folder");
    let max = (count + 100).to_string();
    let server = start(folder.path(), &[("connections.max", &max), ("connections.max_per_peer", &max)]);
    let idle: Vec<_> = (0..count).map(|_| server.connect()).collect();
    until(|| server.connections() > count as u64, "all are open");
    let started = Instant::now();
    for _ in 0..100 {
        server.assert_answers();
    }
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    server.send_sigterm();
    server.assert_exits_with_0();
    drop(idle);
}

#[test]
fn few_file_descriptors_do_not_lock_anybody_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut limited = Command::new("/bin/sh");
    limited.current_dir(folder.path()).stderr(Stdio::piped()).stdout(Stdio::piped()).env_clear();
    limited.args(["-c", "ulimit -n 64; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_ratelimiterd")]);
    let server = Server::start_by(limited);
    let crowd: Vec<_> = (0..200).map(|_| server.connect()).collect();
    std::thread::sleep(Duration::from_millis(3_200));
    let held: Vec<_> = (0..10)
        .map(|_| {
            server.assert_answers();
            server.connect()
        })
        .collect();
    assert!(server.struck("displaced") >= 10);
    assert!(server.struck("connections") >= 100);
    // The registry file is written at the bound, too.
    let limit = json!({ "key": "rpm", "kind": "rolling", "capacity": 3, "window_seconds": 60 });
    let mut admin = server.send(&put_limit(&limit));
    let mut answer = [0; 1_024];
    let length = admin.read(&mut answer).expect("an answer");
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..length]));
    drop((crowd, held));
}

#[test]
fn a_bound_that_is_struck_often_is_one_line_of_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = program(folder.path());
    command.env("RATELIMITERD_CONNECTIONS_BODY_TIMEOUT_MS", "100");
    let (server, log) = Server::spawn(command, "info", LOOPBACK);
    let streams: Vec<_> = (0..20).map(|_| server.send(&head_of_reserve(9))).collect();
    for stream in streams {
        assert!(read_all(stream).0.starts_with("HTTP/1.1 408"));
    }
    server.send_sigterm();
    let lines: Vec<Value> = log.filter(|line| line["fields"]["bound"] == "body_time").collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0]["fields"]["times"].as_u64().expect("a number") >= 1, "{lines:?}");
}
