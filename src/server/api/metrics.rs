//! `GET /metrics`: the metrics in the OpenMetrics text format.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::guard::{Authorized, ToReadMetrics};
use crate::ledger::Ledger;

/// The format that Prometheus prefers.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn metrics<L: Ledger>(authorized: Authorized<L, ToReadMetrics>) -> Response {
    match authorized.api().metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        // Writing to a `String` does not fail.
        Err(std::fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
