//! What clients are told.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Method, Response, StatusCode};
use http_body_util::Full;
use ledger_limiter::client::Rate;
use ledger_limiter::client::tower::{RateLimitBuilder, Refusal};
use serde_json::{Value, json};

use super::world::{from_peer, header, limit_of, on_paused_time, per_ip, router, send, text};

fn rate() -> Rate {
    Rate::every(Duration::from_millis(1_500)).burst(2)
}

async fn limited(with: impl FnOnce(RateLimitBuilder) -> RateLimitBuilder) -> Router {
    router(on_paused_time(with(per_ip(rate())), limit_of(rate())).await)
}

/// A GET or a POST from one address.
async fn answer(router: &Router, method: Method) -> Response<Body> {
    send(router, from_peer(1, method)).await
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_how_many_seconds_to_wait() {
    let router = limited(|builder| builder).await;
    for _ in 0..2 {
        let passed = answer(&router, Method::GET).await;
        assert_eq!((passed.status(), header(&passed, "retry-after")), (StatusCode::OK, ""));
        assert_eq!(text(passed).await, "hello");
    }
    let refused = answer(&router, Method::GET).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    // Rounded up: a client that waits as long is not refused again.
    assert_eq!(header(&refused, "retry-after"), "2");
    let problem: Value = serde_json::from_str(&text(refused).await).expect("JSON");
    assert_eq!(problem["status"], json!(429));
    assert_eq!(problem["violated-policies"], json!(["http:ip"]));
}

#[tokio::test(start_paused = true)]
async fn the_remaining_requests_are_told_on_request() {
    let router = limited(|builder| builder.tells_remaining(true)).await;
    for (status, remaining) in
        [(200, r#""http:ip";r=1"#), (200, r#""http:ip";r=0"#), (429, r#""http:ip";r=0;t=2"#)]
    {
        let response = answer(&router, Method::GET).await;
        assert_eq!((response.status().as_u16(), header(&response, "ratelimit")), (status, remaining));
        assert_eq!(header(&response, "ratelimit-policy"), r#""http:ip";q=2;w=3"#);
    }
}

#[tokio::test(start_paused = true)]
async fn methods_may_be_left_out() {
    let router = limited(|builder| builder.skip(|parts| parts.method != Method::GET)).await;
    for expected in [200, 200, 429] {
        assert_eq!(answer(&router, Method::GET).await.status().as_u16(), expected);
    }
    let skipped = answer(&router, Method::POST).await;
    assert_eq!((skipped.status(), header(&skipped, "ratelimit-policy")), (StatusCode::OK, ""));
    assert_eq!(text(skipped).await, "posted");
}

#[tokio::test(start_paused = true)]
async fn the_refusal_may_be_written_by_the_application() {
    let write = |refusal: &Refusal| {
        let seconds = refusal.retry_after_seconds().unwrap_or_default();
        let mut response = Response::new(Full::new(Bytes::from(format!("come back in {seconds} s"))));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    };
    let router = limited(|builder| builder.respond(write)).await;
    for (expected, body) in [(200, "hello"), (200, "hello"), (418, "come back in 2 s")] {
        let response = answer(&router, Method::GET).await;
        assert_eq!(response.status().as_u16(), expected);
        assert_eq!(text(response).await, body);
    }
}
