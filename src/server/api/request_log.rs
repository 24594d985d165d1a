//! The span of a request, with what the handlers record. The log has one line for each at debug level, and a collector gets the
//! span as the server's part of a trace. The names are those of the semantic conventions for HTTP.

use std::fmt::Debug;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use tracing::field::{Empty, debug, display};
use tracing::{Instrument, Level, Span};

use crate::limit::{LeaseId, LimitKey};

/// The target of the spans and lines. Settings of `log.filter` name it, so it stays when this module moves.
const TARGET: &str = "ledger_limiter::api";

/// A name that callers give to a request. It is recorded, and nothing else is made of it.
const REQUEST_ID: &str = "x-request-id";
/// The longest name that is recorded.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Adds the span to `router`, if the subscriber enables it. Even a layer that does nothing costs every request a boxed service
/// and a boxed future.
pub(in crate::server) fn layer(router: Router) -> Router {
    if tracing::span_enabled!(target: TARGET, Level::DEBUG, "request") {
        router.layer(middleware::from_fn(trace_request))
    } else {
        router
    }
}

async fn trace_request(request: Request, next: Next) -> Response {
    let span = span_of(&request);
    let started = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let latency_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    span.in_scope(|| tracing::debug!(target: TARGET, status = status.as_u16(), latency_us, "answered"));
    response
}

fn span_of(request: &Request) -> Span {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let name = format!("{} {}", request.method(), route.unwrap_or(""));
    let span = tracing::debug_span!(
        target: TARGET, "request",
        otel.name = name.trim_end(), otel.kind = "server", otel.status_code = Empty,
        http.request.method = %request.method(), http.route = route, url.path = request.uri().path(),
        http.response.status_code = Empty, request_id = request_id(request),
        lease_id = Empty, job_id = Empty, keys = Empty, outcome = Empty,
    );
    #[cfg(feature = "otlp")]
    crate::server::otlp::trace_context::adopt(&span, request.headers());
    span
}

fn request_id(request: &Request) -> Option<&str> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    (id.len() <= REQUEST_ID_BYTES_MAX).then_some(id)
}

/// Adds the lease, the keys and the outcome to the span of the current request.
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
