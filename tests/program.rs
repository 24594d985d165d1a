//! The program itself, over the memory ledger: start, stop, and what a bad setting gets.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fixtures::lease;

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ratelimiterd"));
    command.current_dir(folder).env_clear().stderr(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn serve(folder: &Path) -> (Child, String) {
    let mut child = program(folder)
        .args([
            "serve",
            "--server-backend",
            "memory",
            "--server-listen-addr",
            "127.0.0.1:0",
            "--log-format",
            "json",
        ])
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let listens = lines.by_ref().map(|line| line.expect("a line")).find(|line| line.contains("listens"));
    let listens: Value = serde_json::from_str(&listens.expect("it listens")).expect("a line of JSON");
    // The rest of its log must be read, or a full pipe stops it.
    std::thread::spawn(move || lines.for_each(drop));
    let address = listens["fields"]["address"].as_str().expect("an address");
    (child, format!("http://{address}"))
}

fn signal(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

fn fails(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = program(folder).args(arguments).envs(variables.iter().copied()).output().expect("it runs");
    assert!(!output.status.success(), "{arguments:?} {variables:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[tokio::test]
async fn definitions_survive_a_restart_and_a_stop_is_clean() {
    let folder = tempfile::tempdir().expect("a folder");
    let client = reqwest::Client::new();
    let limit = json!({ "key": "rpm", "kind": "rolling", "capacity": 3, "window_seconds": 60 });
    let (mut child, base) = serve(folder.path());
    let made = client.put(format!("{base}/v1/admin/limits")).json(&limit).send().await.expect("an answer");
    assert!(made.status().is_success());
    let started = Instant::now();
    signal(&child, "-TERM");
    assert!(child.wait().expect("it ends").success());
    assert!(started.elapsed() < Duration::from_secs(10));

    let (mut child, base) = serve(folder.path());
    let body = json!({ "lease_id": lease().to_string(), "requirements": [{ "key": "rpm", "amount": 3 }] });
    let answer = client.post(format!("{base}/v1/reserve")).json(&body).send().await.expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer["allowed"], json!(true), "{answer}");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

#[test]
fn a_bad_setting_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("ratelimiterd.toml");
    std::fs::write(&config, "[server]\nlisten_adress = 'x'\n").expect("it is written");
    for command in ["serve", "check-config"] {
        let error = fails(folder.path(), &[command, "--config", "ratelimiterd.toml"], &[]);
        assert!(error.contains("server.listen_adress"), "{error}");
    }
    let check = ["check-config"];
    let error = fails(folder.path(), &["check-config", "--config", "missing.toml"], &[]);
    assert!(error.contains("missing.toml"), "{error}");
    let error = fails(folder.path(), &check, &[("RATELIMITERD_SERVER_BACKEND", "redis")]);
    assert!(error.contains("server.backend"), "{error}");
    let error = fails(folder.path(), &check, &[("RATELIMITERD_SERVER_BAKEND", "memory")]);
    assert!(error.contains("RATELIMITERD_SERVER_BAKEND"), "{error}");
    let error = fails(folder.path(), &["check-config", "--server-max-batch-requests", "0"], &[]);
    assert!(error.contains("server.max_batch_requests"), "{error}");
    let error = fails(folder.path(), &["serve", "--server-backend", "memory", "--log-filter", "a=b=c"], &[]);
    assert!(error.contains("log.filter"), "{error}");
    let output = program(folder.path()).args(check).output().expect("it runs");
    assert!(output.status.success());
}

#[test]
fn a_damaged_registry_or_a_taken_port_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let registry = folder.path().join("registry.json");
    std::fs::write(&registry, "[{").expect("it is written");
    let serve = ["serve", "--server-backend", "memory", "--server-listen-addr", "127.0.0.1:0"];
    let error = fails(folder.path(), &serve, &[]);
    assert!(error.contains("registry.json") && error.contains("line 1"), "{error}");
    assert_eq!(std::fs::read_to_string(&registry).expect("it is read"), "[{");
    std::fs::remove_file(registry).expect("it is removed");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let error =
        fails(folder.path(), &["serve", "--server-backend", "memory", "--server-listen-addr", &address], &[]);
    assert!(error.contains(&address), "{error}");
}

#[tokio::test]
async fn a_request_in_flight_is_finished_before_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut child, base) = serve(folder.path());
    let address = base.trim_start_matches("http://").to_owned();
    let body = json!({ "lease_id": lease().to_string(), "requirements": [{ "key": "nope", "amount": 1 }] })
        .to_string();
    // Half a request is on its way when the stop comes.
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    let head = format!("POST /v1/reserve HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    std::io::Write::write_all(&mut stream, head.as_bytes()).expect("it is sent");
    tokio::time::sleep(Duration::from_millis(100)).await;
    signal(&child, "-TERM");
    tokio::time::sleep(Duration::from_millis(100)).await;
    std::io::Write::write_all(&mut stream, body.as_bytes()).expect("it is sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("it is answered");
    assert!(
        response.starts_with("HTTP/1.1 200") && response.contains("unknown_limit_key:nope"),
        "{response}"
    );
    assert!(child.wait().expect("it ends").success());
}
