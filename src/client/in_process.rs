use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::{
    Amount, CallError, Complete, Extend, LeaseId, LimitKey, ObjectReservation, ObjectState, ObjectTransport,
    ReleaseId, Reserve, ReserveOutcome, Transport, Usage,
};
use crate::engine::{Engine, EngineOptions};
use crate::ledger::Ledger;
use crate::ledger::memory::MemoryLedger;
use crate::ledger::memory::SystemClock;
use crate::limit::{Definition, LimitState, RefillRate, Status};
use crate::limiter::{LimiterError, ObjectError};
use crate::protocol::CompleteOutcome;
use crate::registry::Entry;
use crate::registry::file::{FileError, RegistryFile};
use crate::registry::{Admin, AdminError};

/// How long a lease that is over is remembered, so that a late duplicate of it is known.
const RETENTION: Duration = Duration::from_secs(600);
/// The limiter in this process, over a ledger in memory unless it is told another: the same answers as over HTTP,
/// without a service.
pub struct InProcess<L: Ledger = MemoryLedger<SystemClock>> {
    engine: Arc<Engine<L>>,
    loops: AbortHandle,
}

/// Why there is no limiter in this process.
#[derive(Debug, thiserror::Error)]
pub enum InProcessError {
    /// The limits file cannot be used.
    #[error("the limits file cannot be used")]
    File(#[from] FileError),
    /// The limits could not be made.
    #[error("the limits could not be made")]
    Admin(#[from] AdminError),
}

impl InProcess {
    /// With the limits of a file such as `examples/limits.json`, an array of `{definition, status,
    /// pending_decrease_to}`, which is only read.
    pub async fn from_file(path: impl AsRef<Path>) -> Result<Self, InProcessError> {
        let limits = RegistryFile::new(path.as_ref().to_owned(), false).read_existing()?;
        Self::from_states(&limits).await
    }

    /// With these limits.
    pub async fn with_limits(limits: Vec<Definition>) -> Result<Self, InProcessError> {
        let limits: Vec<LimitState> = limits.into_iter().map(LimitState::active).collect();
        Self::from_states(&limits).await
    }

    async fn from_states(limits: &[LimitState]) -> Result<Self, InProcessError> {
        Self::over(
            Arc::new(MemoryLedger::new(SystemClock::new(), RETENTION)),
            EngineOptions::default(),
            limits,
        )
        .await
    }
}

impl<L: Ledger> InProcess<L> {
    /// Over any ledger, with the limits that it has and those of `limits` that it never had.
    pub async fn over(
        ledger: Arc<L>,
        options: EngineOptions,
        limits: &[LimitState],
    ) -> Result<Self, InProcessError> {
        let engine = Arc::new(Engine::new(ledger, options));
        engine.bootstrap(limits).await?;
        let loops = tokio::spawn({
            let engine = Arc::clone(&engine);
            async move { engine.run_loops().await }
        });
        Ok(Self { engine, loops: loops.abort_handle() })
    }

    /// Creates, changes, deletes and lists limits.
    pub fn admin(&self) -> &Admin<L> {
        self.engine.admin()
    }

    /// A limit as it was last heard of here, unless it was deleted; of one that is not known here, its template.
    pub(super) fn known(&self, key: &LimitKey) -> Option<Arc<Entry>> {
        let registry = self.engine.registry().snapshot();
        let entry = registry.get(key).or_else(|| registry.template_of(key));
        entry.filter(|entry| entry.limit.state.status != Status::Deleted)
    }

    /// Hears of every change that was made until now.
    pub(super) async fn refresh(&self) -> Result<(), CallError> {
        Ok(self.engine.registry().refresh().await.map_err(LimiterError::from)?)
    }

    /// The ledger's time in nanoseconds since the Unix epoch, never ahead of it.
    pub(super) fn now_ns(&self) -> u64 {
        self.engine.limiter().now_ns()
    }
}

impl<L: Ledger> Drop for InProcess<L> {
    fn drop(&mut self) {
        self.loops.abort();
    }
}

impl<L: Ledger> Transport for InProcess<L> {
    async fn reserve(&self, command: &Reserve) -> Result<ReserveOutcome, CallError> {
        Ok(self.engine.limiter().reserve(command).await?)
    }

    async fn complete(&self, command: &Complete) -> Result<(), CallError> {
        settled(self.engine.limiter().complete(command).await)
    }

    async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<ReserveOutcome, CallError>> {
        let outcomes = self.engine.limiter().reserve_batch(commands).await;
        outcomes.into_iter().map(|outcome| outcome.map_err(CallError::from)).collect()
    }

    async fn complete_batch(&self, commands: &[Complete]) -> Vec<Result<(), CallError>> {
        self.engine.limiter().complete_batch(commands).await.into_iter().map(settled).collect()
    }

    async fn extend(&self, command: &Extend) -> Result<ReserveOutcome, CallError> {
        let outcome = self.engine.limiter().extend(command).await?;
        outcome.answered().map_err(|message| CallError::Refused { message })
    }

    async fn usage(&self, key: &LimitKey) -> Result<Option<Usage>, CallError> {
        match self.engine.admin().get(key).await {
            Ok(usage) => {
                let (available, reserved, debt) = (usage.available, usage.reserved, usage.debt);
                Ok(Some(Usage { available, reserved, debt }))
            }
            Err(AdminError::UnknownKey(_)) => Ok(None),
            Err(error) => Err(CallError::unknown(error)),
        }
    }
}

impl<L: Ledger> ObjectTransport for InProcess<L> {
    async fn try_reserve(&self, key: &LimitKey, tokens: Amount, lease: LeaseId) -> Result<bool, CallError> {
        Ok(self.engine.limiter().object(key).try_reserve(tokens, lease).await?)
    }

    async fn reserve_ahead(
        &self,
        key: &LimitKey,
        tokens: Amount,
        lease: LeaseId,
    ) -> Result<ObjectReservation, CallError> {
        Ok(self.engine.limiter().object(key).reserve(tokens, lease).await?)
    }

    async fn cancel(&self, key: &LimitKey, lease: LeaseId) -> Result<bool, CallError> {
        Ok(self.engine.limiter().object(key).cancel(lease).await?)
    }

    async fn release(&self, key: &LimitKey, tokens: Amount, release: ReleaseId) -> Result<u64, CallError> {
        Ok(self.engine.limiter().object(key).release(tokens, release).await?)
    }

    async fn available_permits(&self, key: &LimitKey) -> Result<u64, CallError> {
        Ok(self.engine.limiter().object(key).available_permits().await?)
    }

    async fn set_rate(&self, key: &LimitKey, limit: f64, burst: Amount) -> Result<(), CallError> {
        let refused = |message| CallError::Refused { message };
        let rate = RefillRate::per_second(limit).map_err(|error| refused(format!("limit {error}")))?;
        match self.engine.admin().set_rate(key, rate, burst).await {
            Ok(_) => Ok(()),
            Err(error @ AdminError::KindChange(_)) => Err(refused(error.to_string())),
            Err(error) => Err(CallError::unknown(error)),
        }
    }

    async fn state(&self, key: &LimitKey) -> Result<ObjectState, CallError> {
        Ok(self.engine.limiter().object(key).state().await?)
    }
}

impl From<ObjectError> for CallError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Limiter(error) => error.into(),
            ObjectError::UnknownKey(_)
            | ObjectError::TooManyInstances(_)
            | ObjectError::NotABucket { .. }
            | ObjectError::LeaseConflict(_)
            | ObjectError::LeaseSettled(_) => Self::Refused { message: error.to_string() },
        }
    }
}

impl From<LimiterError> for CallError {
    fn from(error: LimiterError) -> Self {
        Self::unknown(error)
    }
}

fn settled(outcome: Result<CompleteOutcome, LimiterError>) -> Result<(), CallError> {
    outcome?.settled().map_err(|message| CallError::Refused { message })
}
