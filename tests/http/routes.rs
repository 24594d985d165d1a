//! Health checks, and requests that no endpoint accepts: unknown paths, wrong methods, large bodies.

use ledger_limiter::server::api::BODY_BYTES_MAX;

use super::*;

#[tokio::test]
async fn a_running_service_is_healthy_and_ready() {
    let service = Service::new().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(service.get(path).await, Answer::ok(json!({ "ok": true })), "{path}");
    }
}

#[tokio::test]
async fn no_cache_keeps_an_answer_to_get() {
    let service = Service::new().await;
    for path in
        ["/healthz", "/readyz", "/metrics", "/v1/admin/denials", "/v1/admin/limits", "/v1/admin/limits/rpm"]
    {
        let answer = service.send(Method::GET, path, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
    }
    let not_ready = Service::not_ready().await.send(Method::GET, "/readyz", Body::empty()).await;
    assert_eq!(not_ready.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn an_unknown_path_or_method_is_refused_in_json() {
    let service = Service::new().await;
    service.get("/nothing").await.assert_error(StatusCode::NOT_FOUND, "not_found");
    let wrong_method = (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
    for (method, path) in [
        (Method::GET, "/v1/reserve"),
        (Method::DELETE, "/v1/admin/limits"),
        (Method::POST, "/v1/admin/limits/rpm"),
        (Method::POST, "/healthz"),
    ] {
        let (status, name) = wrong_method;
        service.call(method, path, Body::empty()).await.assert_error(status, name);
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_methods_of_its_path() {
    let service = Service::new().await;
    for (method, path, methods) in [
        (Method::GET, "/v1/reserve", "POST"),
        (Method::POST, "/v1/admin/limits", "GET,HEAD,PUT"),
        (Method::POST, "/v1/admin/limits/rpm", "GET, HEAD, DELETE"),
        (Method::PATCH, "/v1/admin/limits/a/rpm", "GET, HEAD, DELETE"),
        (Method::PATCH, "/v1/admin/limits/rpm/reset", "GET, HEAD, DELETE, POST"),
        (Method::GET, "/v1/objects/a/b/try_reserve", "POST"),
        (Method::PUT, "/v1/objects/bucket/release", "POST"),
        (Method::POST, "/v1/objects/bucket/state", "GET, HEAD"),
        (Method::PATCH, "/v1/objects/bucket/available_permits", "GET, HEAD"),
        (Method::DELETE, "/v1/objects/bucket/rate", "PUT"),
    ] {
        let answer = service.send(method.clone(), path, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        assert_eq!(answer.headers["allow"], methods, "{method} {path}");
    }
}

#[tokio::test]
async fn a_body_over_1_mib_is_refused() {
    let service = Service::new().await;
    for (bytes, status, name) in [
        (BODY_BYTES_MAX, StatusCode::BAD_REQUEST, "invalid_request"),
        (BODY_BYTES_MAX + 1, StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
    ] {
        let answer = service.call(Method::POST, "/v1/reserve", " ".repeat(bytes)).await;
        answer.assert_error(status, name);
    }
}

#[tokio::test]
async fn a_path_with_a_malformed_key_is_refused() {
    let service = Service::new().await;
    service.get("/v1/admin/limits/%20").await.assert_invalid("key must begin with a letter or a digit");
    service.get("/v1/admin/limits/%FF").await.assert_invalid("Invalid URL: Invalid UTF-8 in `key`");
}
