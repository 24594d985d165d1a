//! `GET /healthz` and `GET /readyz`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use tokio::sync::watch;

use super::Api;
use super::json::answer;
use super::reject::unavailable;
use crate::ledger::{AccountId, Ledger};
use crate::protocol::ErrorBody;
use crate::telemetry::with_sources;

/// The time after which the ledger counts as not answering.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether the ledger answers and the definitions were read.
pub struct Readiness<L> {
    ledger: Arc<L>,
    operator: AccountId,
    bootstrapped: watch::Sender<bool>,
    /// One probe at a time, so that probes do not pile up while the ledger does not answer.
    probe: tokio::sync::Mutex<()>,
}

impl<L: Ledger> Readiness<L> {
    /// Asks `ledger` for its operator account; not ready until [`Readiness::set_bootstrapped`].
    pub fn new(ledger: Arc<L>, operator: AccountId) -> Self {
        Self { ledger, operator, bootstrapped: watch::Sender::new(false), probe: tokio::sync::Mutex::new(()) }
    }

    /// Records that the definitions have been read.
    pub fn set_bootstrapped(&self) {
        self.bootstrapped.send_replace(true);
    }

    /// Waits until the definitions have been read: an answer before that would call every key unknown.
    pub(super) async fn bootstrapped(&self) {
        if !*self.bootstrapped.borrow() {
            // The sender lives as long as `self`, so the wait cannot fail.
            self.bootstrapped.subscribe().wait_for(|bootstrapped| *bootstrapped).await.ok();
        }
    }

    /// Why the service is not ready; `None` if it is.
    async fn obstacle(&self) -> Option<String> {
        let probe = async {
            let _one_at_a_time = self.probe.lock().await;
            self.ledger.accounts(vec![self.operator]).await
        };
        match tokio::time::timeout(PROBE_TIMEOUT, probe).await {
            Ok(Ok(_)) if *self.bootstrapped.borrow() => None,
            Ok(Ok(_)) => Some("the definitions have not been read yet".to_owned()),
            Ok(Err(error)) => Some(with_sources(&error)),
            Err(_) => Some(format!("the ledger has not answered within {} ms", PROBE_TIMEOUT.as_millis())),
        }
    }
}

/// `GET /healthz`
pub(super) async fn healthz() -> Response {
    answer(StatusCode::OK, serde_json::json!({ "ok": true }))
}

/// `GET /readyz`
pub(super) async fn readyz<L: Ledger>(State(api): State<Arc<Api<L>>>) -> Response {
    match api.readiness.obstacle().await {
        None => answer(StatusCode::OK, serde_json::json!({ "ok": true })),
        Some(message) => {
            let body = ErrorBody { error: "not_ready".to_owned(), message };
            unavailable(answer(StatusCode::SERVICE_UNAVAILABLE, body))
        }
    }
}
