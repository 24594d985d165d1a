//! Routers with a limited route, and requests to them.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, Response, StatusCode};
use axum::routing::get;
use ledger_limiter::client::tower::{RateLimitBuilder, RateLimitLayer, RequestKey};
use ledger_limiter::client::{InProcess, Limit, Limiter, Rate};
use ledger_limiter::ledger::memory::MemoryLedger;
use ledger_limiter::testing::{self, TokioClock};
use tower::ServiceExt;

pub type Layer = RateLimitLayer<InProcess<MemoryLedger<TokioClock>>>;

/// A builder that gives each client address this rate.
pub fn per_ip(rate: Rate) -> RateLimitBuilder {
    RateLimitLayer::builder(RequestKey::peer_ip()).limit(limit_of(rate))
}

pub fn limit_of(rate: Rate) -> Limit {
    rate.limit("http:ip:{ip}")
}

/// The layer over a limiter with this limit, on paused time.
pub async fn on_paused_time(builder: RateLimitBuilder, limit: Limit) -> Layer {
    let limits = testing::limits([limit]).await.expect("the limit is valid");
    builder.over(Limiter::new(limits)).expect("the layer is valid")
}

/// A router that greets, behind the layer.
pub fn router(layer: Layer) -> Router {
    routes().layer(layer)
}

pub fn routes() -> Router {
    Router::new().route("/", get(async || "hello").post(async || "posted"))
}

/// A request from the address 192.0.2.`last`.
pub fn from_peer(last: u8, method: Method) -> Request<Body> {
    let peer = SocketAddr::from(([192, 0, 2, last], 4_000));
    Request::builder()
        .method(method)
        .uri("/")
        .extension(ConnectInfo(peer))
        .body(Body::empty())
        .expect("valid")
}

pub async fn send(router: &Router, request: Request<Body>) -> Response<Body> {
    router.clone().oneshot(request).await.expect("a router answers")
}

/// The status of the answer to a GET from this peer.
pub async fn status(router: &Router, last: u8) -> StatusCode {
    send(router, from_peer(last, Method::GET)).await.status()
}

/// A header, or nothing.
pub fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

pub async fn text(response: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 16).await.expect("a body");
    String::from_utf8(bytes.to_vec()).expect("text")
}
