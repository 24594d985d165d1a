//! Sessions with a cluster: connects until it succeeds, and replaces a session that failed. The only module that knows
//! the crate for the pauses between attempts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use super::addresses::any_accepts;
use super::ledger_clock::LedgerClock;
use super::session::{Reply, Request, RequestError, Session};
use super::submitter::{Connect, SendError, TransferSession};
use super::{decode, encode};
use crate::ledger::{Chain, ChainOutcome, LedgerError};
use crate::telemetry::with_sources;

/// The first pause between two attempts.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The pause before a further session for transfers connects. A replica takes few connections, and does not answer on
/// others. So services that start together have one session each before any of them has two.
const FURTHER_SESSION_PAUSE: Duration = Duration::from_secs(1);

/// Makes sessions with one cluster.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) cluster_id: u128,
    pub(super) addresses: Arc<[String]>,
    pub(super) ledger: u32,
    pub(super) clock: Arc<LedgerClock>,
    pub(super) likely_fault: LikelyFault,
    pub(super) sending: Arc<Sending>,
}

/// The sessions that send transfers.
#[derive(Default)]
pub(super) struct Sending {
    /// Held while one of these sessions connects.
    connecting: tokio::sync::Mutex<()>,
    /// Each of these sessions has a clone while it is connected.
    connected: Arc<()>,
}

/// Why no session could be made, as far as this process knows; shared with the ledger that shows it.
#[derive(Debug, Clone, Default)]
pub(super) struct LikelyFault(Arc<Mutex<Option<String>>>);

/// A session that sets the [`LedgerClock`] and can replace itself.
pub(super) struct ClusterSession {
    session: Session,
    connector: Connector,
    /// `None` for the session of look-ups.
    _connected: Option<Arc<()>>,
}

impl Connector {
    /// Makes a session, and tries again until the cluster has answered on it.
    ///
    /// A new session may take a while to reach the cluster. A request on it would wait that long although another
    /// session is idle, so the session counts only after its first reply.
    pub(super) async fn session(&self) -> ClusterSession {
        let pauses = ExponentialBuilder::default().with_min_delay(PAUSE_MIN).with_max_delay(PAUSE_MAX);
        let mut pauses = pauses.with_jitter().without_max_times().build();
        loop {
            match Session::connect(self.cluster_id, &self.addresses).await {
                Ok(session) => {
                    let session = ClusterSession { session, connector: self.clone(), _connected: None };
                    // Any reply will do; the account need not exist.
                    match session.request(Request::LookupAccounts(vec![1])).await {
                        Ok(_) => {
                            self.likely_fault.set(None);
                            return session;
                        }
                        // No pause: on a cluster that is away, the request has waited for its time-out.
                        Err(error) => {
                            let likely_fault = self.why_silent().await;
                            tracing::warn!(
                                error = with_sources(&error),
                                likely_fault,
                                "TigerBeetle does not answer yet; trying again with a new session"
                            );
                            self.likely_fault.set(Some(likely_fault));
                        }
                    }
                }
                Err(error) => {
                    self.likely_fault.set(Some(with_sources(&error)));
                    let pause = pauses.next().unwrap_or(PAUSE_MAX);
                    tracing::warn!(
                        error = with_sources(&error),
                        pause_ms = pause.as_millis(),
                        "cannot open a session with TigerBeetle; trying again after a pause"
                    );
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// The most likely reason why a request got no reply. A replica drops the requests of a client with another cluster id.
    async fn why_silent(&self) -> String {
        if any_accepts(&self.addresses).await {
            let id = self.cluster_id;
            format!(
                "a replica accepts connections and does not reply: the id of its cluster is not {id} \
                 (tigerbeetle.cluster_id), it has no room for another session, or most replicas are away"
            )
        } else {
            let addresses = self.addresses.join(", ");
            format!("no replica accepts connections at {addresses} (tigerbeetle.addresses)")
        }
    }
}

impl Sending {
    /// Whether at least one of the sessions is connected.
    pub(super) fn is_connected(&self) -> bool {
        Arc::strong_count(&self.connected) > 1
    }
}

impl LikelyFault {
    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, fault: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

impl ClusterSession {
    pub(super) async fn request(&self, request: Request) -> Result<Reply, RequestError> {
        let reply = self.session.request(request).await?;
        self.connector.clock.observe(reply.timestamp_ns);
        Ok(reply)
    }
}

impl Connect for Connector {
    type Session = ClusterSession;

    async fn connect(&self) -> ClusterSession {
        let _one_at_a_time = self.sending.connecting.lock().await;
        if self.sending.is_connected() {
            tokio::time::sleep(FURTHER_SESSION_PAUSE).await;
        }
        let session = self.session().await;
        ClusterSession { _connected: Some(Arc::clone(&self.sending.connected)), ..session }
    }
}

impl TransferSession for ClusterSession {
    /// Sends the chains; after a failure once more, on a new session, before the caller is told.
    ///
    /// A cluster evicts an idle session when it needs room for a new one. Chains can always be sent again, so an
    /// eviction costs the caller time, not an unknown outcome.
    async fn create_transfers(&mut self, chains: &[Chain]) -> Result<Vec<ChainOutcome>, SendError> {
        let encode =
            |session: &Self| Request::CreateTransfers(encode::chains(session.connector.ledger, chains));
        let mut result = self.request(encode(self)).await;
        if result.as_ref().is_err_and(|error| !error.is_too_much_data()) {
            self.session = self.connector.session().await.session;
            result = self.request(encode(self)).await;
        }
        match result {
            Ok(reply) => Ok(decode::outcomes(chains, &reply.payload, reply.timestamp_ns)),
            Err(error) if error.is_too_much_data() => Err(SendError::TooMuchData),
            Err(error) => Err(SendError::Lost(into_ledger_error(error))),
        }
    }
}

/// The error for a caller whose request has no reply.
pub(super) fn into_ledger_error(error: RequestError) -> LedgerError {
    if error.is_too_much_data() {
        return LedgerError::RequestTooLarge;
    }
    LedgerError::Unreachable(Arc::new(error))
}
