//! HTTP: bodies in, commands out, answers and statuses back. Nothing is decided here.

mod admin;
mod batch;
mod complete;
mod extend;
mod health;
mod json;
mod metrics;
mod objects;
mod reject;
mod reserve;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post, put};
use tracing::Instrument;
use tracing::field::Empty;

pub use health::Readiness;
use reject::Reject;

use crate::engine::Engine;
use crate::ledger::Ledger;
use crate::server::metrics::Metrics;

/// The longest body, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// What the handlers need.
pub struct Api<L> {
    /// The limiter and its registry.
    pub engine: Arc<Engine<L>>,
    /// Whether the ledger answers.
    pub readiness: Readiness<L>,
    /// How long a request may take before its outcome counts as unknown.
    pub request_timeout: Duration,
    /// How many items a batch may have.
    pub batch_requests_max: usize,
    /// What is counted.
    pub metrics: Metrics,
}

/// The routes of the API. Requests are logged if the log was told to before this is called.
pub fn router<L: Ledger>(api: Arc<Api<L>>) -> Router {
    let router = Router::new()
        .route("/v1/reserve", post(reserve::one))
        .route("/v1/reserve/batch", post(reserve::batch))
        .route("/v1/extend", post(extend::one))
        .route("/v1/complete", post(complete::one))
        .route("/v1/complete/batch", post(complete::batch))
        .route("/v1/admin/limits", put(admin::put).get(admin::list))
        .route(
            "/v1/admin/limits/{*key}",
            get(admin::get_or_history).delete(admin::delete).post(admin::replenish),
        )
        .route("/v1/objects/{*path}", get(objects::get).post(objects::post).put(objects::put))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .fallback(async || Reject::NoRoute)
        .method_not_allowed_fallback(async || Reject::WrongMethod)
        .with_state(api);
    // A layer costs every request as much as its answer does, also one that does nothing.
    if tracing::enabled!(tracing::Level::DEBUG) {
        return router.layer(middleware::from_fn(log_request));
    }
    router
}

/// One line per request, with what the handlers record in its span.
async fn log_request(request: Request, next: Next) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let span = tracing::debug_span!("request", %method, path, lease_id = Empty, job_id = Empty, keys = Empty, outcome = Empty);
    let started = std::time::Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let latency_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    span.in_scope(|| tracing::debug!(status = response.status().as_u16(), latency_us, "answered"));
    response
}

/// Tells the request's line what it was about and what came of it.
fn record<'a>(
    lease: crate::limit::LeaseId,
    job_id: &str,
    keys: impl Iterator<Item = &'a crate::limit::LimitKey>,
    outcome: &dyn std::fmt::Debug,
) {
    let span = tracing::Span::current();
    if span.is_disabled() {
        return;
    }
    let keys: Vec<&str> = keys.map(crate::limit::LimitKey::as_str).collect();
    span.record("lease_id", tracing::field::display(lease));
    span.record("job_id", job_id);
    span.record("keys", tracing::field::debug(keys));
    span.record("outcome", tracing::field::debug(outcome));
}

impl<L: Ledger> Api<L> {
    /// Waits for the service to be up and for an answer, as long as a request may take.
    async fn in_time<T, E: Into<Reject>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Reject> {
        let mut answer = pin!(async {
            self.readiness.bootstrapped().await;
            answer.await
        });
        // Where the answer is there at once, as with the memory ledger, no timer is needed.
        let at_once = poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await;
        if let Poll::Ready(answer) = at_once {
            return answer.map_err(Into::into);
        }
        match tokio::time::timeout(self.request_timeout, answer).await {
            Ok(answer) => answer.map_err(Into::into),
            Err(_) => Err(Reject::TimedOut),
        }
    }
}
