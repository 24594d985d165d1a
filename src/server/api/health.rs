//! `GET /healthz` and `GET /readyz`, and the wait for the definitions at the start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use tokio::sync::watch;

use super::answer::answer;
use super::guard::Public;
use super::reject::unavailable;
use crate::ledger::{AccountId, Ledger};
use crate::protocol::ErrorBody;
use crate::telemetry::with_sources;

/// How long the ledger may take to answer a probe before the service is not ready.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether the definitions are read and the ledger answers.
pub struct Readiness<L> {
    ledger: Arc<L>,
    operator: AccountId,
    bootstrapped: watch::Sender<bool>,
    stopping: AtomicBool,
    /// Held during a probe, so that probes do not pile up in the ledger's queue while it does not answer.
    probe: tokio::sync::Mutex<()>,
}

impl<L: Ledger> Readiness<L> {
    /// Not ready until [`Readiness::set_bootstrapped`]. A probe looks up the account `operator` in `ledger`.
    pub fn new(ledger: Arc<L>, operator: AccountId) -> Self {
        let (bootstrapped, stopping) = (watch::Sender::new(false), AtomicBool::new(false));
        Self { ledger, operator, bootstrapped, stopping, probe: tokio::sync::Mutex::new(()) }
    }

    /// Records that the service will stop: it is not ready from now on, although it still answers.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Records that the definitions are read, and lets waiting requests continue.
    pub fn set_bootstrapped(&self) {
        self.bootstrapped.send_replace(true);
    }

    /// Waits until the definitions are read. An answer before that would call every key unknown.
    pub(super) async fn bootstrapped(&self) {
        if !*self.bootstrapped.borrow() {
            // This fails only without the sender, which lives as long as `self`.
            self.bootstrapped.subscribe().wait_for(|bootstrapped| *bootstrapped).await.ok();
        }
    }

    /// Why the service is not ready; `None` if it is.
    pub(in crate::server) async fn reason_not_ready(&self) -> Option<String> {
        if self.stopping.load(Ordering::Relaxed) {
            return Some("ratelimiterd is stopping; send requests to another one".to_owned());
        }
        let probe = async {
            let _one_at_a_time = self.probe.lock().await;
            self.ledger.accounts(vec![self.operator]).await
        };
        match tokio::time::timeout(PROBE_TIMEOUT, probe).await {
            Ok(Ok(_)) if !*self.bootstrapped.borrow() => {
                Some("the definitions have not been read yet".to_owned())
            }
            Ok(Ok(_)) if !self.ledger.can_send_chains() => Some(
                "the ledger answers look-ups, but no session that sends transfers is connected yet"
                    .to_owned(),
            ),
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(with_sources(&error)),
            Err(_) => {
                let silence = format!("the ledger did not answer within {} ms", PROBE_TIMEOUT.as_millis());
                Some(match self.ledger.likely_fault() {
                    Some(fault) => format!("{silence}: {fault}"),
                    None => silence,
                })
            }
        }
    }
}

/// The body of the answer of a service that is ready.
#[derive(Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct Ready {
    /// Always true; failures have another body.
    ok: bool,
    /// Why the service is in danger, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
}

/// `GET /healthz`: 200 while the process lives.
pub(super) async fn healthz() -> Response {
    answer(StatusCode::OK, serde_json::json!({ "ok": true }))
}

/// `GET /readyz`: 200 while the service is ready, 503 with the reason otherwise.
pub(super) async fn readyz<L: Ledger>(State(public): State<Public<L>>) -> Response {
    match public.readiness().reason_not_ready().await {
        None => answer(StatusCode::OK, Ready { ok: true, warning: public.warning() }),
        Some(message) => {
            let body = ErrorBody { error: "not_ready".to_owned(), message };
            unavailable(answer(StatusCode::SERVICE_UNAVAILABLE, body))
        }
    }
}
