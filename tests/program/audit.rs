//! The audit lines of the running program name the client's address, in the log and in a file of their own.

use super::*;

fn limit() -> Value {
    json!({ "key": "rpm", "kind": "rolling", "capacity": 3, "window_seconds": 60 })
}

async fn put(server: &Server) {
    let request = reqwest::Client::new().put(server.url("/v1/admin/limits")).json(&limit());
    assert_eq!(request.send().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn an_audit_line_of_the_file_names_the_address_of_the_client() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.jsonl");
    let mut command = program(folder.path());
    command.env("RATELIMITERD_LOG_AUDIT_PATH", &path);
    let server = Server::start_by(command);
    put(&server).await;
    let line: Value =
        serde_json::from_str(&std::fs::read_to_string(&path).expect("a file")).expect("one line");
    let told = ["caller", "peer", "action", "key", "outcome"].map(|field| line[field].clone());
    assert_eq!(told, [json!(""), json!("127.0.0.1"), json!("put"), json!("rpm"), json!("ok")]);
}

#[tokio::test]
async fn without_a_file_the_log_has_the_audit_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, mut log) = Server::start_with_log(folder.path(), "info");
    put(&server).await;
    let line = log.find(|line| line["target"] == "ratelimiterd::audit").expect("the line");
    let line: Value = serde_json::from_str(line["fields"]["message"].as_str().expect("text")).expect("JSON");
    assert_eq!((&line["peer"], &line["after"]["capacity"]), (&json!("127.0.0.1"), &json!(3)));
}
