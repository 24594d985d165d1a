//! `otlp.*`: traces, logs and metrics for a collector.

use std::path::PathBuf;

use axum::http::Uri;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::check::bad;

/// A collector should not be sent metrics more often.
const METRICS_INTERVAL_MS_MIN: u64 = 1_000;

/// `otlp.*`: traces, logs and metrics for a collector, by OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpSettings {
    /// The collector, `http://HOST:PORT` or `https://HOST:PORT`; empty for none.
    pub endpoint: String,
    /// The file with the headers of every request to the collector, one `name: value` in a line; empty for none.
    pub headers_path: PathBuf,
    /// The PEM file of the certificates to trust; empty for those of the system.
    pub ca_path: PathBuf,
    /// The share of the requests that are traced, 0 to 1, of those that do not come with a trace.
    pub traces_share: f64,
    /// Whether the lines of the log are sent, too.
    pub logs: bool,
    /// The time between two exports of the metrics; 0 for none.
    pub metrics_interval_ms: u64,
}

impl Default for OtlpSettings {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            headers_path: PathBuf::new(),
            ca_path: PathBuf::new(),
            traces_share: 0.01,
            logs: true,
            metrics_interval_ms: 60_000,
        }
    }
}

impl OtlpSettings {
    /// Whether there is a collector.
    pub fn is_on(&self) -> bool {
        !self.endpoint.is_empty()
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !(0.0..=1.0).contains(&self.traces_share) {
            let message = format!("must be between 0 and 1, not {}", self.traces_share);
            return Err(bad("otlp.traces_share", &message));
        }
        if (1..METRICS_INTERVAL_MS_MIN).contains(&self.metrics_interval_ms) {
            let found = self.metrics_interval_ms;
            let message = format!("must be 0 or at least {METRICS_INTERVAL_MS_MIN}, not {found}");
            return Err(bad("otlp.metrics_interval_ms", &message));
        }
        if !self.is_on() {
            return Ok(());
        }
        if cfg!(not(feature = "otlp")) {
            return Err(bad("otlp.endpoint", "must be empty: this build has no OTLP (feature `otlp`)"));
        }
        let uri: Option<Uri> = self.endpoint.parse().ok();
        let is_usable = uri.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some()
                && uri.query().is_none()
        });
        if is_usable {
            Ok(())
        } else {
            Err(bad(
                "otlp.endpoint",
                &format!("must be http://HOST:PORT or https://HOST:PORT, not {:?}", self.endpoint),
            ))
        }
    }
}
