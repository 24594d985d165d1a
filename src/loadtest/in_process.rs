//! Offers load to a limiter in this process, which is the service without its HTTP.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::engine::{Engine, EngineOptions};
use ledger_limiter::ledger::Ledger;
use ledger_limiter::ledger::memory::{MemoryBounds, MemoryLedger, SystemClock};
use ledger_limiter::limit::Status;
use ledger_limiter::limiter::{Limiter, LimiterError};
use ledger_limiter::protocol::{
    Actual, CommandError, Complete, CompleteOutcome, Requirement, Reserve, ReserveOutcome,
};
use ledger_limiter::server::Metrics;
use ledger_limiter::telemetry::MetricsRegistry;

use crate::target::{Completed, Connection, Item, Reserved, SetupError, Target};
use crate::workload::{Limit, Workload};

/// A limiter over some ledger.
pub(crate) struct InProcess<L> {
    engine: Engine<L>,
    metrics: Metrics,
}

/// One caller of the limiter.
pub(crate) struct InProcessCaller<L> {
    limiter: Limiter<L>,
    workload: Arc<Workload>,
}

/// A limiter over a ledger in memory.
pub(crate) async fn memory(bounds: MemoryBounds) -> Result<InProcess<MemoryLedger<SystemClock>>, SetupError> {
    let ledger = MemoryLedger::with_bounds(SystemClock::new(), bounds);
    InProcess::start(ledger, MetricsRegistry::default(), EngineOptions::default()).await
}

/// A limiter over a TigerBeetle cluster.
#[cfg(feature = "tigerbeetle")]
pub(crate) async fn tigerbeetle(
    settings: &ledger_limiter::server::config::TigerBeetleSettings,
) -> Result<InProcess<ledger_limiter::ledger::tigerbeetle::TigerBeetleLedger>, SetupError> {
    let ledger = ledger_limiter::ledger::tigerbeetle::TigerBeetleLedger::connect(settings.into());
    let mut registry = MetricsRegistry::default();
    ledger.register_metrics(&mut registry);
    let leases_max = ledger_limiter::server::config::LimiterSettings::default().lease_cache_capacity;
    let limiter = ledger_limiter::limiter::LimiterOptions { leases_max, ..Default::default() };
    let options = EngineOptions::default().with_ledger_number(settings.ledger).with_limiter(limiter);
    InProcess::start(ledger, registry, options).await
}

impl<L: Ledger> InProcess<L> {
    async fn start(ledger: L, registry: MetricsRegistry, options: EngineOptions) -> Result<Self, SetupError> {
        let engine = Engine::new(Arc::new(ledger), options);
        engine.bootstrap(&[]).await?;
        Ok(Self { engine, metrics: Metrics::new(registry) })
    }
}

impl<L: Ledger> Target for InProcess<L> {
    type Connection = InProcessCaller<L>;

    async fn connect(&self, workload: Arc<Workload>) -> Result<InProcessCaller<L>, SetupError> {
        Ok(InProcessCaller { limiter: self.engine.limiter().clone(), workload })
    }

    async fn put(&self, _: &mut InProcessCaller<L>, limit: &Limit) -> Result<(), SetupError> {
        // The limit may exist with a higher capacity, because an earlier run may have used the ledger.
        match self.engine.admin().put(&limit.definition).await? {
            Status::Active | Status::Deleted | Status::Retired => Ok(()),
            Status::Decreasing { .. } => Err(SetupError::InUse { key: limit.body.key.clone() }),
        }
    }

    async fn metrics(&self, _: &mut InProcessCaller<L>) -> Option<String> {
        self.metrics.text(&[]).ok()
    }
}

impl<L: Ledger> InProcessCaller<L> {
    fn reserve_command(&self, item: Item) -> Result<Reserve, CommandError> {
        let requirement =
            |limit: &Limit| Requirement { key: limit.definition.key.clone(), amount: limit.amount };
        Reserve::new(item.lease, String::new(), self.workload.limits_of(item).map(requirement).collect())
    }

    fn complete_command(&self, item: Item) -> Result<Complete, CommandError> {
        let actual =
            |limit: &Limit| Actual { key: limit.definition.key.clone(), amount: limit.actual_amount };
        Complete::new(item.lease, String::new(), self.workload.limits_of(item).map(actual).collect())
    }
}

impl<L: Ledger> Connection for InProcessCaller<L> {
    async fn reserve(&mut self, items: &[Item]) -> Vec<Reserved> {
        let commands: Result<Vec<_>, _> = items.iter().map(|item| self.reserve_command(*item)).collect();
        match commands {
            Ok(commands) => {
                let outcomes = self.limiter.reserve_batch(&commands).await;
                outcomes.into_iter().map(Reserved::from).collect()
            }
            Err(error) => vec![Reserved::Failed(error.to_string()); items.len()],
        }
    }

    async fn complete(&mut self, items: &[Item]) -> Vec<Completed> {
        let commands: Result<Vec<_>, _> = items.iter().map(|item| self.complete_command(*item)).collect();
        match commands {
            Ok(commands) => {
                let outcomes = self.limiter.complete_batch(&commands).await;
                outcomes.into_iter().map(Completed::from).collect()
            }
            Err(error) => vec![Completed::Failed(error.to_string()); items.len()],
        }
    }
}

impl From<Result<ReserveOutcome, LimiterError>> for Reserved {
    fn from(outcome: Result<ReserveOutcome, LimiterError>) -> Self {
        match outcome {
            Ok(ReserveOutcome::Granted { .. }) => Self::Granted,
            Ok(
                ReserveOutcome::NoRoom { retry_after_ms, .. }
                | ReserveOutcome::Decreasing { retry_after_ms, .. },
            ) => Self::Denied { retry_after: Duration::from_millis(retry_after_ms) },
            Ok(
                ReserveOutcome::ExceedsCapacity { .. }
                | ReserveOutcome::UnknownKey { .. }
                | ReserveOutcome::TooManyInstances { .. },
            ) => Self::Denied { retry_after: Duration::ZERO },
            Ok(
                ReserveOutcome::LeaseConflict | ReserveOutcome::LeaseSettled | ReserveOutcome::LeaseExpired,
            ) => Self::Conflict,
            Err(_) => Self::Unknown,
        }
    }
}

impl From<Result<CompleteOutcome, LimiterError>> for Completed {
    fn from(outcome: Result<CompleteOutcome, LimiterError>) -> Self {
        match outcome {
            Ok(CompleteOutcome::Settled { .. } | CompleteOutcome::NothingToDo) => Self::Settled,
            Ok(CompleteOutcome::NotInLease { index }) => {
                Self::Failed(format!("actuals[{index}] is not in the lease"))
            }
            Err(_) => Self::Unknown,
        }
    }
}
