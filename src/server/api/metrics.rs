//! `GET /metrics`: the metrics in the OpenMetrics text format.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::guard::{Authorized, ToReadMetrics};
use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::registry::LimitUsage;
use crate::telemetry::Occurrences;

/// The format that Prometheus prefers.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

static UNREAD_LIMITS: Occurrences = Occurrences::new();

pub(super) async fn metrics<L: Ledger>(authorized: Authorized<L, ToReadMetrics>) -> Response {
    match text(authorized.api(), |key| authorized.may_use(key)).await {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        // Writing to a `String` does not fail.
        Err(std::fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The metrics, and of the limits in `metrics.limits` those that `may_see` lets through.
pub(in crate::server) async fn text<L: Ledger>(
    api: &Api<L>,
    may_see: impl Fn(&LimitKey) -> bool,
) -> Result<String, std::fmt::Error> {
    api.metrics.text(&shown_limits(api, may_see).await)
}

/// The usage of the shown limits. None while the ledger does not answer: the other metrics are needed then most of all.
async fn shown_limits<L: Ledger>(api: &Api<L>, may_see: impl Fn(&LimitKey) -> bool) -> Vec<LimitUsage> {
    let keys: Vec<LimitKey> = api.shown_limits.iter().filter(|key| may_see(key)).cloned().collect();
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
