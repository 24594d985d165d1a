//! The log of requests: one line each at debug level, with what the handlers record.

use std::fmt::Debug;
use std::time::Instant;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use tracing::field::{Empty, debug, display};
use tracing::{Instrument, Level, Span};

use crate::limit::{LeaseId, LimitKey};

/// The target of the lines. Settings of `log.filter` name it, so it stays when this module moves.
const TARGET: &str = "ledger_limiter::api";

/// Adds the log to `router`, if the subscriber enables its lines. Even a layer that logs nothing costs every request a
/// boxed service and a boxed future.
pub(in crate::server) fn layer(router: Router) -> Router {
    if tracing::enabled!(target: TARGET, Level::DEBUG) {
        router.layer(middleware::from_fn(log_request))
    } else {
        router
    }
}

async fn log_request(request: Request, next: Next) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let span = tracing::debug_span!(
        target: TARGET, "request",
        %method, path, lease_id = Empty, job_id = Empty, keys = Empty, outcome = Empty,
    );
    let started = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let latency_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let status = response.status().as_u16();
    span.in_scope(|| tracing::debug!(target: TARGET, status, latency_us, "answered"));
    response
}

/// Adds the lease, the keys and the outcome to the line of the current request.
pub(super) fn record<'a>(
    lease: LeaseId,
    job_id: &str,
    keys: impl Iterator<Item = &'a LimitKey>,
    outcome: &dyn Debug,
) {
    let span = Span::current();
    if span.is_disabled() {
        return;
    }
    let keys: Vec<&str> = keys.map(LimitKey::as_str).collect();
    span.record("lease_id", display(lease));
    span.record("job_id", job_id);
    span.record("keys", debug(keys));
    span.record("outcome", debug(outcome));
}
