//! The trace that a request belongs to: W3C Trace Context, level 1.

use axum::http::HeaderMap;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Makes `span` a child of the span that the headers `traceparent` and `tracestate` name. Without them, or with malformed
/// ones, it begins a trace.
pub(in crate::server) fn adopt(span: &Span, headers: &HeaderMap) {
    if !headers.contains_key("traceparent") {
        return;
    }
    let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    // A span that is not sent has no place for a parent.
    span.set_parent(context).ok();
}
