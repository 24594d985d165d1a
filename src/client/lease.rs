use std::fmt;

use super::limiter::Verdict;
use super::shared::Duty;
use super::{Actual, Amount, CallError, Complete, Denial, Extend, LeaseId, Requirement, Reserve, Transport};
use crate::limit::ExtendId;
use crate::limit::{AmountError, LimitKey};
use crate::protocol::CommandError;

/// What was granted to one call. Complete it with what the call really used.
///
/// Dropping it without that gives back in the background what can be given back for certain, the places of concurrency
/// limits. What it took of the other limits stays taken until it expires, because nobody said how much was used.
#[must_use = "a lease that is dropped is over"]
pub struct Lease<T: Transport> {
    duty: Duty<T>,
    command: Reserve,
    reserved_at_unix_ms: u64,
}

/// Why a lease could not be completed as it was told. It is over all the same: what can be given back is given back in
/// the background, with the actual amounts if they were good.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CompleteError {
    /// The lease holds nothing of the limit.
    #[error("the lease holds nothing of limit {key}")]
    NotInLease {
        /// What was named.
        key: String,
    },
    /// An amount is too large or stands twice.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The call has no answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Why there is no answer to the wish for more.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExtendError {
    /// The lease holds nothing of the limit.
    #[error("the lease holds nothing of limit {key}")]
    NotInLease {
        /// What was named.
        key: String,
    },
    /// The number is no amount.
    #[error("amount {0}")]
    Amount(#[from] AmountError),
    /// Everything that the lease held has expired.
    #[error("the lease is over")]
    LeaseOver,
    /// The call has no answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// The answer to the wish for more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extended {
    /// The lease holds it too.
    Granted,
    /// The lease holds what it held before.
    Denied(Denial),
}

impl<T: Transport> Lease<T> {
    pub(super) fn new(mut duty: Duty<T>, command: Reserve, reserved_at_unix_ms: u64) -> Self {
        duty.turn_to(Complete::of_unknown_usage(&command));
        Self { duty, command, reserved_at_unix_ms }
    }

    /// Its name.
    pub fn id(&self) -> LeaseId {
        self.command.lease
    }

    /// When it was granted, in the ledger's time.
    pub fn reserved_at_unix_ms(&self) -> u64 {
        self.reserved_at_unix_ms
    }

    /// What it was granted at first, sorted by key.
    pub fn requirements(&self) -> &[Requirement] {
        self.command.requirements()
    }

    /// Settles it with what was really used. A limit that is not named keeps its reservation until it expires; a place of
    /// a concurrency limit comes back named or not.
    ///
    /// Dropping the future once it runs does not stop it: the complete is then made in the background, with the same
    /// amounts.
    pub async fn complete<K: AsRef<str>>(
        self,
        actuals: impl IntoIterator<Item = (K, u64)>,
    ) -> Result<(), CompleteError> {
        let actual = |(name, amount): (K, u64)| {
            let key = self.key(name.as_ref());
            let key = key.ok_or_else(|| CompleteError::NotInLease { key: name.as_ref().to_owned() })?;
            Ok(Actual { key: key.clone(), amount })
        };
        let actuals: Result<Vec<Actual>, CompleteError> = actuals.into_iter().map(actual).collect();
        let complete = Complete::new(self.command.lease, self.command.job_id.clone(), actuals?)?;
        Ok(self.settle(complete).await?)
    }

    /// Gives everything back: nothing was used.
    pub async fn cancel(self) -> Result<(), CallError> {
        let complete = Complete::of_unused(&self.command);
        self.settle(complete).await
    }

    /// Gives back what can be given back for certain, as dropping it does, and waits until that is done.
    pub(super) async fn release(self) -> Result<(), CallError> {
        let complete = Complete::of_unknown_usage(&self.command);
        self.settle(complete).await
    }

    /// Asks for more of a limit that it holds some of, for a call that goes on for longer than was thought. What is granted
    /// is settled with the same complete, which names what was used in all.
    ///
    /// Each call of this is an attempt of its own; it does not wait for room.
    pub async fn extend(&self, key: &str, amount: u64) -> Result<Extended, ExtendError> {
        let key = self.key(key).ok_or_else(|| ExtendError::NotInLease { key: key.to_owned() })?;
        let requirement = Requirement { key: key.clone(), amount: Amount::new(amount)? };
        let command = Extend { lease: self.command.lease, extend_id: ExtendId::generate(), requirement };
        match Verdict::of(self.duty.shared().calls.extend(&command).await?) {
            Verdict::Granted { .. } => Ok(Extended::Granted),
            Verdict::Denied(denial) => Ok(Extended::Denied(denial)),
            Verdict::TooLate => Err(ExtendError::LeaseOver),
        }
    }

    /// From now on, that nobody says otherwise means that nothing was used.
    pub(super) fn kept_unused(mut self) -> Self {
        self.duty.turn_to(Complete::of_unused(&self.command));
        self
    }

    /// From now on it may be used.
    pub(super) fn handed_out(mut self) -> Self {
        self.duty.turn_to(Complete::of_unknown_usage(&self.command));
        self
    }

    async fn settle(mut self, complete: Complete) -> Result<(), CallError> {
        self.duty.turn_to(complete.clone());
        let result = self.duty.shared().complete(&complete).await;
        match &result {
            Ok(()) => self.duty.discharge(),
            // It is tried further in the background.
            Err(CallError::Unknown(_) | CallError::Closed) => {}
            Err(CallError::Refused { .. }) => self.duty.turn_to(Complete::of_unknown_usage(&self.command)),
        }
        result
    }

    fn key(&self, name: &str) -> Option<&LimitKey> {
        self.requirements().iter().map(|requirement| &requirement.key).find(|key| key.as_str() == name)
    }
}

impl<T: Transport> fmt::Debug for Lease<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, reserved_at_unix_ms, .. } = self;
        f.debug_struct("Lease")
            .field("command", command)
            .field("reserved_at_unix_ms", reserved_at_unix_ms)
            .finish_non_exhaustive()
    }
}
