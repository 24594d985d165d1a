//! The engine: a limiter and its registry over one ledger, and the background loops that they need. Server, in-process client, load
//! generator, benches and tests all build their limiter here.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::decide::ids::Ids;
use crate::ledger::{AccountId, Ledger};
use crate::limit::{LimitState, ReplicaUrl};
use crate::limiter::{EmergencyDebt, Limiter, LimiterOptions};
use crate::registry::file::LockedFile;
use crate::registry::{Admin, AdminError, Registry, Replicas};
use crate::telemetry::with_sources;

/// The pause before the ledger is asked again whether it is ready.
const BOOTSTRAP_RETRY_PAUSE: Duration = Duration::from_millis(200);
/// The time between two attempts to record what was granted without the ledger.
const EMERGENCY_DEBT_INTERVAL: Duration = Duration::from_millis(500);

/// A limiter and its registry over one ledger.
pub struct Engine<L> {
    ledger: Arc<L>,
    ids: Ids,
    registry: Arc<Registry<L>>,
    admin: Admin<L>,
    limiter: Limiter<L>,
    replicas: Replicas<L>,
    loops: LoopOptions,
}

/// Settings of an engine.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EngineOptions {
    /// The number of the TigerBeetle ledger, from which all ids are derived.
    pub ledger_number: u32,
    /// Settings of the limiter.
    pub limiter: LimiterOptions,
    /// The registry file; without one definitions last only in the ledger.
    pub registry_file: Option<LockedFile>,
    /// Intervals of the background loops.
    pub loops: LoopOptions,
    /// The URL under which other replicas reach this process; without one it is not announced.
    pub advertise_url: Option<ReplicaUrl>,
}

/// Intervals of the background loops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopOptions {
    /// The time between two readings of the log of definitions.
    pub poll_interval: Duration,
    /// The time between two attempts to apply decreases that other replicas began.
    pub decrease_interval: Duration,
    /// An instance that was not used for this long is forgotten, after at most twice this time. It is also retired,
    /// unless any of it is reserved, spent or owed.
    pub instance_idle: Duration,
    /// The time between two looks at the usage of limits with alerts, if anybody observes them.
    pub alert_interval: Duration,
}

impl Default for LoopOptions {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_millis(500),
            decrease_interval: Duration::from_millis(500),
            instance_idle: Duration::from_secs(600),
            alert_interval: Duration::from_secs(1),
        }
    }
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            ledger_number: 1,
            limiter: LimiterOptions::default(),
            registry_file: None,
            loops: LoopOptions::default(),
            advertise_url: None,
        }
    }
}

impl EngineOptions {
    /// Derives all ids for the TigerBeetle ledger of this number.
    pub fn with_ledger_number(self, ledger_number: u32) -> Self {
        Self { ledger_number, ..self }
    }

    /// Sets the options of the limiter.
    pub fn with_limiter(self, limiter: LimiterOptions) -> Self {
        Self { limiter, ..self }
    }

    /// Keeps the definitions in a file, too.
    pub fn with_registry_file(self, registry_file: LockedFile) -> Self {
        Self { registry_file: Some(registry_file), ..self }
    }

    /// Sets the intervals of the background loops.
    pub fn with_loops(self, loops: LoopOptions) -> Self {
        Self { loops, ..self }
    }

    /// Announces this URL to the other replicas.
    pub fn with_advertise_url(self, advertise_url: Option<ReplicaUrl>) -> Self {
        Self { advertise_url, ..self }
    }
}

impl<L: Ledger> Engine<L> {
    /// Builds the parts. Nothing is read or written before [`Engine::bootstrap`].
    pub fn new(ledger: Arc<L>, options: EngineOptions) -> Self {
        let EngineOptions { ledger_number, limiter, registry_file, loops, advertise_url } = options;
        let ids = Ids::new(ledger_number);
        let registry = Arc::new(Registry::new(Arc::clone(&ledger), ids, registry_file));
        let admin = Admin::new(Arc::clone(&registry));
        let limiter = Limiter::new(Arc::clone(&ledger), ids, Arc::clone(&registry), limiter);
        let replicas = Replicas::new(Arc::clone(&ledger), ids, advertise_url);
        Self { ledger, ids, registry, admin, limiter, replicas, loops }
    }

    /// Reserves, completes and extends leases.
    pub fn limiter(&self) -> &Limiter<L> {
        &self.limiter
    }

    /// Creates, changes, deletes and shows limits.
    pub fn admin(&self) -> &Admin<L> {
        &self.admin
    }

    /// The definitions known to this process.
    pub fn registry(&self) -> &Registry<L> {
        &self.registry
    }

    /// The replicas over the same ledger that announce themselves.
    pub fn replicas(&self) -> &Replicas<L> {
        &self.replicas
    }

    /// The ledger.
    pub fn ledger(&self) -> &Arc<L> {
        &self.ledger
    }

    /// The account whose look-up shows whether the ledger answers.
    pub fn operator_account(&self) -> AccountId {
        self.ids.operator()
    }

    /// Makes the ledger ready, reads its definitions, and creates those of `seed` that it never had.
    pub async fn bootstrap(&self, seed: &[LimitState]) -> Result<(), AdminError> {
        self.admin.bootstrap(seed).await
    }

    /// Repeats [`Engine::bootstrap`] until the ledger answers.
    pub async fn bootstrap_until_ready(&self, seed: &[LimitState]) {
        while let Err(error) = self.bootstrap(seed).await {
            tracing::warn!(error = with_sources(&error), "the ledger is not ready; trying again");
            tokio::time::sleep(BOOTSTRAP_RETRY_PAUSE).await;
        }
    }

    /// Runs the background loops forever: follows the log of definitions, applies decreases, retires and forgets idle
    /// instances, records what was granted without the ledger, steps allotments, announces this process, looks for crossed
    /// thresholds.
    pub async fn run_loops(&self) {
        let decreases = self.admin.run_decreases(self.loops.decrease_interval);
        tokio::join!(
            self.follow_log(),
            decreases,
            self.retire_idle_instances(),
            self.record_emergency_debt(),
            self.limiter.run_allotments(),
            self.replicas.run(),
            self.limiter.run_alerts(self.loops.alert_interval),
            self.ledger.run_upkeep()
        );
    }

    async fn follow_log(&self) {
        let mut ticks = tokio::time::interval(self.loops.poll_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.registry.refresh_and_save().await {
                tracing::warn!(
                    error = with_sources(&error),
                    "the definitions in the ledger could not be read; trying again"
                );
            }
        }
    }

    async fn record_emergency_debt(&self) {
        loop {
            tokio::time::sleep(EMERGENCY_DEBT_INTERVAL).await;
            if let Err(error) = self.limiter.record_emergency_debt(EmergencyDebt::Due).await {
                tracing::debug!(
                    error = with_sources(&error),
                    "the ledger still does not answer; trying again"
                );
            }
        }
    }

    async fn retire_idle_instances(&self) {
        let idle = self.loops.instance_idle;
        loop {
            tokio::time::sleep(idle).await;
            if let Err(error) = self.registry.retire_idle_instances(idle).await {
                tracing::warn!(
                    error = with_sources(&error),
                    "idle instances could not be retired; trying again later"
                );
            }
        }
    }
}
