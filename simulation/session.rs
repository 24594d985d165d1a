//! The ledger as a replica sees it: requests go into the network, and answers come back later, or never.

use std::error::Error;
use std::fmt::{self, Debug, Display};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use ledger_limiter::ledger::{
    Account, AccountId, AccountQuery, Chain, ChainOutcome, LeaseQuery, Ledger, LedgerError, NewAccount,
    PendingDebit, PendingQuery, Recorded,
};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::cluster::Memory;
use crate::random::Random;
use crate::trace::hash_of;

/// How long a replica waits for an answer of the cluster.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_millis(1_500);

/// What processes have sent, and the network has not taken up yet.
pub(crate) struct Outbox<M>(Arc<Mutex<Vec<M>>>);

impl<M> Outbox<M> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn send(&self, message: M) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(message);
    }

    pub(crate) fn take(&self) -> Vec<M> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<M> Clone for Outbox<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A request to the cluster.
pub(crate) struct Request {
    pub(crate) session: u64,
    /// The hash of what it asks.
    pub(crate) hash: u64,
    pub(crate) run: Box<dyn FnOnce(&Memory) -> Response + Send>,
}

/// An answer of the cluster.
pub(crate) struct Response {
    /// The hash of what it says.
    pub(crate) hash: u64,
    pub(crate) deliver: Box<dyn FnOnce() + Send>,
}

/// The sessions of one replica with the cluster.
pub(crate) struct Sessions {
    outbox: Outbox<Request>,
    count: u64,
    random: Mutex<Random>,
    /// Changes when the cluster evicts the sessions.
    evicted: watch::Receiver<()>,
    newest: Mutex<Option<Reading>>,
}

/// A time of the cluster, and when it arrived here.
#[derive(Clone, Copy)]
struct Reading {
    cluster_ns: u64,
    arrived_at: Instant,
}

/// Why there is no answer.
#[derive(Debug)]
struct NoAnswer(&'static str);

impl Display for NoAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl Error for NoAnswer {}

fn unreachable(why: &'static str) -> LedgerError {
    LedgerError::Unreachable(Arc::new(NoAnswer(why)))
}

impl Sessions {
    pub(crate) fn new(
        outbox: Outbox<Request>,
        count: u64,
        random: Random,
        evicted: watch::Receiver<()>,
    ) -> Self {
        Self { outbox, count, random: Mutex::new(random), evicted, newest: Mutex::new(None) }
    }

    /// Sends a request, and waits for its answer.
    async fn call<T: Debug + Send + 'static>(
        &self,
        question: &impl Debug,
        run: impl FnOnce(&Memory) -> T + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (sender, answer) = oneshot::channel();
        let run = Box::new(move |memory: &Memory| {
            let told = run(memory);
            let (hash, cluster_ns) = (hash_of(&told), memory.now_ns());
            // A process that is gone does not hear the answer.
            Response { hash, deliver: Box::new(move || drop(sender.send((told, cluster_ns)))) }
        });
        let session = self.random.lock().unwrap_or_else(PoisonError::into_inner).below(self.count);
        let mut evicted = self.evicted.clone();
        evicted.mark_unchanged();
        self.outbox.send(Request { session, hash: hash_of(question), run });
        let answered = async {
            match answer.await {
                Ok(answer) => answer,
                // The network lost it, which nobody notices.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            (told, cluster_ns) = answered => {
                self.observe(cluster_ns);
                Ok(told)
            }
            _ = evicted.changed() => Err(unreachable("the session was evicted")),
            () = tokio::time::sleep(ANSWER_TIMEOUT) => Err(unreachable("no answer in time")),
        }
    }

    fn observe(&self, cluster_ns: u64) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.is_none_or(|newest| newest.cluster_ns < cluster_ns) {
            *newest = Some(Reading { cluster_ns, arrived_at: Instant::now() });
        }
    }
}

fn at_once<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().expect("the memory ledger answers at once")
}

impl Ledger for Sessions {
    async fn submit(&self, chains: Vec<Chain>) -> Vec<Result<ChainOutcome, LedgerError>> {
        let count = chains.len();
        let question = ("submit", chains.clone());
        match self.call(&question, move |memory| at_once(memory.submit(chains))).await {
            Ok(outcomes) => outcomes,
            Err(error) => vec![Err(error); count],
        }
    }

    async fn create_accounts(&self, accounts: Vec<NewAccount>) -> Result<(), LedgerError> {
        let question = ("create", accounts.clone());
        self.call(&question, move |memory| at_once(memory.create_accounts(accounts))).await?
    }

    async fn accounts(&self, ids: Vec<AccountId>) -> Result<Vec<Option<Account>>, LedgerError> {
        let question = ("accounts", ids.clone());
        self.call(&question, move |memory| at_once(memory.accounts(ids))).await?
    }

    async fn lease_transfers(&self, query: LeaseQuery) -> Result<Vec<Recorded>, LedgerError> {
        self.call(&query, move |memory| at_once(memory.lease_transfers(query))).await?
    }

    async fn account_transfers(&self, query: AccountQuery) -> Result<Vec<Recorded>, LedgerError> {
        self.call(&query, move |memory| at_once(memory.account_transfers(query))).await?
    }

    async fn pending_debits(&self, query: PendingQuery) -> Result<Option<Vec<PendingDebit>>, LedgerError> {
        self.call(&query, move |memory| at_once(memory.pending_debits(query))).await?
    }

    /// As the TigerBeetle ledger has it: the newest time of an answer, carried on by the clock of this process.
    fn now_ns(&self) -> u64 {
        let newest = *self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.map_or(0, |Reading { cluster_ns, arrived_at }| {
            cluster_ns + arrived_at.elapsed().as_nanos() as u64
        })
    }

    async fn shutdown(&self) {}
}
