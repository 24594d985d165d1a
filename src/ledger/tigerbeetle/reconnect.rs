//! New sessions, tried for again and again. The only place that knows the crate that spaces the attempts.

use std::sync::Arc;
use std::time::Duration;

use backoff::ExponentialBackoffBuilder;
use backoff::backoff::Backoff;

use super::ledger_clock::LedgerClock;
use super::session::{Reply, Request, RequestError, Session};
use super::submitter::{Connect, SendError, TransferSession};
use super::{decode, encode};
use crate::ledger::{Chain, ChainOutcome, LedgerError};
use crate::telemetry::with_sources;

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

/// A session that keeps the clock, and is replaced when it is lost.
pub(super) struct ClusterSession {
    session: Session,
    connector: Connector,
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

    /// Tries until there is a session and the cluster has answered on it. A session that was only begun may take a while
    /// to reach the cluster, and whoever handed it a request would wait that long while another one is idle.
    pub(super) async fn session(&self) -> ClusterSession {
        let mut pauses = ExponentialBackoffBuilder::new()
            .with_initial_interval(FIRST_PAUSE)
            .with_max_interval(LONGEST_PAUSE)
            .with_max_elapsed_time(None)
            .build();
        loop {
            match Session::connect(self.cluster_id, &self.addresses).await {
                Ok(session) => {
                    let session = ClusterSession { session, connector: self.clone() };
                    // Whether there is such an account does not matter.
                    match session.request(Request::LookupAccounts(vec![1])).await {
                        Ok(_) => return session,
                        Err(error) => {
                            tracing::warn!(error = with_sources(&error), "TigerBeetle does not answer yet");
                        }
                    }
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
        self.connector.clock.heard(reply.timestamp_ns);
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
    /// A cluster evicts idle sessions when new ones come. Every chain can be sent again, so what was lost with a session
    /// is sent once more on a new one before anybody hears of it.
    async fn create_transfers(&mut self, chains: &[Chain]) -> Result<Vec<ChainOutcome>, SendError> {
        let encode =
            |session: &Self| Request::CreateTransfers(encode::chains(session.connector.ledger, chains));
        let mut result = self.request(encode(self)).await;
        if result.as_ref().is_err_and(|error| !error.is_too_much_data()) {
            *self = self.connector.session().await;
            result = self.request(encode(self)).await;
        }
        match result {
            Ok(reply) => Ok(decode::outcomes(chains, &reply.payload, reply.timestamp_ns)),
            Err(error) if error.is_too_much_data() => Err(SendError::TooMuchData),
            Err(error) => Err(SendError::Lost(failed(error))),
        }
    }
}

/// What a request without a reply means to those who wait for it.
pub(super) fn failed(error: RequestError) -> LedgerError {
    if error.is_too_much_data() {
        return LedgerError::RequestTooLarge;
    }
    LedgerError::Unreachable(Arc::new(error))
}
