//! A lease and its end: completed by its owner, or in the background when it is dropped.

use std::fmt;
use std::time::SystemTime;

use super::shared::CompletionGuard;
use super::{
    Actual, Amount, AttemptResult, CallError, Complete, Denial, ErrorKind, Extend, IntoLimitKey, LeaseId,
    Renew, RenewId, Requirement, Reserve, Transport,
};
use crate::limit::ExtendId;
use crate::limit::{AmountError, LimitKey};
use crate::protocol::CommandError;
#[cfg(feature = "permits")]
use crate::time::unix_ms_of;

/// What was granted to one call. Complete it with what the call really used, or cancel it if nothing was used.
///
/// # Dropping
///
/// A lease that is dropped is completed in the background, without amounts. That releases the slots of concurrency
/// limits at once. Other limits keep the reserved amount until it expires, because nobody said how much was used. The
/// drop does not block, and it may happen on any thread. If the tokio runtime has ended by then, all of it expires.
#[must_use = "dropping a lease ends it"]
pub struct Lease<T: Transport> {
    guard: CompletionGuard<T>,
    command: Reserve,
    reserved_at: SystemTime,
    would_deny: Box<[LimitKey]>,
}

/// Why a lease was not completed with the given amounts.
///
/// The lease is over all the same. It is completed in the background: with the amounts if they are valid, and without
/// them otherwise.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CompleteError {
    /// The lease does not hold the limit.
    #[error("the lease does not hold limit {key}; complete it with the keys that it was acquired for")]
    NotInLease {
        /// The key given.
        key: String,
    },
    /// An amount is too large, or a key is given twice.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The call has no answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Why a lease was neither extended nor denied the extension, or why it was not renewed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ExtendError {
    /// The lease does not hold the limit.
    #[error("the lease does not hold limit {key}; only limits that it holds can be extended")]
    NotInLease {
        /// The key given.
        key: String,
    },
    /// The amount is out of range.
    #[error("amount {0}")]
    Amount(#[from] AmountError),
    /// The lease was completed, or everything it held has expired. Of a renewal: or one of its slots has timed out.
    #[error("the lease is over; acquire another")]
    LeaseOver,
    /// The call has no answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// The answer to an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extended {
    /// The lease holds the extra amount too.
    Granted,
    /// The lease holds what it held before.
    Denied(Denial),
}

impl CompleteError {
    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotInLease { .. } | Self::Command(_) => ErrorKind::InvalidRequest,
            Self::Call(error) => error.kind(),
        }
    }
}

impl ExtendError {
    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotInLease { .. } | Self::Amount(_) => ErrorKind::InvalidRequest,
            Self::LeaseOver => ErrorKind::LeaseSettled,
            Self::Call(error) => error.kind(),
        }
    }
}

impl<T: Transport> Lease<T> {
    pub(super) fn new(
        mut guard: CompletionGuard<T>,
        command: Reserve,
        reserved_at: SystemTime,
        would_deny: Box<[LimitKey]>,
    ) -> Self {
        guard.set_complete(Complete::of_unknown_usage(&command));
        Self { guard, command, reserved_at, would_deny }
    }

    /// The limits that had too little room and granted, because they are in shadow mode. What they lacked is their debt.
    pub fn would_deny(&self) -> &[LimitKey] {
        &self.would_deny
    }

    /// The id of the lease.
    pub fn id(&self) -> LeaseId {
        self.command.lease
    }

    /// When the lease was granted, in the ledger's time, to the millisecond.
    pub fn reserved_at(&self) -> SystemTime {
        self.reserved_at
    }

    /// The same, in milliseconds since the Unix epoch.
    #[cfg(feature = "permits")]
    pub(super) fn reserved_at_unix_ms(&self) -> u64 {
        unix_ms_of(self.reserved_at)
    }

    /// What was granted at first, sorted by key. Extensions are not listed.
    pub fn requirements(&self) -> &[Requirement] {
        self.command.requirements()
    }

    /// Settles the lease with the amounts that were really used, extensions included.
    ///
    /// A limit without an amount keeps its reservation until it expires. Slots of concurrency limits are released
    /// with or without an amount. Amounts are 0 to 2^63-1; one above the reserved amount is the limit's overage.
    ///
    /// # Errors
    ///
    /// [`CompleteError`] if an amount is invalid or the call has no answer. The lease is over all the same.
    ///
    /// # Cancellation
    ///
    /// Dropping the future after its first poll does not stop the call: the complete goes on in the background,
    /// with the same amounts. Before the first poll it drops the lease.
    pub async fn complete<K: IntoLimitKey>(
        self,
        actuals: impl IntoIterator<Item = (K, u64)>,
    ) -> Result<(), CompleteError> {
        let actual = |(key, amount): (K, u64)| {
            let held = self.held(key.as_ref());
            let held = held.ok_or_else(|| CompleteError::NotInLease { key: key.as_ref().to_owned() })?;
            Ok(Actual { key: held.clone(), amount })
        };
        let actuals: Result<Vec<Actual>, CompleteError> = actuals.into_iter().map(actual).collect();
        let complete = Complete::new(self.command.lease, self.command.job_id.clone(), actuals?)?;
        Ok(self.settle(complete).await?)
    }

    /// Releases everything, because nothing was used.
    ///
    /// # Cancellation
    ///
    /// Like [`complete`](Self::complete), it goes on in the background.
    pub async fn cancel(self) -> Result<(), CallError> {
        let complete = Complete::of_unused(&self.command);
        self.settle(complete).await
    }

    /// Completes the lease without amounts, as dropping it does, and waits for the answer.
    #[cfg(feature = "permits")]
    pub(super) async fn release(self) -> Result<(), CallError> {
        let complete = Complete::of_unknown_usage(&self.command);
        self.settle(complete).await
    }

    /// Reserves more of a limit that the lease holds, for a call that lasts longer than expected.
    ///
    /// It asks once and does not wait for room. The later complete settles the extra amount too, so name the total
    /// there. Each call is a new attempt: two calls that are granted extend the lease twice.
    ///
    /// # Errors
    ///
    /// [`ExtendError`] if the lease does not hold the limit, the amount is not 1 to 2^63-1, the lease is over, or
    /// the call has no answer.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, it is unknown whether the lease was extended. The complete settles it either way.
    pub async fn extend(&self, key: impl IntoLimitKey, amount: u64) -> Result<Extended, ExtendError> {
        let held = self.held(key.as_ref());
        let held = held.ok_or_else(|| ExtendError::NotInLease { key: key.as_ref().to_owned() })?;
        let requirement = Requirement { key: held.clone(), amount: Amount::new(amount)? };
        let command = Extend { lease: self.command.lease, extend_id: ExtendId::generate(), requirement };
        match self.guard.shared().calls.extend(&command).await? {
            AttemptResult::Granted { .. } => Ok(Extended::Granted),
            AttemptResult::Denied(denial) => Ok(Extended::Denied(denial)),
            AttemptResult::LeaseConflict | AttemptResult::LeaseSettled | AttemptResult::LeaseExpired => {
                Err(ExtendError::LeaseOver)
            }
        }
    }

    /// Holds the slots of the lease for their whole time-out again, from now on. What it holds of other kinds of limits
    /// keeps its expiry. Extends and renewals of one lease are 32 together.
    ///
    /// # Errors
    ///
    /// [`ExtendError::LeaseOver`] if the lease is over, a slot has timed out, or its limit was deleted;
    /// [`ExtendError::Call`] if the lease holds no slot, was renewed too often, or the call has no answer.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, it is unknown whether the lease was renewed.
    pub async fn renew(&self) -> Result<(), ExtendError> {
        let command = Renew { lease: self.command.lease, renew_id: RenewId::generate() };
        match self.guard.shared().calls.renew(&command).await? {
            AttemptResult::Granted { .. } => Ok(()),
            AttemptResult::Denied(_)
            | AttemptResult::LeaseConflict
            | AttemptResult::LeaseSettled
            | AttemptResult::LeaseExpired => Err(ExtendError::LeaseOver),
        }
    }

    /// From now on, dropping the lease means that nothing was used.
    pub(super) fn kept_unused(mut self) -> Self {
        self.guard.set_complete(Complete::of_unused(&self.command));
        self
    }

    /// From now on, dropping the lease does not tell how much was used.
    pub(super) fn handed_out(mut self) -> Self {
        self.guard.set_complete(Complete::of_unknown_usage(&self.command));
        self
    }

    async fn settle(mut self, complete: Complete) -> Result<(), CallError> {
        self.guard.set_complete(complete.clone());
        let result = self.guard.shared().complete(&complete).await;
        match &result {
            Ok(()) => self.guard.disarm(),
            // The guard repeats it in the background.
            Err(CallError::Unknown { .. } | CallError::Closed) => {}
            Err(CallError::Refused { .. }) => {
                self.guard.set_complete(Complete::of_unknown_usage(&self.command));
            }
        }
        result
    }

    fn held(&self, name: &str) -> Option<&LimitKey> {
        self.requirements().iter().map(|requirement| &requirement.key).find(|key| key.as_str() == name)
    }
}

impl<T: Transport> fmt::Debug for Lease<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, reserved_at, .. } = self;
        f.debug_struct("Lease")
            .field("command", command)
            .field("reserved_at", reserved_at)
            .finish_non_exhaustive()
    }
}
