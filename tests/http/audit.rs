//! The audit file: one line for each change that somebody makes or tries.

use ledger_limiter::server::AuditLog;
use ledger_limiter::server::auth::Scope;

use super::tokens::TokenFile;
use super::*;

#[tokio::test]
async fn each_change_is_a_line_with_who_made_it_and_the_definitions_before_and_after() {
    let (tokens, folder) = (TokenFile::new(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("audit.jsonl");
    let operator = tokens.add("operator", &Scope::ALL, &[]);
    let acme = tokens.add("acme-admin", &[Scope::Admin], &["tenant:acme:*"]);
    let service = tokens.audited_service(AuditLog::to_path(&path).expect("it opens")).await;
    let (operator, acme) = (service.called_with(&operator), service.called_with(&acme));
    let limit =
        |capacity| json!({ "key": "rpm", "kind": "rolling", "capacity": capacity, "window_seconds": 60 });

    assert_eq!(operator.put(&limit(3)).await.status, StatusCode::OK);
    assert_eq!(operator.put(&limit(5)).await.status, StatusCode::OK);
    assert_eq!(acme.put(&limit(9)).await.status, StatusCode::FORBIDDEN);
    let rate = json!({ "limit": 10, "burst": 20 }).to_string();
    let set_rate = acme.call(Method::PUT, "/v1/objects/tenant:acme:rps/rate", rate).await;
    assert_eq!(set_rate.status, StatusCode::OK);
    let replenish = "/v1/admin/limits/tenant:acme:rps/replenish";
    assert_eq!(acme.call(Method::POST, replenish, Body::empty()).await.status, StatusCode::OK);
    let reset = "/v1/admin/limits/tenant:acme:rps/reset";
    assert_eq!(acme.call(Method::POST, reset, Body::empty()).await.status, StatusCode::OK);
    let delete = async || operator.call(Method::DELETE, "/v1/admin/limits/rpm", Body::empty()).await.status;
    assert_eq!((delete().await, delete().await), (StatusCode::OK, StatusCode::NOT_FOUND));
    // These are no changes.
    assert_eq!(operator.get("/v1/admin/limits").await.status, StatusCode::OK);
    assert_eq!(service.put(&limit(1)).await.status, StatusCode::UNAUTHORIZED);

    let text = std::fs::read_to_string(&path).expect("the file");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let capacity = |line: &Value, when: &str| line[when]["capacity"].clone();
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            let text = |field: &str| line[field].as_str().expect("text").to_owned();
            let who_what = [text("caller"), text("action"), text("key"), text("outcome")].join(" ");
            (who_what, capacity(line, "before"), capacity(line, "after"))
        })
        .collect();
    let expected = [
        ("operator put rpm ok", Value::Null, json!(3)),
        ("operator put rpm ok", json!(3), json!(5)),
        ("acme-admin put rpm forbidden", json!(5), json!(5)),
        ("acme-admin set_rate tenant:acme:rps ok", Value::Null, json!(20)),
        ("acme-admin replenish tenant:acme:rps ok", json!(20), json!(20)),
        ("acme-admin reset tenant:acme:rps ok", json!(20), json!(20)),
        ("operator delete rpm ok", json!(5), Value::Null),
        ("operator delete rpm unknown_limit_key", Value::Null, Value::Null),
    ];
    assert_eq!(told, expected.map(|(who_what, before, after)| (who_what.to_owned(), before, after)));
    assert!(lines.iter().all(|line| line["unix_ms"].as_u64() > Some(START_MS)));
    assert!(!text.contains("rl_"), "no token");
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = AuditLog::to_path(&folder.path().join("missing/audit.jsonl")).expect_err("no folder");
    assert!(error.to_string().contains("missing/audit.jsonl"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_new_file_can_be_read_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.jsonl");
    AuditLog::to_path(&path).expect("it opens");
    assert_eq!(std::fs::metadata(path).expect("a file").permissions().mode() & 0o777, 0o600);
}
