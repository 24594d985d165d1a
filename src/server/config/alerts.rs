//! `alerts.*`: looks for crossed thresholds of limits, and the webhook that is told of them.

use std::path::PathBuf;
use std::time::Duration;

use axum::http::Uri;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::check::{at_least_1, bad};

/// More frequent looks cost the ledger more than they tell.
const LOOK_INTERVAL_MS_MIN: u64 = 100;
/// A slower receiver would hold up the other events.
const TIMEOUT_MS_MAX: u64 = 60_000;

/// `alerts.*`: looks for crossed thresholds of limits, and the webhook that is told of them. An empty path names no file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsSettings {
    /// The time between two looks at the usage of limits with alerts.
    pub look_interval_ms: u64,
    /// The most events that wait for the webhook.
    pub queue_max: usize,
    /// How often an event is posted, at most.
    pub webhook_attempts_max: u32,
    /// The PEM file of the certificates to trust; empty for those of the system.
    pub webhook_ca_path: PathBuf,
    /// The pause before the second attempt; each further pause is twice as long, up to a minute.
    pub webhook_retry_ms: u64,
    /// The file with the secret that signs events.
    pub webhook_secret_path: PathBuf,
    /// How long the receiver may take to answer, connecting included.
    pub webhook_timeout_ms: u64,
    /// Where events are posted, `http://` or `https://`; empty for nowhere.
    pub webhook_url: String,
}

impl Default for AlertsSettings {
    fn default() -> Self {
        Self {
            look_interval_ms: 1_000,
            queue_max: 1_000,
            webhook_attempts_max: 8,
            webhook_ca_path: PathBuf::new(),
            webhook_retry_ms: 1_000,
            webhook_secret_path: PathBuf::new(),
            webhook_timeout_ms: 5_000,
            webhook_url: String::new(),
        }
    }
}

impl AlertsSettings {
    /// [`AlertsSettings::look_interval_ms`] as a duration.
    pub fn look_interval(&self) -> Duration {
        Duration::from_millis(self.look_interval_ms)
    }

    /// Whether events are posted.
    pub fn has_webhook(&self) -> bool {
        !self.webhook_url.is_empty()
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.look_interval_ms < LOOK_INTERVAL_MS_MIN {
            let message = format!("must be at least {LOOK_INTERVAL_MS_MIN}, not {}", self.look_interval_ms);
            return Err(bad("alerts.look_interval_ms", &message));
        }
        at_least_1("alerts.queue_max", self.queue_max as u64)?;
        at_least_1("alerts.webhook_attempts_max", self.webhook_attempts_max.into())?;
        at_least_1("alerts.webhook_retry_ms", self.webhook_retry_ms)?;
        if !(1..=TIMEOUT_MS_MAX).contains(&self.webhook_timeout_ms) {
            let message = format!("must be between 1 and {TIMEOUT_MS_MAX}, not {}", self.webhook_timeout_ms);
            return Err(bad("alerts.webhook_timeout_ms", &message));
        }
        let has_secret = !self.webhook_secret_path.as_os_str().is_empty();
        match (self.has_webhook(), has_secret) {
            (false, false) => Ok(()),
            (false, true) => Err(bad(
                "alerts.webhook_secret_path",
                "needs a receiver of the signed events; set alerts.webhook_url",
            )),
            (true, false) => Err(bad(
                "alerts.webhook_secret_path",
                "must name a file with the secret that signs events, because alerts.webhook_url is set",
            )),
            (true, true) => self.check_url(),
        }
    }

    /// The text of the error does not show the URL: its path may be a secret of the receiver.
    fn check_url(&self) -> Result<(), ConfigError> {
        if cfg!(not(feature = "client-tls")) {
            let message = "must be empty: this build posts no webhooks (feature `client-tls`)";
            return Err(bad("alerts.webhook_url", message));
        }
        let uri: Option<Uri> = self.webhook_url.parse().ok();
        let is_usable = uri.is_some_and(|uri| {
            let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && !has_user
        });
        // The parser drops a fragment, which no server is sent.
        if is_usable && !self.webhook_url.contains('#') {
            return Ok(());
        }
        let message =
            "must be http://HOST:PORT/PATH or https://HOST:PORT/PATH, without a user and a fragment";
        Err(bad("alerts.webhook_url", message))
    }
}
