//! Who may call the services.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use ledger_limiter::server::auth::Scope;
use ledger_limiter::server::{AllowedHosts, AuditLog};
use tonic::Code;
use tonic::metadata::MetadataValue;
use tower::ServiceExt;

use super::*;
use crate::http::tokens::TokenFile;

/// The code of the answer to a caller with this token.
async fn code(service: &Service, token: Option<&str>, tenant: &str) -> Code {
    let descriptors = vec![descriptor("tenant", tenant)];
    let message = RateLimitRequest { domain: "edge".to_owned(), descriptors, hits_addend: 1 };
    let mut request = tonic::Request::new(message);
    if let Some(token) = token {
        let token = MetadataValue::try_from(format!("Bearer {token}")).expect("a header");
        request.metadata_mut().insert("authorization", token);
    }
    let mut client = RateLimitServiceClient::with_origin(service.transport(), origin());
    client.should_rate_limit(request).await.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test]
async fn a_caller_needs_a_token_with_the_scope_and_the_keys() {
    let file = TokenFile::new();
    let all = file.add("all", &[Scope::Reserve], &[]);
    let acme = file.add("acme", &[Scope::Reserve], &["tenant:acme:*"]);
    let reader = file.add("reader", &[Scope::Read, Scope::Admin, Scope::Metrics], &[]);
    let gate = Gate {
        authenticator: file.authenticator(),
        allowed_hosts: AllowedHosts::new(&[]).expect("no names"),
        audit: AuditLog::to_log(),
    };
    let service = Service::behind(gate).await;
    for (token, tenant, expected) in [
        (None, "acme", Code::Unauthenticated),
        (Some("rl_wrong"), "acme", Code::Unauthenticated),
        (Some(&*reader), "acme", Code::PermissionDenied),
        (Some(&*acme), "other", Code::PermissionDenied),
        (Some(&*acme), "acme", Code::Ok),
        (Some(&*all), "other", Code::Ok),
    ] {
        assert_eq!(code(&service, token, tenant).await, expected, "{token:?} {tenant}");
    }
    assert_eq!(
        service.replica.usage("tenant:acme:rpm").await.reserved,
        1,
        "only the granted call is charged"
    );
}

#[tokio::test]
async fn a_web_page_cannot_call() {
    let service = Service::new().await;
    let path = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
    for path in [path, "/grpc.health.v1.Health/Check"] {
        let request = Request::post(path).header("content-type", "application/grpc").body(Body::empty());
        let answer = service.router.clone().oneshot(request.expect("a request")).await.expect("an answer");
        assert_eq!(
            answer.status(),
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "browsers speak HTTP/1 without TLS"
        );
    }
}
