//! The program `ratelimiterd` over the memory ledger: start, stop, and the answers to bad settings.

mod admin_listener;
#[cfg(feature = "client-tls")]
mod alerts;
mod audit;
mod bounds;
mod coming_from;
mod connections;
#[cfg(feature = "grpc")]
mod gateway;
mod http2;
mod http2_conformance;
#[cfg(feature = "cli")]
mod limits;
#[cfg(feature = "otlp")]
mod otlp;
mod plain_http;
mod smuggling;
mod stop;
mod tls;
mod tokens;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fixtures::lease;

/// A free port that only this machine reaches.
const LOOPBACK: &str = "127.0.0.1:0";

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ratelimiterd"));
    command.current_dir(folder).env_clear().stderr(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// A running `ratelimiterd`, killed when it is dropped.
struct Server {
    child: Child,
    /// `HOST:PORT`
    address: String,
    /// That of the listener for operators, if there is one.
    admin_address: Option<String>,
    /// That of the listener for gateways, if there is one.
    grpc_address: Option<String>,
}

impl Server {
    /// Starts it on a free port.
    fn start(folder: &Path) -> Self {
        Self::start_by(program(folder))
    }

    /// Starts it on a free port, and answers its log lines after the one that names the address.
    fn start_with_log(folder: &Path, filter: &str) -> (Self, impl Iterator<Item = Value> + Send + 'static) {
        Self::spawn(program(folder), filter, LOOPBACK)
    }

    /// Starts it on a free port by `command`, which may have arguments of its own.
    fn start_by(command: Command) -> Self {
        let (server, log) = Self::spawn(command, "info", LOOPBACK);
        // A full pipe would stop the program.
        std::thread::spawn(move || log.for_each(drop));
        server
    }

    fn spawn(
        mut command: Command,
        filter: &str,
        listen_addr: &str,
    ) -> (Self, impl Iterator<Item = Value> + Send + 'static) {
        let mut child = command
            .args(["serve", "--server-backend", "memory", "--server-listen-addr", listen_addr])
            .args(["--log-format", "json", "--log-filter", filter])
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let mut log = lines.map(|line| serde_json::from_str::<Value>(&line.expect("a line")).expect("JSON"));
        let listens = log.find(|line| line["fields"]["message"] == "ratelimiterd listens");
        let fields = listens.expect("it listens")["fields"].clone();
        let address = fields["address"].as_str().expect("an address").to_owned();
        let text = |name: &str| fields[name].as_str().map(ToOwned::to_owned);
        let (admin_address, grpc_address) = (text("admin_address"), text("grpc_address"));
        (Self { child, address, admin_address, grpc_address }, log)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn send_sigterm(&self) {
        self.send_signal("TERM");
    }

    fn send_signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for its end, and checks that it exits with 0.
    fn assert_exits_with_0(mut self) {
        assert_eq!(self.child.wait().expect("it ends").code(), Some(0));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs the program, which must fail, and answers its standard error.
fn error_of(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = program(folder).args(arguments).envs(variables.iter().copied()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{arguments:?} {variables:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[tokio::test]
async fn definitions_outlive_a_restart_after_a_clean_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let client = reqwest::Client::new();
    let limit = json!({ "key": "rpm", "kind": "rolling", "capacity": 3, "window_seconds": 60 });
    let server = Server::start(folder.path());
    let put = client.put(server.url("/v1/admin/limits")).json(&limit).send().await.expect("an answer");
    assert_eq!(put.status(), 200);
    let started = Instant::now();
    server.send_sigterm();
    server.assert_exits_with_0();
    assert!(started.elapsed() < Duration::from_secs(10));

    let server = Server::start(folder.path());
    let body = json!({ "lease_id": lease().to_string(), "requirements": [{ "key": "rpm", "amount": 3 }] });
    let answer = client.post(server.url("/v1/reserve")).json(&body).send().await.expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer["allowed"], json!(true), "{answer}");
}

#[test]
fn check_config_accepts_the_defaults_and_the_example_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/ratelimiterd.toml");
    for arguments in [&["check-config"][..], &["check-config", "--config", example]] {
        let output = program(folder.path()).args(arguments).output().expect("it runs");
        assert!(output.status.success(), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "the configuration is valid\n");
    }
}

#[test]
fn a_bad_setting_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("ratelimiterd.toml");
    std::fs::write(&config, "[server]\nlisten_adress = 'x'\n").expect("it is written");
    let memory = ["--server-backend", "memory"];
    for (arguments, variables, error) in [
        (vec!["serve", "--config", "ratelimiterd.toml"], vec![], "setting server.listen_adress: "),
        (vec!["check-config", "--config", "ratelimiterd.toml"], vec![], "setting server.listen_adress: "),
        (vec!["check-config"], vec![("RATELIMITERD_CONFIG", "missing.toml")], "missing.toml: cannot read"),
        (vec!["check-config"], vec![("RATELIMITERD_SERVER_BACKEND", "redis")], "setting server.backend: "),
        (
            vec!["check-config"],
            vec![("RATELIMITERD_SERVER_BAKEND", "memory")],
            "variable RATELIMITERD_SERVER_BAKEND is not a setting",
        ),
        (
            vec!["check-config", "--server-max-batch-requests", "0"],
            vec![],
            "setting server.max_batch_requests: must be at least 1, not 0",
        ),
        ([&["serve"][..], &memory, &["--log-filter", "a=b=c"]].concat(), vec![], "setting log.filter: "),
    ] {
        let actual = error_of(folder.path(), &arguments, &variables);
        assert!(actual.starts_with(&format!("error: {error}")), "{arguments:?}: {actual}");
    }
}

#[test]
fn a_damaged_registry_file_stops_the_start_and_stays_unchanged() {
    let folder = tempfile::tempdir().expect("a folder");
    let registry = folder.path().join("registry.json");
    std::fs::write(&registry, "[{").expect("it is written");
    let serve = ["serve", "--server-backend", "memory", "--server-listen-addr", "127.0.0.1:0"];
    let error = error_of(folder.path(), &serve, &[]);
    assert!(error.contains("registry.json") && error.contains("line 1"), "{error}");
    assert_eq!(std::fs::read_to_string(&registry).expect("it is read"), "[{");
}

#[tokio::test]
async fn a_second_service_on_one_registry_file_does_not_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = Server::start(folder.path());
    // Its address is taken, so that it ends in any case.
    let serve = ["serve", "--server-backend", "memory", "--server-listen-addr", &first.address];
    let error = error_of(folder.path(), &serve, &[]);
    assert!(error.contains("registry.json is in use by another service"), "{error}");
    assert!(error.contains("registry.path"), "{error}");
    let answer = reqwest::get(first.url("/readyz")).await.expect("an answer");
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_limit_that_cannot_be_saved_is_answered_not_saved_and_is_not_in_force() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let client = reqwest::Client::new();
    // A folder in the place of the temporary file, as if the disk was full.
    std::fs::create_dir(folder.path().join("registry.json.tmp")).expect("a folder");
    let limit = json!({ "key": "rpm", "kind": "rolling", "capacity": 3, "window_seconds": 60 });

    let put = client.put(server.url("/v1/admin/limits")).json(&limit).send().await.expect("an answer");

    assert_eq!(put.status(), 503);
    assert_eq!(put.headers()["retry-after"], "1");
    let body: Value = put.json().await.expect("JSON");
    assert_eq!(body["error"], json!("not_saved"), "{body}");
    let get = client.get(server.url("/v1/admin/limits/rpm")).send().await.expect("an answer");
    assert_eq!(get.status(), 404);
}

#[test]
fn a_taken_port_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let serve = ["serve", "--server-backend", "memory", "--server-listen-addr", &address];
    let error = error_of(folder.path(), &serve, &[]);
    assert!(error.contains(&format!("cannot listen on {address} (server.listen_addr)")), "{error}");
}

#[test]
fn a_probe_succeeds_only_at_a_running_service() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let probe = program(folder.path()).args(["probe", "--address", &server.address]).output();
    assert!(probe.expect("it runs").status.success());
    let error = error_of(folder.path(), &["probe", "--address", "127.0.0.1:1"], &[]);
    assert!(error.starts_with("error: 127.0.0.1:1 does not answer: "), "{error}");
}

#[test]
fn a_probe_of_a_service_that_is_not_ready_gives_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let service = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a probe");
        let mut request = BufReader::new(stream.try_clone().expect("a second handle")).lines();
        let head = request.next().expect("a line").expect("text");
        // The probe sends no body. An empty line ends its request.
        assert!(request.any(|line| line.expect("text").is_empty()), "the request ends");
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\nthe reason").expect("it is sent");
        head
    });
    let error = error_of(folder.path(), &["probe", "--address", &address], &[]);
    assert_eq!(error, format!("error: {address} is not ready: the reason\n"));
    assert_eq!(service.join().expect("one probe"), "GET /readyz HTTP/1.1");
}

#[tokio::test]
async fn the_request_log_has_a_line_with_the_lease_and_the_outcome() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, mut log) = Server::start_with_log(folder.path(), "info,ledger_limiter::api=debug");
    let id = lease().to_string();
    let body = json!({ "lease_id": id, "requirements": [{ "key": "nope", "amount": 1 }] });
    reqwest::Client::new().post(server.url("/v1/reserve")).json(&body).send().await.expect("an answer");
    let line = log.find(|line| line["fields"]["message"] == "answered").expect("a line for the request");
    assert_eq!(line["fields"]["status"], json!(200), "{line}");
    assert_eq!(line["span"]["url.path"], json!("/v1/reserve"), "{line}");
    assert_eq!(line["span"]["lease_id"], json!(id), "{line}");
    assert_eq!(line["span"]["outcome"], json!("UnknownKey { key: \"nope\" }"), "{line}");
}
