//! The calls that a transport makes for the client library.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::time::system_time;
use super::{CallError, Complete, Denial, Extend, LimitKey, Renew, Reserve, Usage};
use crate::protocol::ReserveOutcome;

/// Makes one attempt at each call of the limiter. [`Repeating`](super::Repeating) adds the repetitions.
///
/// Every call is idempotent: made again with the same ids, it is carried out once and answered alike. Dropping the
/// future of a call leaves its outcome unknown.
pub trait Transport: Send + Sync + 'static {
    /// Reserves everything that the command asks for, or nothing.
    fn reserve(&self, command: &Reserve) -> impl Future<Output = Result<AttemptResult, CallError>> + Send;

    /// How long the other side may hold a reserve until there is room. Zero if it answers at once; then the client library
    /// asks again itself.
    fn wait_max(&self) -> Duration {
        Duration::ZERO
    }

    /// Settles a lease. A lease that is unknown, settled or expired needs no complete: the call succeeds.
    fn complete(&self, command: &Complete) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Reserves for each command by itself. The results are in the order of the commands.
    fn reserve_batch(
        &self,
        commands: &[Reserve],
    ) -> impl Future<Output = Vec<Result<AttemptResult, CallError>>> + Send;

    /// Settles each lease by itself. The results are in the order of the commands.
    fn complete_batch(
        &self,
        commands: &[Complete],
    ) -> impl Future<Output = Vec<Result<(), CallError>>> + Send;

    /// Reserves more of a limit for a running lease.
    fn extend(&self, command: &Extend) -> impl Future<Output = Result<AttemptResult, CallError>> + Send;

    /// Holds the slots of a running lease for their whole time-out again. Granted at the time of the renewal.
    fn renew(&self, command: &Renew) -> impl Future<Output = Result<AttemptResult, CallError>> + Send;

    /// The usage of a limit; `None` if there is no limit of this key.
    fn usage(&self, key: &LimitKey) -> impl Future<Output = Result<Option<Usage>, CallError>> + Send;
}

/// The result of one attempt to reserve or to extend.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptResult {
    /// Everything is reserved.
    Granted {
        /// The time of the grant, in the ledger's time, to the millisecond.
        reserved_at: SystemTime,
        /// The limits that had too little room and granted, because they are in shadow mode.
        would_deny: Box<[LimitKey]>,
    },
    /// Nothing is reserved.
    Denied(Denial),
    /// Nothing is reserved: the id was used for another request.
    LeaseConflict,
    /// Nothing more is reserved: the lease was completed.
    LeaseSettled,
    /// Nothing more is reserved: the lease was granted, and a part of it has expired. Under a fresh id that means that
    /// the part expired before the grant arrived. A complete releases the rest.
    LeaseExpired,
}

#[doc(hidden)]
impl From<ReserveOutcome> for AttemptResult {
    fn from(outcome: ReserveOutcome) -> Self {
        let hint = Duration::from_millis;
        match outcome {
            ReserveOutcome::Granted { reserved_at_unix_ms, would_deny } => {
                Self::Granted { reserved_at: system_time(reserved_at_unix_ms), would_deny }
            }
            ReserveOutcome::NoRoom { key, retry_after_ms, retry_after_source } => {
                let retry_after = hint(retry_after_ms);
                Self::Denied(Denial::NoRoom { key, retry_after, retry_after_source })
            }
            ReserveOutcome::Decreasing { key, retry_after_ms } => {
                Self::Denied(Denial::Decreasing { key, retry_after: hint(retry_after_ms) })
            }
            ReserveOutcome::ExceedsCapacity { key } => Self::Denied(Denial::ExceedsCapacity { key }),
            ReserveOutcome::UnknownKey { key } => Self::Denied(Denial::UnknownKey { key }),
            ReserveOutcome::TooManyInstances { key } => Self::Denied(Denial::TooManyInstances { key }),
            ReserveOutcome::LeaseConflict => Self::LeaseConflict,
            ReserveOutcome::LeaseSettled => Self::LeaseSettled,
            ReserveOutcome::LeaseExpired => Self::LeaseExpired,
        }
    }
}

/// A transport with several owners.
impl<T: Transport> Transport for Arc<T> {
    fn wait_max(&self) -> Duration {
        (**self).wait_max()
    }

    async fn reserve(&self, command: &Reserve) -> Result<AttemptResult, CallError> {
        T::reserve(self, command).await
    }

    async fn complete(&self, command: &Complete) -> Result<(), CallError> {
        T::complete(self, command).await
    }

    async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<AttemptResult, CallError>> {
        T::reserve_batch(self, commands).await
    }

    async fn complete_batch(&self, commands: &[Complete]) -> Vec<Result<(), CallError>> {
        T::complete_batch(self, commands).await
    }

    async fn extend(&self, command: &Extend) -> Result<AttemptResult, CallError> {
        T::extend(self, command).await
    }

    async fn renew(&self, command: &Renew) -> Result<AttemptResult, CallError> {
        T::renew(self, command).await
    }

    async fn usage(&self, key: &LimitKey) -> Result<Option<Usage>, CallError> {
        T::usage(self, key).await
    }
}
