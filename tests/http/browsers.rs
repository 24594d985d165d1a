//! Web pages: no form, no foreign page and no name that an attacker points at the service reaches it.

use ledger_limiter::server::AllowedHosts;

use super::*;

async fn service(names: &[&str]) -> Service {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let allowed_hosts = AllowedHosts::new(&names).expect("names");
    Service::behind(Gate { allowed_hosts, ..Gate::open() }, true).await
}

/// Every endpoint that reads a body.
const BODIES: &[(Method, &str)] = &[
    (Method::POST, "/v1/reserve"),
    (Method::POST, "/v1/reserve/batch"),
    (Method::POST, "/v1/extend"),
    (Method::POST, "/v1/renew"),
    (Method::POST, "/v1/complete"),
    (Method::POST, "/v1/complete/batch"),
    (Method::POST, "/v1/objects/bucket/try_reserve"),
    (Method::POST, "/v1/objects/bucket/reserve"),
    (Method::POST, "/v1/objects/bucket/cancel"),
    (Method::POST, "/v1/objects/bucket/release"),
    (Method::PUT, "/v1/objects/bucket/rate"),
    (Method::PUT, "/v1/admin/limits"),
    (Method::POST, "/v1/admin/limits/bucket/replenish"),
    (Method::POST, "/v1/admin/limits/bucket/reset"),
];

#[tokio::test]
async fn every_body_must_be_json_by_its_type() {
    let service = service(&[]).await;
    for (method, path) in BODIES {
        for media_type in
            [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("multipart/form-data")]
        {
            let mut request = Request::builder().method(method).uri(*path);
            if let Some(media_type) = media_type {
                request = request.header("content-type", media_type);
            }
            let answer = service.send_request(request.body(Body::from("{}")).expect("a request")).await;
            assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{method} {path} {media_type:?}");
        }
        let answer = service.send(method.clone(), path, "{}").await;
        assert_ne!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{method} {path}");
    }
}

#[tokio::test]
async fn a_request_under_another_name_or_from_another_site_is_refused() {
    let service = service(&["limits.example"]).await;
    let (host, origin) = ("host", "origin");
    let (bad_request, misdirected) = (StatusCode::BAD_REQUEST, StatusCode::MISDIRECTED_REQUEST);
    for (headers, status, name) in [
        (vec![(host, "127.0.0.1:8080")], StatusCode::OK, ""),
        (vec![(host, "limits.example")], StatusCode::OK, ""),
        (vec![(host, "limits.example"), (origin, "https://limits.example")], StatusCode::OK, ""),
        (vec![(host, "evil.example:8080")], misdirected, "host_not_allowed"),
        (
            vec![(host, "limits.example"), (origin, "http://evil.example")],
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
        ),
        (vec![(host, "127.0.0.1"), (origin, "null")], StatusCode::FORBIDDEN, "origin_not_allowed"),
        (vec![], bad_request, "invalid_request"),
        (vec![(host, "127.0.0.1"), (host, "127.0.0.1")], bad_request, "invalid_request"),
        (vec![(host, "127.0.0.1"), (host, "evil.example")], bad_request, "invalid_request"),
    ] {
        for path in ["/v1/admin/limits", "/metrics"] {
            let mut request = Request::builder().uri(path);
            for (name, value) in &headers {
                request = request.header(*name, *value);
            }
            let response = service.router.clone().oneshot(request.body(Body::empty()).expect("a request"));
            let response = response.await.expect("the router answers");
            assert_eq!(response.status(), status, "{path} {headers:?}");
            let is_cors = |name: &str| name.starts_with("access-control-");
            assert!(!response.headers().keys().any(|name| is_cors(name.as_str())), "{path} {headers:?}");
            if !name.is_empty() {
                let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
                let body: Value = serde_json::from_slice(&body).expect("JSON");
                assert_eq!(body["error"], json!(name), "{path} {headers:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_page_cannot_ask_ahead_for_permission() {
    let service = service(&[]).await;
    let request = Request::builder().method(Method::OPTIONS).uri("/v1/admin/limits");
    let request =
        request.header("origin", "http://evil.example").header("access-control-request-method", "PUT");
    let answer = service.send_request(request.body(Body::empty()).expect("a request")).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn health_checks_reach_the_service_under_any_name() {
    let service = service(&[]).await;
    for host in [None, Some("pod-1.cluster.local:8080")] {
        for path in ["/healthz", "/readyz"] {
            let mut request = Request::builder().uri(path);
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let response = service.router.clone().oneshot(request.body(Body::empty()).expect("a request"));
            assert_eq!(response.await.expect("an answer").status(), StatusCode::OK, "{path} {host:?}");
        }
    }
}
