//! Requests whose connection ends before their answer.

use futures_util::FutureExt;
use ledger_limiter::limit::{Amount, LimitKey};
use ledger_limiter::protocol::{Requirement, Reserve};

use super::*;

/// Sends a request to a service that is not ready, and drops it while it waits for the service.
fn send_and_hang_up(service: &Service, method: Method, path: &str, body: &Value) {
    let answer = service.call(method, path, body.to_string()).now_or_never();
    assert!(answer.is_none(), "{path} waits for the service");
}

/// Waits until no request is carried out any more.
async fn until_idle(service: &Service) {
    loop {
        tokio::task::yield_now().await;
        let metrics = service.api.metrics.text(&[]).expect("metrics");
        if metrics.lines().any(|line| line == "ratelimiterd_requests_in_flight 0") {
            return;
        }
    }
}

#[tokio::test]
async fn what_was_read_is_carried_out_although_the_connection_ends() {
    let service = Service::not_ready().await;
    let admin = service.api.engine.admin();
    for limit in [concurrency("slots", 5, 60), concurrency("old", 5, 60)] {
        admin.put(&limit).await.expect("it is put");
    }
    let key = LimitKey::parse("slots").expect("valid");
    let (completed, batched, extended, fresh) = (lease(), lease(), lease(), lease());
    for id in [completed, batched, extended] {
        let one = Requirement { key: key.clone(), amount: Amount::new(1).expect("valid") };
        service.api.engine.limiter().reserve(&Reserve::of_one(id, one)).await.expect("it is granted");
    }
    let new = json!({ "key": "new", "kind": "rolling", "capacity": 1, "window_seconds": 1 });
    for (method, path, body) in [
        (Method::POST, "/v1/complete", json!({ "lease_id": completed.to_string() })),
        (Method::POST, "/v1/complete/batch", json!({ "requests": [{ "lease_id": batched.to_string() }] })),
        (
            Method::POST,
            "/v1/extend",
            json!({ "lease_id": extended.to_string(), "extend_id": lease().to_string(), "key": "slots", "amount": 1 }),
        ),
        (Method::POST, "/v1/reserve", reserve_body(&fresh.to_string(), "slots", 1)),
        (Method::PUT, "/v1/admin/limits", new),
        (Method::PUT, "/v1/objects/bucket/rate", json!({ "limit": 1, "burst": 1 })),
        (Method::DELETE, "/v1/admin/limits/old", Value::Null),
    ] {
        send_and_hang_up(&service, method, path, &body);
    }
    service.api.readiness.set_bootstrapped();
    until_idle(&service).await;
    let expected = json!({ "available": 2, "reserved": 3, "debt": 0 });
    assert_eq!(service.limit("slots").await["usage"], expected, "one lease of 2 and one of 1 are left");
    assert_eq!(service.listed_keys().await, ["bucket", "new", "slots"]);
}

#[tokio::test]
async fn half_a_body_is_not_carried_out() {
    let service = Service::new().await;
    let bucket = json!({ "key": "bucket", "kind": "token_bucket", "capacity": 5, "refill_amount": 5,
        "refill_interval_ms": 1, "auto_replenish": false });
    assert_eq!(service.put(&bucket).await.status, StatusCode::OK);
    service.reserve("bucket", 5).await.assert_granted();
    // The connection announced a body, and ended before any of it: an absent body would be a whole request.
    let request =
        Request::post("/v1/admin/limits/bucket/replenish").header("content-type", "application/json");
    let request = request.body(Body::new(Announced(20))).expect("a request");
    let answer = service.send_request(request).await.read();
    answer.assert_invalid("the connection ended before the whole body was read");
    assert_eq!(service.limit("bucket").await["usage"]["available"], json!(0));
}

/// A body of this many bytes that ends before the first.
struct Announced(u64);

impl hyper::body::Body for Announced {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Ready(None)
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.0)
    }
}
