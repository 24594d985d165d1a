//! The limiter: one file for each operation, over any ledger. A request is walked top to bottom: resolve the limits it names,
//! plan a chain ([`crate::decide`]), submit it, interpret the outcome, answer.
//!
//! | file | what it is |
//! | --- | --- |
//! | `resolve.rs` | a command and its limits: known, made from their templates, refilled |
//! | `reserve.rs`, `reserve_batch.rs`, `force.rs`, `look.rs`, `complete.rs`, `extend.rs`, `renew.rs`, `object.rs` | the operations |
//! | `carry_out.rs` | which of the first three a body asks for |
//! | `first_reserve.rs` | the first reserve of instances, which makes them |
//! | `alerts/` | looks whether the usage of limits has crossed thresholds, and tells of it once |
//! | `allotment/` | serves callers from a part of the capacity that this process reserved |
//! | `emergency/` | grants a share while the ledger does not answer, and records it as debt afterwards |
//! | `waiting/` | reserves that wait for room, in order |
//! | `left.rs`, `kind_of.rs` | what is left of limits; the kind of a limit |
//! | `denial.rs` | turns a denial into the answer, with its retry-after |
//! | `forecasts.rs` | when limits that deny will have room, by readings in the background |
//! | `denial_cache.rs` | denies calls on exhausted limits without asking the ledger |
//! | `lease_keys.rs` | whether a caller may touch a lease |
//! | `lease_cache.rs` | spares a complete the look-up of its lease |

mod alerts;
mod allotment;
mod carry_out;
mod complete;
mod denial;
mod denial_cache;
mod emergency;
mod extend;
mod first_reserve;
mod force;
mod forecasts;
mod kind_of;
mod lease_cache;
mod lease_keys;
mod left;
mod look;
mod object;
mod renew;
mod reserve;
mod reserve_batch;
mod resolve;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use crate::decide::ids::Ids;
use crate::decide::lease::Lease;
use crate::decide::retry_after::RetryPolicy;
use crate::ledger::{Ledger, LedgerError};
use crate::limit::LeaseId;
use crate::registry::{RefillObserver, Registry, RegistryError, Waiters};

use alerts::Alerts;
pub use alerts::{Alert, AlertObserver};
pub use allotment::AllotmentCounts;
use allotment::Allotments;
use denial_cache::DenialCache;
use emergency::Emergency;
pub use emergency::{EmergencyCompletion, EmergencyCounts, EmergencyDebt};
use forecasts::Forecasts;
use lease_cache::LeaseCache;
pub use left::Left;
pub use object::{Object, ObjectError};
use waiting::Waiting;
pub use waiting::{WaitingCounts, WaitingOptions};

/// Reserves, completes and extends leases. Cloning it is cheap.
pub struct Limiter<L> {
    ledger: Arc<L>,
    ids: Ids,
    registry: Arc<Registry<L>>,
    retry_policy: RetryPolicy,
    lease_cache: Arc<LeaseCache>,
    denial_cache: Arc<DenialCache>,
    emergency: Arc<Emergency>,
    waiting: Arc<Waiting>,
    allotments: Arc<Allotments>,
    forecasts: Arc<Forecasts>,
    alerts: Arc<Alerts>,
}

/// Settings of a limiter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LimiterOptions {
    /// The hints of denials.
    pub retry_policy: RetryPolicy,
    /// The most leases that are remembered to spare look-ups; 0 switches the cache off.
    pub leases_max: usize,
    /// How long a limit may be denied without asking the ledger after the ledger denied it; zero switches that off.
    pub deny_alone_max: Duration,
    /// How callers wait for room.
    pub waiting: WaitingOptions,
}

impl Default for LimiterOptions {
    /// Without caches: the memory ledger answers as fast as they would.
    fn default() -> Self {
        Self {
            retry_policy: RetryPolicy::default(),
            leases_max: 0,
            deny_alone_max: Duration::ZERO,
            waiting: WaitingOptions::default(),
        }
    }
}

impl<L> Clone for Limiter<L> {
    fn clone(&self) -> Self {
        Self {
            ledger: Arc::clone(&self.ledger),
            ids: self.ids,
            registry: Arc::clone(&self.registry),
            retry_policy: self.retry_policy,
            lease_cache: Arc::clone(&self.lease_cache),
            denial_cache: Arc::clone(&self.denial_cache),
            emergency: Arc::clone(&self.emergency),
            waiting: Arc::clone(&self.waiting),
            allotments: Arc::clone(&self.allotments),
            forecasts: Arc::clone(&self.forecasts),
            alerts: Arc::clone(&self.alerts),
        }
    }
}

/// Why there is no answer. The outcome is unknown; the same request with the same ids finds out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LimiterError {
    /// The ledger did not answer.
    #[error("the ledger did not answer")]
    Ledger(#[from] LedgerError),
    /// The definitions of the limits could not be read, or an instance of a template could not be made.
    #[error("the definitions could not be read")]
    Registry(#[source] Arc<RegistryError>),
}

impl LimiterError {
    /// Whether the ledger gave no answer: it did not respond, or the connection failed.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Ledger(error) => error.is_unreachable(),
            Self::Registry(error) => error.is_unreachable(),
        }
    }
}

impl From<RegistryError> for LimiterError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(Arc::new(error))
    }
}

impl<L: Ledger> Limiter<L> {
    /// A limiter over `ledger`, with the definitions of `registry`, which must be over the same ledger.
    pub fn new(ledger: Arc<L>, ids: Ids, registry: Arc<Registry<L>>, options: LimiterOptions) -> Self {
        let denial_cache = Arc::new(DenialCache::new(options.deny_alone_max));
        if denial_cache.is_on() {
            registry.observe_refills(Arc::clone(&denial_cache) as Arc<dyn RefillObserver>);
        }
        let waiting = Arc::new(Waiting::new(options.waiting));
        registry.observe_refills(Arc::clone(&waiting) as Arc<dyn RefillObserver>);
        registry.set_waiters(Arc::clone(&waiting) as Arc<dyn Waiters>);
        Self {
            ledger,
            ids,
            registry,
            retry_policy: options.retry_policy,
            lease_cache: Arc::new(LeaseCache::new(options.leases_max)),
            denial_cache,
            emergency: Arc::default(),
            waiting,
            allotments: Arc::new(Allotments::new()),
            forecasts: Arc::default(),
            alerts: Arc::default(),
        }
    }

    /// How many calls were denied without asking the ledger.
    pub fn denied_alone(&self) -> u64 {
        self.denial_cache.denied()
    }

    /// What became of those who waited.
    pub fn waiting_counts(&self) -> Arc<WaitingCounts> {
        self.waiting.counts()
    }

    /// The ledger's time in nanoseconds since the Unix epoch, never ahead of it.
    pub fn now_ns(&self) -> u64 {
        self.ledger.now_ns()
    }

    /// Reads a lease from its transfers; `None` if it reserved nothing.
    async fn read_lease(&self, lease: LeaseId) -> Result<Option<Lease>, LedgerError> {
        let transfers = self.ledger.lease_transfers(self.ids.lease_query(lease)).await?;
        Ok(Lease::from_transfers(lease, &transfers))
    }
}
