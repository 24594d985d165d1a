//! The HTTP API: a body becomes a command, an outcome becomes an answer with its status. Nothing is decided here.
//!
//! | file | endpoints |
//! | --- | --- |
//! | `reserve.rs`, `complete.rs` | `/v1/reserve`, `/v1/complete`, and their batches |
//! | `extend.rs` | `/v1/extend` |
//! | `objects.rs` | `/v1/objects` |
//! | `admin.rs` | `/v1/admin/limits` |
//! | `health.rs`, `metrics.rs` | `/healthz`, `/readyz`, `/metrics` |
//! | `json.rs`, `batch.rs` | reading bodies and batches |
//! | `reject.rs` | the one place that turns errors into statuses |

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
    /// The time after which the outcome of a request counts as unknown.
    pub request_timeout: Duration,
    /// The most items of a batch.
    pub batch_requests_max: usize,
    /// The counters.
    pub metrics: Metrics,
}

/// The routes of the API. Requests are logged if the log level is debug when this is called.
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
    // Even a layer that does nothing costs every request a boxed service and a boxed future.
    if tracing::enabled!(tracing::Level::DEBUG) {
        return router.layer(middleware::from_fn(log_request));
    }
    router
}

/// Logs one line per request, with the fields that its handler recorded.
async fn log_request(request: Request, next: Next) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let span = tracing::debug_span!("request", %method, path, lease_id = Empty, job_id = Empty, keys = Empty, outcome = Empty);
    let started = std::time::Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let latency_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    span.in_scope(|| tracing::debug!(status = response.status().as_u16(), latency_us, "answered"));
    response
}

/// Adds lease, job, keys and outcome to the log line of the current request.
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
    /// Waits until the definitions are read, and then for the answer, at most as long as a request may take.
    async fn in_time<T, E: Into<Reject>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Reject> {
        let mut answer = pin!(async {
            self.readiness.bootstrapped().await;
            answer.await
        });
        // The memory ledger answers at once: then no timer is armed.
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
