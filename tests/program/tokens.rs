//! Tokens as operators use them: made by the program, replaced while requests arrive, and never shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

const TOKENS: &str = "tokens.toml";

/// Makes a token whose entry goes to the file of tokens.
fn new_token(folder: &Path, name: &str, arguments: &[&str]) -> String {
    let mut command = program(folder);
    command.args(["token", "new", "--name", name, "--write", TOKENS]).args(arguments);
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let token = String::from_utf8(output.stdout).expect("text");
    token.strip_suffix('\n').expect("one line").to_owned()
}

fn program_with_tokens(folder: &Path) -> Command {
    let mut command = program(folder);
    command.env("RATELIMITERD_AUTH_TOKENS_PATH", TOKENS);
    command
}

async fn status(server: &Server, token: &str) -> u16 {
    let request = reqwest::Client::new().get(server.url("/v1/admin/limits")).bearer_auth(token);
    request.send().await.expect("an answer").status().as_u16()
}

/// Waits until the service takes over a change of the file.
async fn wait_for(server: &Server, token: &str, expected: u16) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while status(server, token).await != expected {
        assert!(Instant::now() < deadline, "the file is not read again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_token_is_printed_once_and_opens_the_service() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = new_token(folder.path(), "gateway", &["--scope", "read,admin", "--expires", "90d"]);
    let file = folder.path().join(TOKENS);
    let text = std::fs::read_to_string(&file).expect("the file");
    assert!(!text.contains(&token), "the file holds no token");
    let entry: toml::Table = text.parse().expect("TOML");
    assert_eq!(entry["token"][0]["scopes"].to_string(), "[\"read\", \"admin\"]");
    assert!(entry["token"][0].get("expires").is_some());
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).expect("the file"));
    assert_eq!(mode & 0o777, 0o600);
    let server = Server::start_by(program_with_tokens(folder.path()));
    assert_eq!(status(&server, &token).await, 200);
    assert_eq!(status(&server, "rl_x").await, 401);
}

#[test]
fn without_a_file_the_entry_is_printed_behind_the_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = program(folder.path());
    let keys = ["--keys", "tenant:acme:*", "--keys", "shared:rpm"];
    command.args(["token", "new", "--name", "acme", "--scope", "reserve"]).args(keys);
    let output = command.output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let (token, entry) = text.split_once("\n\n").expect("a line between");
    assert!(token.starts_with("rl_"));
    let entry: toml::Table = entry.parse().expect("TOML");
    assert_eq!(entry["token"][0]["keys"].to_string(), "[\"tenant:acme:*\", \"shared:rpm\"]");
}

#[test]
fn a_wrong_flag_makes_no_token() {
    let folder = tempfile::tempdir().expect("a folder");
    new_token(folder.path(), "taken", &["--scope", "read"]);
    let before = std::fs::read_to_string(folder.path().join(TOKENS)).expect("the file");
    for (name, flags, cause) in [
        ("a", &["--scope", "write"][..], "--scope: \"write\" is not reserve, read, admin or metrics"),
        ("a", &["--scope", "read", "--keys", "a*"], "key pattern \"a*\": * must be the whole last segment"),
        ("a", &["--scope", "read", "--expires", "soon"], "--expires: "),
        ("taken", &["--scope", "read"], "token \"taken\": another token has this name"),
    ] {
        let arguments = [&["token", "new", "--write", TOKENS, "--name", name], flags].concat();
        let error = error_of(folder.path(), &arguments, &[]);
        assert!(error.contains(cause), "{error}");
    }
    assert_eq!(std::fs::read_to_string(folder.path().join(TOKENS)).expect("the file"), before);
}

/// A token is replaced while callers send requests: both are valid, the callers take the new one, the old one is removed. No
/// request fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_replaced_under_load_and_no_request_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(TOKENS);
    let old = new_token(folder.path(), "old", &["--scope", "reserve,read,admin"]);
    let server = Arc::new(Server::start_by(program_with_tokens(folder.path())));
    let current = Arc::new(std::sync::Mutex::new(old.clone()));
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (server, current) = (Arc::clone(&server), Arc::clone(&current));
            let (stop, calls) = (Arc::clone(&stop), Arc::clone(&calls));
            tokio::spawn(async move {
                let client = reqwest::Client::new();
                while !stop.load(Ordering::Relaxed) {
                    let token = current.lock().expect("no panic").clone();
                    let body = json!({ "lease_id": lease().to_string(), "requirements": [{ "key": "a", "amount": 1 }] });
                    let request = client.post(server.url("/v1/reserve")).bearer_auth(token).json(&body);
                    assert_eq!(request.send().await.expect("an answer").status(), 200);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let new = new_token(folder.path(), "new", &["--scope", "reserve,read,admin"]);
    wait_for(&server, &new, 200).await;
    assert_eq!(status(&server, &old).await, 200, "both are valid");
    *current.lock().expect("no panic") = new.clone();
    // Requests with the old token may still be on their way.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let text = std::fs::read_to_string(&file).expect("the file");
    let (_, entry) = text.rsplit_once("[[token]]").expect("two entries");
    let replacement = folder.path().join("tokens.toml.new");
    std::fs::write(&replacement, format!("[[token]]{entry}")).expect("it is written");
    std::fs::rename(&replacement, &file).expect("it is replaced");
    wait_for(&server, &old, 401).await;
    assert_eq!(status(&server, &new).await, 200);
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no request failed");
    }
    assert!(calls.load(Ordering::Relaxed) > 100);
}

#[tokio::test]
async fn the_log_never_shows_a_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = new_token(folder.path(), "reader", &["--scope", "read"]);
    let (server, log) = Server::spawn(program_with_tokens(folder.path()), "trace", LOOPBACK);
    let lines = std::thread::spawn(move || log.map(|line| line.to_string()).collect::<Vec<_>>());
    for unknown in
        [&token[..], "rl_UNKNOWNSECRETUNKNOWNSECRETUNKNOWNSECRETUNKN", "eyJhbGciOiJub25lIn0.SECRET.SECRET"]
    {
        status(&server, unknown).await;
        let client = reqwest::Client::new();
        let put = client.put(server.url("/v1/admin/limits")).bearer_auth(unknown).body("{}");
        assert!(put.send().await.expect("an answer").status().is_client_error());
    }
    std::fs::write(
        folder.path().join(TOKENS),
        format!("[[token]]\nname = 'x'\nsha256 = '{token}'\nscopes = ['read']"),
    )
    .expect("it is written");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    server.send_sigterm();
    server.assert_exits_with_0();
    let lines = lines.join().expect("the log");
    let is_shown = |text: &str| lines.iter().find(|line| line.contains(text));
    assert!(lines.iter().any(|line| line.contains("/v1/admin/limits")), "requests are logged");
    assert!(lines.iter().any(|line| line.contains("sha256 must be")), "the bad file is logged");
    for secret in [&token[3..], "SECRET"] {
        assert_eq!(is_shown(secret), None);
    }
}

#[test]
fn nobody_listens_for_others_without_authentication_unless_told_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let serve = ["serve", "--server-backend", "memory", "--server-listen-addr", "0.0.0.0:0"];
    let error = error_of(folder.path(), &serve, &[]);
    assert!(error.contains("setting auth.mode: must be set, because others can reach 0.0.0.0:0"), "{error}");
    let error = error_of(folder.path(), &serve, &[("RATELIMITERD_AUTH_TOKENS_PATH", "missing.toml")]);
    assert!(error.contains("cannot read missing.toml (auth.tokens_path)"), "{error}");
    let error =
        error_of(folder.path(), &["check-config"], &[("RATELIMITERD_AUTH_TOKENS_PATH", "missing.toml")]);
    assert!(error.contains("cannot read missing.toml (auth.tokens_path)"), "{error}");
}

#[tokio::test]
async fn a_service_that_anybody_may_change_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = program(folder.path());
    command.env("RATELIMITERD_AUTH_MODE", "none");
    let (server, log) = Server::spawn(command, "info", "0.0.0.0:0");
    std::thread::spawn(move || log.for_each(drop));
    let port = server.address.rsplit(':').next().expect("a port");
    let answer = reqwest::get(format!("http://127.0.0.1:{port}/readyz")).await.expect("an answer");
    let body: Value = answer.json().await.expect("JSON");
    let warning = "auth.mode is none: whoever reaches this address can change every limit";
    assert_eq!(body, json!({ "ok": true, "warning": warning }));
}
