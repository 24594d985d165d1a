//! The limiter in this process.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::{
    Amount, AttemptResult, CallError, Complete, ErrorKind, Extend, IntoDefinition, IntoLimitKey, LeaseId,
    LimitError, LimitInfo, LimitKey, LimitStatus, ObjectReservation, ObjectState, ObjectTransport, Renew,
    Reserve, Transport, Usage,
};
use crate::engine::{Engine, EngineOptions};
use crate::ledger::Ledger;
use crate::ledger::memory::{Clock, MemoryLedger, SystemClock};
use crate::limit::{
    BucketRate, Capacity, Definition, ExpectedVersion, LimitState, RateChange, ReleaseId, ReplenishId,
};
use crate::limiter::{LimiterError, ObjectError};
use crate::protocol::{CompleteOutcome, WAIT_MS_MAX};
#[cfg(feature = "permits")]
use crate::registry::Entry;
use crate::registry::file::{FileError, RegistryFile};
use crate::registry::{Admin, AdminError};
use crate::time::saturating_ms;

/// How long the memory ledger remembers a settled lease, so that a late duplicate of it is recognised.
const RETENTION: Duration = Duration::from_secs(600);

/// A limiter in this process, over a ledger in memory by default. It answers as the service does over HTTP.
///
/// Hand it to a [`Limiter`](super::Limiter), or share it in an [`Arc`] between several of them. Its background task
/// ends when it is dropped.
///
/// ```
/// # use std::error::Error;
/// use ledger_limiter::client::{InProcess, Rate, Usage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn Error>> {
/// let limits = InProcess::with_limits([Rate::per_minute(60).burst(10).limit("rpm")]).await?;
/// limits.put_limit(Rate::per_minute(60).burst(20).limit("rpm")).await?;
/// let rpm = limits.limit("rpm").await?.ok_or("the limit is gone")?;
/// assert_eq!(rpm.usage, Usage { available: 20, reserved: 0, debt: 0 });
/// limits.delete_limit("rpm").await?;
/// # Ok(())
/// # }
/// ```
pub struct InProcess<L: Ledger = MemoryLedger<SystemClock>> {
    engine: Arc<Engine<L>>,
    background: AbortHandle,
}

/// Why a limiter in this process did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InProcessError {
    /// The limits file cannot be read.
    #[error("cannot read the limits file {path}")]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The limits file is malformed.
    #[error("the limits file {path} is malformed at {location}: {message}")]
    MalformedFile {
        /// The file.
        path: PathBuf,
        /// The entry and field, or the line and column.
        location: String,
        /// What is wrong there.
        message: String,
    },
    /// A limit is not valid.
    #[error("limit {index} of the list is not valid")]
    Limit {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong with it.
        source: LimitError,
    },
    /// The ledger did not create the limits.
    #[error("the limits could not be created")]
    Limits(#[from] CallError),
}

impl InProcessError {
    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::ReadFile { .. } => ErrorKind::File,
            Self::MalformedFile { .. } => ErrorKind::InvalidRequest,
            Self::Limit { source, .. } => source.kind(),
            Self::Limits(error) => error.kind(),
        }
    }
}

impl InProcess {
    /// Starts over a ledger in memory, with the limits of a file such as `examples/limits.json`.
    ///
    /// The file is an array of `{definition, status, pending_decrease_to}`. It is only read, never written.
    pub async fn from_file(path: impl AsRef<Path>) -> Result<Self, InProcessError> {
        let limits = RegistryFile::new(path.as_ref().to_owned(), false).read_existing()?;
        Self::in_memory(&limits).await
    }

    /// Starts over a ledger in memory, with these limits.
    pub async fn with_limits<D: IntoDefinition>(
        limits: impl IntoIterator<Item = D>,
    ) -> Result<Self, InProcessError> {
        Self::in_memory(&states_of(limits)?).await
    }

    /// Starts over a ledger in memory, without limits; [`put_limit`](Self::put_limit) makes them.
    pub async fn without_limits() -> Result<Self, InProcessError> {
        Self::in_memory(&[]).await
    }

    async fn in_memory(limits: &[LimitState]) -> Result<Self, InProcessError> {
        Self::on_clock(SystemClock::new(), limits).await
    }
}

impl<C: Clock> InProcess<MemoryLedger<C>> {
    /// Starts over a ledger in memory that reads this clock, with these limits.
    pub async fn with_clock<D: IntoDefinition>(
        clock: C,
        limits: impl IntoIterator<Item = D>,
    ) -> Result<Self, InProcessError> {
        Self::on_clock(clock, &states_of(limits)?).await
    }

    async fn on_clock(clock: C, limits: &[LimitState]) -> Result<Self, InProcessError> {
        Self::assemble(Arc::new(MemoryLedger::new(clock, RETENTION)), 1, limits).await
    }
}

impl<L: Ledger> InProcess<L> {
    /// Starts over any ledger. It serves the limits of the ledger, and creates those of `limits` that the ledger never had.
    ///
    /// `ledger_number` is part of the ids of all accounts: processes that share a ledger use the same number, 1 by
    /// convention.
    pub async fn over(
        ledger: Arc<L>,
        ledger_number: u32,
        limits: impl IntoIterator<Item = Definition>,
    ) -> Result<Self, InProcessError> {
        Self::assemble(ledger, ledger_number, &states_of(limits)?).await
    }

    async fn assemble(
        ledger: Arc<L>,
        ledger_number: u32,
        limits: &[LimitState],
    ) -> Result<Self, InProcessError> {
        let options = EngineOptions::default().with_ledger_number(ledger_number);
        let engine = Arc::new(Engine::new(ledger, options));
        engine.bootstrap(limits).await.map_err(CallError::from)?;
        let background = tokio::spawn({
            let engine = Arc::clone(&engine);
            async move { engine.run_loops().await }
        });
        Ok(Self { engine, background: background.abort_handle() })
    }

    /// Creates a limit, or changes it to this definition.
    ///
    /// A lower capacity takes effect when enough of it is free; until then the limit is
    /// [`Decreasing`](LimitStatus::Decreasing) and grants nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] if the limit is not valid; [`ErrorKind::KindChange`] if it has another kind; [`ErrorKind::TooManyInstances`] if a template has
    /// created more instances than it would be allowed to; [`ErrorKind::Contended`] if other processes keep
    /// changing the limit.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, it is unknown whether the limit is changed.
    pub async fn put_limit(&self, limit: impl IntoDefinition) -> Result<LimitStatus, CallError> {
        let definition = limit.into_definition().map_err(|error| CallError::invalid(error.to_string()))?;
        Ok(LimitStatus::of(self.engine.admin().put(&definition).await?))
    }

    /// Deletes a limit or a template. Leases that hold it can still be completed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownKey`] if there is no such limit.
    pub async fn delete_limit(&self, key: impl IntoLimitKey) -> Result<(), CallError> {
        Ok(self.engine.admin().delete(&key.into_definition_key()?).await?)
    }

    /// A limit or a template, with its usage; `None` if there is none of this key.
    pub async fn limit(&self, key: impl IntoLimitKey) -> Result<Option<LimitInfo>, CallError> {
        match self.engine.admin().get(&key.into_definition_key()?).await {
            Ok(usage) => Ok(Some(LimitInfo::of(&usage))),
            Err(AdminError::UnknownKey(_) | AdminError::Deleted(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All limits and templates, sorted by key. The instances of templates are not listed.
    pub async fn limits(&self) -> Result<Vec<LimitInfo>, CallError> {
        Ok(self.engine.admin().list().await?.iter().map(LimitInfo::of).collect())
    }

    /// Refills a token bucket that is refilled manually. Returns false if the limit is not such a bucket.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownKey`] if there is no such limit.
    pub async fn replenish(&self, key: impl IntoLimitKey) -> Result<bool, CallError> {
        Ok(self.engine.admin().replenish(&key.into_limit_key()?, ReplenishId::generate()).await?)
    }

    /// Sets the usage and the debt of a limit to zero. Leases on it can still be completed, which changes nothing of its usage.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownKey`] if there is no such limit, [`ErrorKind::InvalidRequest`] if it is a template.
    pub async fn reset(&self, key: impl IntoLimitKey) -> Result<(), CallError> {
        self.engine.admin().reset(&key.into_definition_key()?).await?;
        Ok(())
    }

    /// Deletes a limit or a template for good: its history ends, and a later definition of the key begins without usage and debt.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownKey`] if there is no such limit.
    pub async fn purge(&self, key: impl IntoLimitKey) -> Result<(), CallError> {
        Ok(self.engine.admin().purge(&key.into_definition_key()?, ExpectedVersion::Any).await?)
    }

    /// The parts inside, for this crate's tests. It may change at any time.
    #[doc(hidden)]
    pub fn admin(&self) -> &Admin<L> {
        self.engine.admin()
    }

    /// A limit as this process knows it, or else the template of its key. `None` if it is deleted or unknown here.
    #[cfg(feature = "permits")]
    pub(super) fn entry(&self, key: &LimitKey) -> Option<Arc<Entry>> {
        let registry = self.engine.registry().snapshot();
        let entry = registry.get(key).or_else(|| registry.template_of(key));
        entry.filter(|entry| !entry.limit.state.status.is_gone())
    }

    /// Reads every change of a definition that was made until now.
    #[cfg(feature = "permits")]
    pub(super) async fn read_definitions(&self) -> Result<(), CallError> {
        Ok(self.engine.registry().refresh().await.map_err(LimiterError::from)?)
    }

    /// The ledger's time in nanoseconds since the Unix epoch, never ahead of it.
    #[cfg(feature = "permits")]
    pub(super) fn ledger_now_ns(&self) -> u64 {
        self.engine.limiter().now_ns()
    }
}

impl<L: Ledger> Drop for InProcess<L> {
    fn drop(&mut self) {
        self.background.abort();
    }
}

impl<L: Ledger> Transport for InProcess<L> {
    async fn reserve(&self, command: &Reserve) -> Result<AttemptResult, CallError> {
        Ok(self.engine.limiter().reserve(command).await?.into())
    }

    /// The limiter in this process lets callers wait, in order.
    fn wait_max(&self) -> Duration {
        Duration::from_millis(WAIT_MS_MAX)
    }

    async fn complete(&self, command: &Complete) -> Result<(), CallError> {
        settled(self.engine.limiter().complete(command).await)
    }

    async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<AttemptResult, CallError>> {
        let outcomes = self.engine.limiter().reserve_batch(commands).await;
        outcomes.into_iter().map(|outcome| Ok(outcome?.into())).collect()
    }

    async fn complete_batch(&self, commands: &[Complete]) -> Vec<Result<(), CallError>> {
        self.engine.limiter().complete_batch(commands).await.into_iter().map(settled).collect()
    }

    async fn extend(&self, command: &Extend) -> Result<AttemptResult, CallError> {
        let outcome = self.engine.limiter().extend(command).await?;
        Ok(outcome.answered().map_err(CallError::invalid)?.into())
    }

    async fn renew(&self, command: &Renew) -> Result<AttemptResult, CallError> {
        let outcome = self.engine.limiter().renew(command).await?;
        Ok(outcome.answered().map_err(CallError::invalid)?.into())
    }

    async fn usage(&self, key: &LimitKey) -> Result<Option<Usage>, CallError> {
        Ok(self.limit(key).await?.map(|limit| limit.usage))
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
        max_wait: Option<Duration>,
    ) -> Result<ObjectReservation, CallError> {
        let object = self.engine.limiter().object(key);
        let wait_max_ms = max_wait.map(saturating_ms);
        Ok(ObjectReservation::of(object.reserve_within(tokens, lease, wait_max_ms).await?))
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

    async fn set_rate(
        &self,
        key: &LimitKey,
        limit: Option<f64>,
        burst: Option<Capacity>,
    ) -> Result<(), CallError> {
        let invalid = |error| CallError::invalid(format!("limit {error}"));
        let rate = limit.map(BucketRate::per_second).transpose().map_err(invalid)?;
        self.engine.admin().set_rate(key, RateChange { rate, burst }).await?;
        Ok(())
    }

    async fn state(&self, key: &LimitKey) -> Result<ObjectState, CallError> {
        Ok(ObjectState::of(self.engine.limiter().object(key).state().await?))
    }
}

#[doc(hidden)]
impl From<ObjectError> for CallError {
    fn from(error: ObjectError) -> Self {
        let kind = match &error {
            ObjectError::Limiter(_) => return Self::unknown(error),
            ObjectError::UnknownKey(_) => ErrorKind::UnknownKey,
            ObjectError::TooManyInstances(_) => ErrorKind::TooManyInstances,
            ObjectError::NotABucket { .. } => ErrorKind::NotABucket,
            ObjectError::LeaseConflict(_) => ErrorKind::LeaseConflict,
            ObjectError::LeaseSettled(_) => ErrorKind::LeaseSettled,
        };
        Self::refused(kind, error.to_string())
    }
}

#[doc(hidden)]
impl From<LimiterError> for CallError {
    fn from(error: LimiterError) -> Self {
        Self::unknown(error)
    }
}

#[doc(hidden)]
impl From<AdminError> for CallError {
    fn from(error: AdminError) -> Self {
        let kind = match &error {
            AdminError::Registry(_) | AdminError::NotSaved(_) => {
                return Self::unknown(error);
            }
            AdminError::Contended(_) => return Self::unknown_of_kind(ErrorKind::Contended, error),
            AdminError::UnknownKey(_) | AdminError::Deleted(_) => ErrorKind::UnknownKey,
            AdminError::KindChange(_) => ErrorKind::KindChange,
            AdminError::VersionConflict { .. } => ErrorKind::VersionConflict,
            AdminError::TooManyInstances(_) => ErrorKind::TooManyInstances,
            AdminError::IsTemplate(_) => ErrorKind::InvalidRequest,
        };
        Self::refused(kind, error.to_string())
    }
}

#[doc(hidden)]
impl From<FileError> for InProcessError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io { path, source, .. } => Self::ReadFile { path, source },
            FileError::Damaged { path, place: location, message } => {
                Self::MalformedFile { path, location, message }
            }
        }
    }
}

fn states_of<D: IntoDefinition>(
    limits: impl IntoIterator<Item = D>,
) -> Result<Vec<LimitState>, InProcessError> {
    let state_of = |(index, limit): (usize, D)| match limit.into_definition() {
        Ok(definition) => Ok(LimitState::active(definition)),
        Err(source) => Err(InProcessError::Limit { index, source }),
    };
    limits.into_iter().enumerate().map(state_of).collect()
}

fn settled(outcome: Result<CompleteOutcome, LimiterError>) -> Result<(), CallError> {
    outcome?.settled().map_err(CallError::invalid)
}
