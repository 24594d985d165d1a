//! Whose quota a request takes.

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::header::AUTHORIZATION;
use axum::http::{Method, Request, StatusCode};
use ledger_limiter::client::Rate;
use ledger_limiter::client::tower::{PeerAddr, RateLimitLayer, RequestKey};

use super::world::{from_peer, routes, send, text};

const OK: StatusCode = StatusCode::OK;
const TOO_MANY: StatusCode = StatusCode::TOO_MANY_REQUESTS;

/// A router that lets one request of each key pass.
fn once(key: RequestKey) -> Router {
    let builder = RateLimitLayer::builder(key).limit(Rate::per_hour(1).limit("http:key:{key}"));
    routes().layer(builder.in_process().expect("the layer is valid"))
}

type Headers = [(&'static str, &'static str)];

fn with_headers(last: u8, headers: &Headers) -> Request<Body> {
    let mut request = from_peer(last, Method::GET);
    for &(name, value) in headers {
        request.headers_mut().append(name, value.parse().expect("a value"));
    }
    request
}

/// Sends requests, each from this peer with these headers, and checks the status of each.
async fn check(router: &Router, requests: &[(u8, &Headers, StatusCode)]) {
    for (index, &(last, headers, expected)) in requests.iter().enumerate() {
        let status = send(router, with_headers(last, headers)).await.status();
        assert_eq!(status, expected, "request {index}: {headers:?} from {last}");
    }
}

#[tokio::test]
async fn the_address_of_the_peer_counts_whatever_the_headers_say() {
    let router = once(RequestKey::peer_ip());
    check(
        &router,
        &[
            (1, &[("x-forwarded-for", "203.0.113.1")], OK),
            (1, &[("x-forwarded-for", "203.0.113.2")], TOO_MANY),
            (1, &[("x-real-ip", "203.0.113.3"), ("forwarded", "for=203.0.113.3")], TOO_MANY),
            (2, &[("x-forwarded-for", "203.0.113.1")], OK),
        ],
    )
    .await;
}

#[tokio::test]
async fn behind_a_proxy_the_address_that_the_proxy_saw_counts() {
    let router = once(RequestKey::forwarded_ip(NonZeroUsize::MIN));
    check(
        &router,
        &[
            (1, &[("x-forwarded-for", "203.0.113.1")], OK),
            (1, &[("x-forwarded-for", "203.0.113.2")], OK),
            (1, &[("x-forwarded-for", "203.0.113.1")], TOO_MANY),
            // What a client writes itself stands before what the proxy appends.
            (1, &[("x-forwarded-for", "198.51.100.9, 203.0.113.1")], TOO_MANY),
            (1, &[], OK),
            (1, &[], TOO_MANY),
        ],
    )
    .await;
}

#[tokio::test]
async fn all_requests_may_share_one_quota() {
    let router = once(RequestKey::from_fn(|_| None));
    check(&router, &[(1, &[], OK), (2, &[], TOO_MANY)]).await;
}

#[tokio::test]
async fn a_key_may_come_from_any_part_of_the_request() {
    let bearer = RequestKey::from_fn(|parts| {
        let value = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
        value.strip_prefix("Bearer ").map(ToOwned::to_owned)
    });
    let router = once(bearer);
    check(
        &router,
        &[
            (1, &[("authorization", "Bearer ann")], OK),
            (2, &[("authorization", "Bearer ann")], TOO_MANY),
            (1, &[("authorization", "Bearer bob")], OK),
            (1, &[], OK),
            (2, &[("authorization", "Basic bob")], TOO_MANY),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_address_may_be_told_without_axum() {
    let router = once(RequestKey::peer_ip());
    let told = |last| {
        let peer = PeerAddr(([192, 0, 2, last], 4_000).into());
        Request::get("/").extension(peer).body(Body::empty()).expect("valid")
    };
    for (last, expected) in [(1, OK), (1, TOO_MANY), (2, OK)] {
        assert_eq!(send(&router, told(last)).await.status(), expected, "peer {last}");
    }
    let ipv6: SocketAddr = "[2001:db8::1]:4000".parse().expect("an address");
    let request = Request::get("/").extension(ConnectInfo(ipv6)).body(Body::empty()).expect("valid");
    assert_eq!(send(&router, request).await.status(), OK);
}

#[tokio::test]
async fn an_unknown_address_is_an_error_that_says_what_to_do() {
    let router = once(RequestKey::peer_ip());
    let response = send(&router, Request::get("/").body(Body::empty()).expect("valid")).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let text = text(response).await;
    assert!(text.contains("into_make_service_with_connect_info"), "{text}");
}
