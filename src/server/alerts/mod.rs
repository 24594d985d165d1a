//! What becomes of crossed thresholds: a metric and a line of the log, and a webhook if there is one.
//!
//! | file | what it is |
//! | --- | --- |
//! | `counts.rs` | the metrics |
//! | `delivery.rs` | posts the events of a queue one after another, with pauses and attempts (feature `client-tls`) |
//! | `webhook.rs` | one attempt: the request, and what its answer means |
//! | `event.rs`, `signature.rs` | the body of an event; what proves that it is from here |

mod counts;
#[cfg(feature = "client-tls")]
mod delivery;
#[cfg(feature = "client-tls")]
mod event;
#[cfg(feature = "client-tls")]
mod signature;
#[cfg(feature = "client-tls")]
mod webhook;

use std::path::PathBuf;

use tokio::sync::mpsc;

use super::config::AlertsSettings;
use crate::limiter::{Alert, AlertObserver};
use crate::telemetry::{MetricsRegistry, Occurrences};
#[cfg(feature = "client-tls")]
use crate::tls::TlsOptionsError;
use counts::Counts;
#[cfg(feature = "client-tls")]
pub(super) use delivery::Delivery;

static DROPPED: Occurrences = Occurrences::new();

/// Why the webhook cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AlertsError {
    /// The file of the secret cannot be read.
    #[error("{path}: cannot read the secret (alerts.webhook_secret_path)")]
    ReadSecret {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The secret is too short to be one.
    #[error("{path}: the secret must be at least {bytes_min} bytes long (alerts.webhook_secret_path)")]
    ShortSecret {
        /// The file.
        path: PathBuf,
        /// The shortest secret.
        bytes_min: usize,
    },
    /// The certificates to trust cannot be used.
    #[cfg(feature = "client-tls")]
    #[error("alerts.webhook_ca_path")]
    Tls(#[from] TlsOptionsError),
}

/// This build posts no events.
#[cfg(not(feature = "client-tls"))]
pub(super) enum Delivery {}

#[cfg(not(feature = "client-tls"))]
impl Delivery {
    pub(super) async fn finish(self) {
        match self {}
    }
}

/// Counts crossed thresholds, logs them, and hands them to the webhook.
pub(super) struct AlertTeller {
    counts: Counts,
    queue: Option<mpsc::Sender<Alert>>,
}

impl AlertTeller {
    /// Tells metrics and log only.
    fn without_webhook(registry: &mut MetricsRegistry) -> Self {
        Self { counts: Counts::register(registry), queue: None }
    }

    /// The same, and posts to the webhook if the settings name one. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// A file of the settings cannot be used.
    #[cfg(feature = "client-tls")]
    pub(super) fn start(
        settings: &AlertsSettings,
        registry: &mut MetricsRegistry,
    ) -> Result<(Self, Option<Delivery>), AlertsError> {
        let teller = Self::without_webhook(registry);
        if !settings.has_webhook() {
            return Ok((teller, None));
        }
        let (queue, waiting) = mpsc::channel(settings.queue_max);
        let delivery = Delivery::start(settings, waiting, teller.counts.clone())?;
        Ok((Self { queue: Some(queue), ..teller }, Some(delivery)))
    }

    /// Tells metrics and log only: the settings name no webhook.
    #[cfg(not(feature = "client-tls"))]
    pub(super) fn start(
        _settings: &AlertsSettings,
        registry: &mut MetricsRegistry,
    ) -> Result<(Self, Option<Delivery>), AlertsError> {
        Ok((Self::without_webhook(registry), None))
    }
}

impl AlertObserver for AlertTeller {
    fn crossed(&self, alert: &Alert) {
        let Alert { key, threshold_percent, used, capacity, .. } = alert;
        tracing::info!(%key, threshold_percent, used, capacity, "a limit has crossed a threshold");
        self.counts.crossed(*threshold_percent);
        let Some(queue) = &self.queue else { return };
        if queue.try_send(alert.clone()).is_ok() {
            self.counts.queued.inc();
            return;
        }
        self.counts.dropped.inc();
        if let Some(times) = DROPPED.count() {
            tracing::warn!(times, %key, "too many alerts wait for the webhook, so one is dropped; the last of so many");
        }
    }
}
