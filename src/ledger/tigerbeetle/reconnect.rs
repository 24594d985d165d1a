//! New sessions, tried for again and again. The only place that knows the crate that spaces the attempts.

use std::sync::Arc;
use std::time::Duration;

use backoff::ExponentialBackoffBuilder;
use backoff::backoff::Backoff;

use super::ledger_clock::LedgerClock;
use super::session::{Reply, Request, RequestError, Session};
use super::submitter::{Connect, SendError, TransferSession};
use super::{decode, encode, unreachable_because};
use crate::ledger::{Chain, ChainOutcome, LedgerError};
use crate::telemetry::with_sources;
use tigerbeetle_unofficial::core::error::SendErrorKind;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Makes sessions with one cluster.
#[derive(Clone)]
pub(super) struct Connector {
    cluster_id: u128,
    addresses: Arc<[String]>,
    ledger: u32,
    clock: Arc<LedgerClock>,
}

/// A session that keeps the clock.
pub(super) struct ClusterSession {
    session: Session,
    ledger: u32,
    clock: Arc<LedgerClock>,
}

impl Connector {
    pub(super) fn new(
        cluster_id: u128,
        addresses: Vec<String>,
        ledger: u32,
        clock: Arc<LedgerClock>,
    ) -> Self {
        Self { cluster_id, addresses: addresses.into(), ledger, clock }
    }

    /// Tries until there is a session. A cluster that is away does not stop it: only names that do not resolve and a
    /// machine without resources do.
    pub(super) async fn session(&self) -> ClusterSession {
        let mut pauses = ExponentialBackoffBuilder::new()
            .with_initial_interval(FIRST_PAUSE)
            .with_max_interval(LONGEST_PAUSE)
            .with_max_elapsed_time(None)
            .build();
        loop {
            match Session::connect(self.cluster_id, &self.addresses).await {
                Ok(session) => {
                    return ClusterSession { session, ledger: self.ledger, clock: Arc::clone(&self.clock) };
                }
                Err(error) => {
                    tracing::warn!(error = with_sources(&error), "no session with TigerBeetle");
                    tokio::time::sleep(pauses.next_backoff().unwrap_or(LONGEST_PAUSE)).await;
                }
            }
        }
    }
}

impl ClusterSession {
    pub(super) async fn request(&self, request: Request) -> Result<Reply, RequestError> {
        let reply = self.session.request(request).await?;
        self.clock.heard(reply.timestamp_ns);
        Ok(reply)
    }
}

impl Connect for Connector {
    type Session = ClusterSession;

    async fn connect(&self) -> ClusterSession {
        self.session().await
    }
}

impl TransferSession for ClusterSession {
    async fn create_transfers(&mut self, chains: &[Chain]) -> Result<Vec<ChainOutcome>, SendError> {
        let request = Request::CreateTransfers(encode::chains(self.ledger, chains));
        match self.request(request).await {
            Ok(reply) => Ok(decode::outcomes(chains, &reply.payload, reply.timestamp_ns)),
            Err(error) if is_too_much(&error) => Err(SendError::TooMuchData),
            Err(error) => Err(SendError::Lost(lost(error))),
        }
    }
}

fn is_too_much(error: &RequestError) -> bool {
    matches!(error, RequestError::Send(error) if matches!(error.kind(), SendErrorKind::TooMuchData))
}

/// What a request without a reply means to those who wait for it; the session must be replaced.
pub(super) fn lost(error: RequestError) -> LedgerError {
    unreachable_because(error)
}
