//! `GET /metrics`: the metrics in the OpenMetrics text format.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::guard::{Authorized, ToReadMetrics};
use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::registry::LimitUsage;
use crate::telemetry::Occurrences;

/// The format that Prometheus prefers.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

static UNREAD_LIMITS: Occurrences = Occurrences::new();

pub(super) async fn metrics<L: Ledger>(authorized: Authorized<L, ToReadMetrics>) -> Response {
    let limits = shown_limits(&authorized).await;
    match authorized.api().metrics.text(&limits) {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        // Writing to a `String` does not fail.
        Err(std::fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The usage of the limits in `metrics.limits` that the caller may use. None while the ledger does not answer: the other
/// metrics are needed then most of all.
async fn shown_limits<L: Ledger>(authorized: &Authorized<L, ToReadMetrics>) -> Vec<LimitUsage> {
    let api = authorized.api();
    let keys: Vec<LimitKey> =
        api.shown_limits.iter().filter(|key| authorized.may_use(key)).cloned().collect();
    if keys.is_empty() {
        return Vec::new();
    }
    match api.in_time(api.engine.admin().usage_of(&keys)).await {
        Ok(usages) => usages,
        Err(reject) => {
            if let Some(times) = UNREAD_LIMITS.count() {
                tracing::warn!(times, error = reject.name(), "/metrics lacks the limits of metrics.limits");
            }
            Vec::new()
        }
    }
}
