//! The flows: a command in, an answer out. What to send and what it means is decided in [`crate::decide`]; here it is
//! sent, waited for, and looked up.

mod complete;
mod extend;
mod lease_cache;
mod local_denials;
mod object_answers;
mod objects;
mod planned;
mod reserve;

use std::sync::Arc;
use std::time::Duration;

use crate::comeback::Comeback;
use crate::decide::ids::Ids;
use crate::decide::retry_after::RetryPolicy;
use crate::instances::{InstanceError, Instances};
use crate::ledger::{Ledger, LedgerError};
use crate::limit::{LimitKey, Overage};
use crate::registry::{Follower, RefreshError, Registry};
use crate::versions::Versions;

pub use extend::ExtendOutcome;
pub use lease_cache::LeaseCache;
pub use local_denials::LocalDenials;
pub use object_answers::{ObjectError, ObjectReservation, ObjectState};
pub use objects::Object;

/// Reserves and completes over any ledger. Cloning it is cheap.
pub struct Limiter<L> {
    ledger: Arc<L>,
    ids: Ids,
    follower: Arc<Follower<L>>,
    comeback: Arc<Comeback<L>>,
    instances: Arc<Instances<L>>,
    retry_policy: RetryPolicy,
    leases: Arc<LeaseCache>,
    local_denials: Arc<LocalDenials>,
}

impl<L> Clone for Limiter<L> {
    fn clone(&self) -> Self {
        Self {
            ledger: Arc::clone(&self.ledger),
            ids: self.ids,
            follower: Arc::clone(&self.follower),
            comeback: Arc::clone(&self.comeback),
            instances: Arc::clone(&self.instances),
            retry_policy: self.retry_policy,
            leases: Arc::clone(&self.leases),
            local_denials: Arc::clone(&self.local_denials),
        }
    }
}

/// The answer to a reserve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReserveOutcome {
    /// Everything is reserved.
    Granted {
        /// Since when, in the ledger's time.
        reserved_at_unix_ms: u64,
    },
    /// Nothing is reserved and there is no room now.
    NoRoom {
        /// The limit without room.
        key: LimitKey,
        /// When to come back, with a new lease id.
        retry_after_ms: u64,
    },
    /// Nothing is reserved: a limit's capacity is being lowered.
    Decreasing {
        /// The limit.
        key: LimitKey,
        /// When to come back, with a new lease id.
        retry_after_ms: u64,
    },
    /// Nothing is reserved, and never can be: the amount is over the limit's capacity.
    ExceedsCapacity {
        /// The limit.
        key: LimitKey,
    },
    /// Nothing is reserved: there is no such limit.
    UnknownKey {
        /// What was asked for.
        key: LimitKey,
    },
    /// Nothing is reserved: the limit would be made by a template that may make no more.
    TooManyInstances {
        /// What was asked for.
        key: LimitKey,
    },
    /// The lease was granted for other requirements.
    LeaseConflict,
    /// The lease was completed, or has expired: a late duplicate must not start a second call.
    LeaseSettled,
}

/// The answer to a complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompleteOutcome {
    /// This settled the lease.
    Settled {
        /// What was used and could not be reserved.
        excesses: Vec<ExcessUse>,
    },
    /// There is no such lease, or it is over: nothing changed.
    NothingToDo,
    /// An amount names a limit that the lease reserved nothing of; nothing changed.
    NotInLease {
        /// Its place among the amounts.
        index: usize,
    },
}

impl CompleteOutcome {
    /// Whether the lease is settled, or what is wrong with the command.
    pub fn settled(&self) -> Result<(), String> {
        match self {
            Self::Settled { .. } | Self::NothingToDo => Ok(()),
            Self::NotInLease { index } => Err(format!("actuals[{index}].key is not in the lease")),
        }
    }
}

/// An actual amount above the reserved one that could not be reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExcessUse {
    /// The limit.
    pub key: LimitKey,
    /// How much.
    pub amount: u128,
    /// Whether it was recorded as debt or is only told here.
    pub overage: Overage,
}

/// Why there is no answer. The outcome is unknown; the same request with the same lease id finds out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LimiterError {
    /// The ledger gave none.
    #[error("the ledger gave no answer")]
    Ledger(#[from] LedgerError),
    /// The definitions could not be read.
    #[error("the definitions could not be read")]
    Registry(#[from] Arc<RefreshError>),
    /// A limit could not be made from its template, or not be read.
    #[error("a limit could not be made from its template")]
    Instance(#[source] Arc<InstanceError>),
}

impl<L: Ledger> Limiter<L> {
    /// A limiter over `ledger`, with the definitions that `follower` reads from it.
    pub fn new(
        ledger: Arc<L>,
        ids: Ids,
        follower: Arc<Follower<L>>,
        retry_policy: RetryPolicy,
        leases: LeaseCache,
    ) -> Self {
        let local_denials = Arc::new(LocalDenials::new(Duration::ZERO));
        let comeback = Arc::new(Comeback::new(Arc::clone(&ledger), ids));
        let versions = Arc::new(Versions::new(Arc::clone(&ledger), ids));
        let instances = Arc::new(Instances::new(Arc::clone(&ledger), versions, Arc::clone(&follower)));
        let leases = Arc::new(leases);
        Self { ledger, ids, follower, comeback, instances, retry_policy, leases, local_denials }
    }

    /// The same, but exhausted limits are denied for a while without asking the ledger.
    pub fn with_local_denials(self, local_denials: LocalDenials) -> Self {
        Self { local_denials: Arc::new(local_denials), ..self }
    }

    /// How many calls were denied without asking the ledger.
    pub fn local_denials(&self) -> u64 {
        self.local_denials.denied()
    }

    /// The definitions that are known here.
    pub(crate) fn registry(&self) -> &Registry {
        self.follower.registry()
    }

    /// The ledger's time in nanoseconds since the Unix epoch, never ahead of it.
    pub fn now_ns(&self) -> u64 {
        self.ledger.now_ns()
    }

    /// Reads every change of a definition that was made until now.
    pub(crate) async fn refresh(&self) -> Result<(), LimiterError> {
        self.follower.refresh().await.map_err(|error| LimiterError::Registry(Arc::new(error)))
    }
}
