//! `POST /v1/admin/limits/{key}/reset` and `DELETE /v1/admin/limits/{key}?purge=true`.

use super::*;

const RESET: &str = "/v1/admin/limits/rpm/reset";
const PURGE: &str = "/v1/admin/limits/rpm?purge=true";

/// A service of whose limit `rpm` everything is used, and 2 more.
async fn exhausted() -> Service {
    let service = Service::new().await;
    let forced = json!({
        "lease_id": lease().to_string(), "force": true, "requirements": [{ "key": "rpm", "amount": 5 }],
    });
    service.post("/v1/reserve", &forced).await.assert_granted();
    assert_eq!(service.limit("rpm").await["usage"], json!({ "available": 0, "reserved": 3, "debt": 2 }));
    service
}

#[tokio::test]
async fn a_reset_is_a_version_in_the_history() {
    let service = exhausted().await;
    for body in [Body::empty(), Body::from("{}")] {
        let reset = service.call(Method::POST, RESET, body).await;
        assert_eq!(reset, Answer::ok(json!({ "ok": true, "status": "active" })));
        assert_eq!(service.limit("rpm").await["usage"], json!({ "available": 3, "reserved": 0, "debt": 0 }));
    }
    let history = service.get("/v1/admin/limits/rpm/history").await;
    assert_eq!(history.body["versions"].as_array().expect("versions").len(), 3);
    service.reserve("rpm", 3).await.assert_granted();
}

#[tokio::test]
async fn a_purge_ends_the_history() {
    let service = exhausted().await;
    assert_eq!(service.delete(PURGE).await, Answer::ok(json!({ "ok": true })));
    for path in ["/v1/admin/limits/rpm", "/v1/admin/limits/rpm/history"] {
        service.get(path).await.assert_error(StatusCode::NOT_FOUND, "unknown_limit_key");
    }
    for path in [PURGE, "/v1/admin/limits/rpm"] {
        service.delete(path).await.assert_error(StatusCode::NOT_FOUND, "unknown_limit_key");
    }
    assert_eq!(service.reserve("rpm", 1).await, denial("rpm", "unknown_limit_key:rpm"));
    service.put(&json!({ "key": "rpm", "kind": "rolling", "capacity": 4, "window_seconds": 60 })).await;
    assert_eq!(service.limit("rpm").await["usage"], json!({ "available": 4, "reserved": 0, "debt": 0 }));
    let history = service.get("/v1/admin/limits/rpm/history").await;
    assert_eq!(history.body["versions"].as_array().expect("versions").len(), 1);
}

#[tokio::test]
async fn a_malformed_reset_or_purge_changes_nothing() {
    let service = exhausted().await;
    service.call(Method::POST, RESET, r#"{ "x": 1 }"#).await.assert_invalid("unknown field `x`");
    service.delete("/v1/admin/limits/rpm?purge=maybe").await.assert_invalid("query");
    service.delete("/v1/admin/limits/rpm?purged=true").await.assert_invalid("query");
    let unknown = service.call(Method::POST, "/v1/admin/limits/nope/reset", Body::empty()).await;
    unknown.assert_error(StatusCode::NOT_FOUND, "unknown_limit_key");
    let template = json!({ "key": "user:{user}", "kind": "rolling", "capacity": 4, "window_seconds": 60 });
    service.put(&template).await;
    let of_template =
        service.call(Method::POST, "/v1/admin/limits/user:%7Buser%7D/reset", Body::empty()).await;
    of_template.assert_error(StatusCode::CONFLICT, "is_template");
    assert_eq!(service.limit("rpm").await["usage"]["reserved"], json!(3));
}
