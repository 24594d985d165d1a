//! The ledger in a TigerBeetle cluster: chains go through the [`submitter`], look-ups through a session of their own.

mod addresses;
mod decode;
mod encode;
mod ledger_clock;
mod reader;
mod reconnect;
mod session;
pub mod submitter;

use std::sync::Arc;

use tigerbeetle_unofficial::core::error::CreateAccountErrorKind;
use tigerbeetle_unofficial::core::{account, query_filter};

use self::ledger_clock::LedgerClock;
use self::reader::Reader;
use self::reconnect::Connector;
use self::session::{Reply, Request};
use self::submitter::{Submitter, SubmitterOptions, SubmitterStats};
use super::{
    Account, AccountId, AccountQuery, Chain, ChainOutcome, Ledger, LedgerError, NewAccount, Order, Recorded,
    Side, TransferFamily,
};
use crate::limit::LeaseId;
use crate::telemetry::MetricsRegistry;

/// How to reach a cluster and how much to send at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TigerBeetleOptions {
    /// The cluster's id.
    pub cluster_id: u128,
    /// `HOST:PORT` of each replica, in the replicas' order.
    pub addresses: Vec<String>,
    /// The ledger's number.
    pub ledger: u32,
    /// Of the submitter.
    pub submitter: SubmitterOptions,
}

/// A ledger in a cluster. It connects when the cluster is there, and again when it was away.
pub struct TigerBeetleLedger {
    ledger: u32,
    submitter: Submitter,
    reader: Reader,
    clock: Arc<LedgerClock>,
}

impl TigerBeetleLedger {
    /// Starts to connect. Needs a tokio runtime; nothing is waited for.
    pub fn connect(options: TigerBeetleOptions) -> Self {
        let clock = Arc::new(LedgerClock::default());
        let connector =
            Connector::new(options.cluster_id, options.addresses, options.ledger, Arc::clone(&clock));
        let reader = Reader::new(connector.clone());
        let submitter = Submitter::start(connector, options.submitter);
        Self { ledger: options.ledger, submitter, reader, clock }
    }

    /// What the submitter measures.
    pub fn submitter_stats(&self) -> &SubmitterStats {
        self.submitter.stats()
    }

    /// Shows it among the metrics.
    pub fn register_metrics(&self, registry: &mut MetricsRegistry) {
        self.submitter_stats().register(registry);
    }

    async fn request(&self, request: Request) -> Result<Reply, LedgerError> {
        self.reader.request(request).await
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
        for (index, kind) in decode::account_errors(&reply.payload) {
            // Different flags: it exists, and was closed since.
            if !matches!(
                kind,
                CreateAccountErrorKind::Exists | CreateAccountErrorKind::ExistsWithDifferentFlags
            ) {
                return Err(LedgerError::Unexpected(format!("account {index} was refused: {kind:?}")));
            }
        }
        Ok(())
    }

    async fn accounts(&self, ids: Vec<AccountId>) -> Result<Vec<Option<Account>>, LedgerError> {
        let wanted = ids.iter().map(|id| id.as_u128()).collect();
        let reply = self.request(Request::LookupAccounts(wanted)).await?;
        // Those that do not exist are left out of the answer, the others keep their order.
        let mut found = decode::accounts(&reply.payload).into_iter().peekable();
        Ok(ids.into_iter().map(|id| found.next_if(|account| account.id == id)).collect())
    }

    async fn lease_transfers(
        &self,
        lease: LeaseId,
        _family: TransferFamily,
    ) -> Result<Vec<Recorded>, LedgerError> {
        let filter = query_filter::QueryFilter::new(encode::LEASE_TRANSFERS_MAX)
            .with_user_data_128(lease.as_u128())
            .with_ledger(self.ledger);
        let reply = self.request(Request::QueryTransfers(filter)).await?;
        let mut transfers = decode::transfers(&reply.payload)?;
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

    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    async fn shutdown(&self) {
        self.submitter.shutdown().await;
    }
}

/// Why a session failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("the address {address} cannot be resolved")]
    Resolve {
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the client could not be started")]
    Client(#[from] tigerbeetle_unofficial::error::NewClientError),
}
