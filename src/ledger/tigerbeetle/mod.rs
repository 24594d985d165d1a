//! A ledger on a TigerBeetle cluster.
//!
//! - `submitter`: sends chains in batches, on one or more sessions.
//! - `shared_session`: the one session for look-ups and account creation.
//! - `connector`: makes sessions, and replaces those that failed. `addresses` resolves the replicas' names.
//! - `session`: one session of the TigerBeetle client. `encode` and `decode` convert between its types and ours.
//! - `pending_debits`: which debits of an account still hold something.
//! - `raw`: reads everything, for an audit.
//! - `ledger_clock`: the cluster's time, from its replies.

mod addresses;
mod connector;
mod decode;
mod encode;
mod ledger_clock;
mod pending_debits;
mod raw;
mod session;
mod shared_session;
pub mod submitter;

use std::sync::Arc;
use std::time::Duration;

use tigerbeetle_unofficial::core::{account, query_filter};

use self::connector::{Connector, LikelyFault, Sending};
use self::ledger_clock::LedgerClock;
use self::pending_debits::PendingDebits;
use self::session::{Reply, Request};
use self::shared_session::SharedSession;
use self::submitter::{Submitter, SubmitterOptions, SubmitterStats};
use super::{
    Account, AccountId, AccountQuery, Chain, ChainOutcome, LeaseQuery, Ledger, LedgerError, NewAccount,
    Order, PendingDebit, PendingQuery, Recorded, Side,
};
use crate::telemetry::MetricsRegistry;

/// The most replies that are read of the debits of one account.
const PENDING_REPLIES_MAX: usize = 8;
/// How late a replica makes an expiry: 20 to 35 ms were measured while it was idle.
const EXPIRY_LAG: Duration = Duration::from_millis(40);

/// The address of a cluster, and the options for sending to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TigerBeetleOptions {
    /// The cluster's id.
    pub cluster_id: u128,
    /// `HOST:PORT` of each replica, in the replicas' order.
    pub addresses: Vec<String>,
    /// The number of the ledger in the cluster, at least 1.
    pub ledger: u32,
    /// Options of the submitter.
    pub submitter: SubmitterOptions,
}

/// A ledger on a TigerBeetle cluster. It connects when the cluster is reachable, and reconnects after an outage.
pub struct TigerBeetleLedger {
    ledger: u32,
    submitter: Submitter,
    shared_session: SharedSession,
    clock: Arc<LedgerClock>,
    sending: Arc<Sending>,
    likely_fault: LikelyFault,
}

impl TigerBeetleLedger {
    /// Starts to connect in the background and returns at once.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn connect(options: TigerBeetleOptions) -> Self {
        let clock = Arc::new(LedgerClock::default());
        let likely_fault = LikelyFault::default();
        let sending = Arc::new(Sending::default());
        let connector = Connector {
            cluster_id: options.cluster_id,
            addresses: options.addresses.into(),
            ledger: options.ledger,
            clock: Arc::clone(&clock),
            likely_fault: likely_fault.clone(),
            sending: Arc::clone(&sending),
        };
        let shared_session = SharedSession::new(connector.clone());
        let submitter = Submitter::start(connector, options.submitter);
        Self { ledger: options.ledger, submitter, shared_session, clock, sending, likely_fault }
    }

    /// Measurements of the submitter.
    pub fn submitter_stats(&self) -> &SubmitterStats {
        self.submitter.stats()
    }

    /// Registers the submitter's metrics.
    pub fn register_metrics(&self, registry: &mut MetricsRegistry) {
        self.submitter_stats().register(registry);
    }

    async fn request(&self, request: Request) -> Result<Reply, LedgerError> {
        self.shared_session.request(request).await
    }
}

impl Ledger for TigerBeetleLedger {
    async fn submit(&self, chains: Vec<Chain>) -> Vec<Result<ChainOutcome, LedgerError>> {
        self.submitter.submit(chains).await
    }

    async fn submit_one(&self, chain: Chain) -> Result<ChainOutcome, LedgerError> {
        self.submitter.submit_one(chain).await
    }

    async fn create_accounts(&self, accounts: Vec<NewAccount>) -> Result<(), LedgerError> {
        let accounts = accounts.iter().map(|new| encode::account(self.ledger, new)).collect();
        let reply = self.request(Request::CreateAccounts(accounts)).await?;
        decode::created_accounts(&reply.payload)
    }

    async fn accounts(&self, ids: Vec<AccountId>) -> Result<Vec<Option<Account>>, LedgerError> {
        let wanted = ids.iter().map(|id| id.as_u128()).collect();
        let reply = self.request(Request::LookupAccounts(wanted)).await?;
        // The reply leaves out accounts that do not exist and keeps the order of the others.
        let mut found = decode::accounts(&reply.payload).into_iter().peekable();
        Ok(ids.into_iter().map(|id| found.next_if(|account| account.id == id)).collect())
    }

    async fn lease_transfers(&self, query: LeaseQuery) -> Result<Vec<Recorded>, LedgerError> {
        let filter = query_filter::QueryFilter::new(encode::LEASE_TRANSFERS_MAX)
            .with_user_data_128(query.lease.as_u128())
            .with_ledger(self.ledger);
        let reply = self.request(Request::QueryTransfers(filter)).await?;
        let mut transfers = decode::transfers(&reply.payload)?;
        // A transfer without a lease, such as a part of a definition, may carry the same number as its user data.
        transfers.retain(|recorded| recorded.transfer.code.is_of_lease());
        Ok(transfers)
    }

    async fn account_transfers(&self, query: AccountQuery) -> Result<Vec<Recorded>, LedgerError> {
        let side = match query.side {
            Side::Debit => account::FilterFlags::DEBITS,
            Side::Credit => account::FilterFlags::CREDITS,
        };
        let order = match query.order {
            Order::OldestFirst => account::FilterFlags::empty(),
            Order::NewestFirst => account::FilterFlags::REVERSED,
        };
        let count_max = query.count_max.min(encode::QUERY_TRANSFERS_MAX);
        let mut filter = account::Filter::new(query.account.as_u128(), count_max).with_flags(side | order);
        filter.as_raw_mut().code = query.code as u16;
        filter.as_raw_mut().timestamp_min = if query.after_ns == 0 { 0 } else { query.after_ns + 1 };
        let reply = self.request(Request::GetAccountTransfers(filter)).await?;
        decode::transfers(&reply.payload)
    }

    async fn pending_debits(&self, query: PendingQuery) -> Result<Option<Vec<PendingDebit>>, LedgerError> {
        let (mut debits, mut after_ns) = (PendingDebits::default(), query.after_ns);
        for _ in 0..PENDING_REPLIES_MAX {
            let filter = account::Filter::new(query.account.as_u128(), encode::QUERY_TRANSFERS_MAX);
            let mut filter = filter.with_flags(account::FilterFlags::DEBITS);
            filter.as_raw_mut().timestamp_min = after_ns + 1;
            let reply = self.request(Request::GetAccountTransfers(filter)).await?;
            let transfers = decode::transfers(&reply.payload)?;
            debits.read(&transfers);
            // A replica in development mode answers with shorter replies than were asked for, but not as short as this.
            match transfers.last() {
                Some(last) if transfers.len() >= encode::LEASE_TRANSFERS_MAX as usize => {
                    after_ns = last.timestamp_ns;
                }
                Some(_) | None => return Ok(Some(debits.left())),
            }
        }
        Ok(None)
    }

    fn expiry_lag(&self) -> Duration {
        EXPIRY_LAG
    }

    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    fn can_send_chains(&self) -> bool {
        self.sending.is_connected()
    }

    fn likely_fault(&self) -> Option<String> {
        self.likely_fault.get()
    }

    async fn shutdown(&self) {
        self.submitter.shutdown().await;
    }
}

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("cannot resolve {address}, the address of a TigerBeetle replica")]
    Resolve {
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the TigerBeetle client could not be started")]
    Client(#[from] tigerbeetle_unofficial::error::NewClientError),
}
