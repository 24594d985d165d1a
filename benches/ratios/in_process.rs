//! A limiter over the memory ledger in this process, on one thread.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ledger_limiter::engine::{Engine, EngineOptions};
use ledger_limiter::ledger::memory::{Clock, MemoryLedger, SystemClock};
use ledger_limiter::limit::{Amount, Definition, Kind, KindName, LeaseId, LimitKey, Overage};
use ledger_limiter::protocol::{Actual, Complete, CompleteOutcome, Requirement, Reserve, ReserveOutcome};
use tokio::runtime::Runtime;
use ulid::Ulid;

use crate::failure::Failure;

/// More than any of these measurements reserves.
pub(crate) const PLENTY: u64 = 1 << 50;

/// A clock that advances by `step` with each command, not with time.
///
/// So a store in balance, in which as many reservations expire as are made, holds the same number of live leases on any
/// machine, however often it is interrupted. Reading this clock costs as much as reading the system's clock.
pub(crate) struct WorkClock {
    system: SystemClock,
    now_ns: AtomicU64,
    step_ns: u64,
}

/// The limiter, its clock and its runtime.
pub(crate) struct InProcess {
    clock: Arc<WorkClock>,
    engine: Engine<MemoryLedger<Arc<WorkClock>>>,
    runtime: Runtime,
}

impl WorkClock {
    fn new(step: Duration) -> Self {
        let system = SystemClock::new();
        let now_ns = AtomicU64::new(system.now_ns());
        Self { system, now_ns, step_ns: u64::try_from(step.as_nanos()).unwrap_or(u64::MAX) }
    }

    fn step(&self) {
        self.now_ns.fetch_add(self.step_ns, Ordering::Relaxed);
    }
}

impl Clock for WorkClock {
    fn now_ns(&self) -> u64 {
        black_box(self.system.now_ns());
        self.now_ns.load(Ordering::Relaxed)
    }
}

impl InProcess {
    /// Starts a limiter without limits. Its clock advances by `step` with each command, and its ledger forgets a lease
    /// as soon as the lease has ended.
    pub(crate) fn start(step: Duration) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Failure::file("the runtime cannot be started"))?;
        let clock = Arc::new(WorkClock::new(step));
        let ledger = Arc::new(MemoryLedger::new(Arc::clone(&clock), Duration::ZERO));
        let engine = Engine::new(ledger, EngineOptions::default());
        runtime.block_on(engine.bootstrap(&[]))?;
        Ok(Self { clock, engine, runtime })
    }

    /// Creates limits.
    pub(crate) fn define(
        &self,
        definitions: impl IntoIterator<Item = Result<Definition, Failure>>,
    ) -> Result<(), Failure> {
        self.runtime.block_on(async {
            for definition in definitions {
                self.engine.admin().put(&definition?).await?;
            }
            Ok(())
        })
    }

    /// Makes the reserves one after another. All must be granted.
    pub(crate) fn reserve_all<'a>(
        &self,
        commands: impl IntoIterator<Item = &'a Reserve>,
    ) -> Result<(), Failure> {
        self.runtime.block_on(async {
            for command in commands {
                self.granted(command).await?;
            }
            Ok(())
        })
    }

    /// Reserves and completes, one lease after another.
    pub(crate) fn run_pairs<'a>(
        &self,
        pairs: impl IntoIterator<Item = (&'a Reserve, &'a Complete)>,
    ) -> Result<(), Failure> {
        self.runtime.block_on(async {
            for (reserve, complete) in pairs {
                self.granted(reserve).await?;
                self.settled(complete).await?;
            }
            Ok(())
        })
    }

    async fn granted(&self, command: &Reserve) -> Result<(), Failure> {
        self.clock.step();
        let outcome = self.engine.limiter().reserve(command).await?;
        let is_granted = matches!(outcome, ReserveOutcome::Granted { .. });
        if is_granted { Ok(()) } else { Err(Failure::Load(format!("{outcome:?}"))) }
    }

    async fn settled(&self, command: &Complete) -> Result<(), Failure> {
        self.clock.step();
        let outcome = self.engine.limiter().complete(command).await?;
        let is_settled = matches!(outcome, CompleteOutcome::Settled { .. });
        if is_settled { Ok(()) } else { Err(Failure::Load(format!("{outcome:?}"))) }
    }
}

/// A key.
pub(crate) fn key(name: &str) -> Result<LimitKey, Failure> {
    LimitKey::parse(name).map_err(|error| Failure::invalid(&error))
}

/// `count` different keys.
pub(crate) fn keys(count: usize) -> Result<Vec<LimitKey>, Failure> {
    (0..count).map(|number| key(&format!("tenant:{number}:llm:rpm"))).collect()
}

/// A rolling limit that grants every reserve.
pub(crate) fn rolling(key: &LimitKey, window_seconds: u64) -> Result<Definition, Failure> {
    definition(key, KindName::Rolling, window_seconds, 0)
}

/// A concurrency limit that grants every reserve.
pub(crate) fn concurrency(key: &LimitKey, timeout_seconds: u64) -> Result<Definition, Failure> {
    definition(key, KindName::Concurrency, 0, timeout_seconds)
}

fn definition(
    key: &LimitKey,
    name: KindName,
    window_seconds: u64,
    timeout_seconds: u64,
) -> Result<Definition, Failure> {
    let kind = Kind::new(name, window_seconds, timeout_seconds).map_err(|error| Failure::invalid(&error))?;
    Definition::new(key.clone(), kind, amount(PLENTY)?, "", "", Overage::Debt)
        .map_err(|error| Failure::invalid(&error))
}

/// A reserve with a new lease.
pub(crate) fn reserve(wanted: &[(&LimitKey, u64)]) -> Result<Reserve, Failure> {
    let requirement =
        |&(key, number): &(&LimitKey, u64)| Ok(Requirement { key: key.clone(), amount: amount(number)? });
    let requirements: Vec<Requirement> = wanted.iter().map(requirement).collect::<Result<_, Failure>>()?;
    let lease = LeaseId::from_ulid(Ulid::generate()).map_err(|error| Failure::invalid(&error))?;
    Reserve::new(lease, String::new(), requirements).map_err(|error| Failure::invalid(&error))
}

/// The complete of a lease.
pub(crate) fn complete(lease: LeaseId, used: &[(&LimitKey, u64)]) -> Result<Complete, Failure> {
    let actuals = used.iter().map(|&(key, amount)| Actual { key: key.clone(), amount }).collect();
    Complete::new(lease, String::new(), actuals).map_err(|error| Failure::invalid(&error))
}

fn amount(number: u64) -> Result<Amount, Failure> {
    Amount::new(number).map_err(|error| Failure::invalid(&error))
}
