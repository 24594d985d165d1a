//! A token bucket as an object per key, the form that other rate limiters offer. The bucket is a limit like any
//! other: its reservations are settled and refilled, and its definition is changed and shown, as usual.

mod reserve_ahead;
mod state;

use std::sync::Arc;

use super::resolve::Resolved;
use super::{Limiter, LimiterError};
use crate::decide::borrow;
use crate::decide::lease::Lease;
use crate::decide::refill_by_hand::RefillByHand;
use crate::decide::reservation_ahead::reservation_ahead;
use crate::decide::reserve::takes_reservations;
use crate::ledger::{Ledger, LedgerError, Recorded};
use crate::limit::{Amount, Kind, KindName, LeaseId, LimitKey, ReleaseId};
use crate::protocol::{
    Actual, CommandError, Complete, CompleteOutcome, ObjectReservation, Requirement, Reserve, ReserveOutcome,
};
use crate::registry::{CaughtUp, Entry};
use crate::time::unix_ms;

/// How often an operation is tried while other replicas replace the schedule.
const SCHEDULE_ATTEMPTS_MAX: usize = 64;

/// Why an object gives no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// No limit has the key.
    #[error("there is no limit {0}")]
    UnknownKey(LimitKey),
    /// The template for the key has reached `max_instances`.
    #[error("limit {0} cannot be made: its template has reached max_instances")]
    TooManyInstances(LimitKey),
    /// The limit is not a bucket.
    #[error("limit {key} is of kind {}; objects are of kind token_bucket", .kind.as_str())]
    NotABucket {
        /// The limit.
        key: LimitKey,
        /// The limit's kind.
        kind: KindName,
    },
    /// The lease id was granted for something else.
    #[error("lease {0} was granted for something else")]
    LeaseConflict(LeaseId),
    /// The lease was completed or cancelled, or has expired.
    #[error("lease {0} is settled")]
    LeaseSettled(LeaseId),
    /// There is no answer; the outcome is unknown.
    #[error(transparent)]
    Limiter(#[from] LimiterError),
}

impl From<LedgerError> for ObjectError {
    fn from(error: LedgerError) -> Self {
        Self::Limiter(error.into())
    }
}

impl From<CommandError> for ObjectError {
    fn from(error: CommandError) -> Self {
        // A command of one key and no job is always valid.
        LedgerError::Unexpected(error.to_string()).into()
    }
}

/// The bucket of a key as an object.
pub struct Object<'a, L> {
    limiter: &'a Limiter<L>,
    key: &'a LimitKey,
}

impl<L: Ledger> Limiter<L> {
    /// The bucket of a key as an object.
    pub fn object<'a>(&'a self, key: &'a LimitKey) -> Object<'a, L> {
        Object { limiter: self, key }
    }
}

impl<L: Ledger> Object<'_, L> {
    /// Takes tokens that are available now, all or none.
    pub async fn try_reserve(&self, tokens: Amount, lease: LeaseId) -> Result<bool, ObjectError> {
        let command = self.command(tokens, lease)?;
        let resolved = self.limiter.resolve_definitions(&command).await?;
        Ok(self.take(&command, self.resolved_bucket(&resolved)?).await?.ok)
    }

    /// Cancels a reservation, unless its date to act has passed. True if it is cancelled, now or earlier. Tokens that
    /// later reservations ahead borrowed stay taken.
    pub async fn cancel(&self, lease: LeaseId) -> Result<bool, ObjectError> {
        let entry = self.existing_bucket().await?;
        let transfers = self.transfers(lease).await?;
        let Some(found) = Lease::from_transfers(lease, &transfers) else { return Ok(false) };
        if found.legs.iter().any(|leg| leg.account != entry.limit.account) {
            return Ok(false);
        }
        // A reservation that borrowed nothing could act at once.
        let Some(ahead) = reservation_ahead(found.reserved_at_unix_ms(), &transfers) else {
            return Ok(false);
        };
        if borrow::is_cancelled(&found, &transfers) {
            return Ok(true);
        }
        if ahead.acts_at_unix_ms <= unix_ms(self.limiter.ledger.now_ns()) {
            return Ok(false);
        }
        let nothing = Actual { key: self.key.clone(), amount: 0 };
        let command = Complete::new(lease, String::new(), vec![nothing])?;
        match self.limiter.complete(&command).await? {
            CompleteOutcome::Settled { .. } => Ok(true),
            // Another cancel or a complete was first.
            CompleteOutcome::NothingToDo => Ok(borrow::is_cancelled(&found, &self.transfers(lease).await?)),
            CompleteOutcome::NotInLease { .. } => Ok(false),
        }
    }

    /// Adds tokens, at most up to the capacity, once per `release`; returns the tokens available then.
    pub async fn release(&self, tokens: Amount, release: ReleaseId) -> Result<u64, ObjectError> {
        let trace = self.limiter.ids.release(self.key, release);
        for _ in 0..SCHEDULE_ATTEMPTS_MAX {
            let entry = self.refilled_bucket().await?.0;
            let refill = RefillByHand::Tokens(tokens.get());
            if self.limiter.registry.refiller().refill_by_hand(&entry, trace, refill).await? {
                return self.available_permits().await;
            }
            self.limiter.registry.refresh().await.map_err(LimiterError::from)?;
            self.limiter.registry.forget_instance(&entry);
        }
        Err(self.changes_too_fast())
    }

    fn command(&self, tokens: Amount, lease: LeaseId) -> Result<Reserve, CommandError> {
        let requirement = Requirement { key: self.key.clone(), amount: tokens };
        Reserve::new(lease, String::new(), vec![requirement])
    }

    /// Takes tokens that are available now, all or none.
    async fn take(&self, command: &Reserve, entry: &Entry) -> Result<ObjectReservation, ObjectError> {
        match self.limiter.reserve(command).await? {
            ReserveOutcome::Granted { reserved_at_unix_ms, .. } => {
                self.record_date_to_act(reserved_at_unix_ms);
                Ok(acts_at_once(command, entry, reserved_at_unix_ms))
            }
            ReserveOutcome::NoRoom { .. }
            | ReserveOutcome::Decreasing { .. }
            | ReserveOutcome::ExceedsCapacity { .. } => Ok(self.denied(entry)),
            ReserveOutcome::UnknownKey { key } => Err(ObjectError::UnknownKey(key)),
            ReserveOutcome::TooManyInstances { key } => Err(ObjectError::TooManyInstances(key)),
            ReserveOutcome::LeaseConflict => Err(ObjectError::LeaseConflict(command.lease)),
            ReserveOutcome::LeaseSettled | ReserveOutcome::LeaseExpired => {
                self.read_reservation(command, entry).await
            }
        }
    }

    fn denied(&self, entry: &Entry) -> ObjectReservation {
        ObjectReservation {
            ok: false,
            tokens: 0,
            creation_date: unix_ms(self.limiter.ledger.now_ns()),
            date_to_act: 0,
            limit: borrow::per_second(&entry.limit),
            wait_ms: 0,
        }
    }

    fn record_date_to_act(&self, at_ms: u64) {
        let entry = self.limiter.registry.snapshot().get(self.key);
        if let Some(clock) = entry.as_deref().and_then(Entry::clock) {
            clock.record_date_to_act(at_ms);
        }
    }

    /// The bucket among resolved limits.
    fn resolved_bucket<'r>(&self, resolved: &'r Resolved<'_>) -> Result<&'r Arc<Entry>, ObjectError> {
        if resolved.has_too_many_instances(self.key) {
            return Err(ObjectError::TooManyInstances(self.key.clone()));
        }
        bucket(self.key, resolved.entry(self.key))
    }

    /// The bucket, if it exists; a template makes none here.
    async fn existing_bucket(&self) -> Result<Arc<Entry>, ObjectError> {
        let registry = &self.limiter.registry;
        let mut entry = registry.snapshot().get(self.key);
        if let Some(entry) = &entry {
            registry.snapshot().note_use(entry);
        }
        let template_changes = registry.snapshot().template_changes();
        if !entry.as_ref().is_some_and(|entry| entry.is_usable(template_changes)) {
            registry.refresh().await.map_err(LimiterError::from)?;
            entry = registry.find(self.key).await.map_err(LimiterError::from)?;
        }
        bucket(self.key, entry.as_ref()).map(Arc::clone)
    }

    /// The bucket after every due refill, and the time of that in the ledger's nanoseconds.
    async fn refilled_bucket(&self) -> Result<(Arc<Entry>, u64), ObjectError> {
        let registry = &self.limiter.registry;
        for _ in 0..SCHEDULE_ATTEMPTS_MAX {
            let (entry, now_ns) = (self.existing_bucket().await?, self.limiter.ledger.now_ns());
            match registry.refiller().catch_up(&[&entry], now_ns).await? {
                CaughtUp::At { at_ns } => return Ok((entry, at_ns)),
                CaughtUp::ScheduleReplaced => {
                    registry.refresh().await.map_err(LimiterError::from)?;
                    registry.forget_instance(&entry);
                }
            }
        }
        Err(self.changes_too_fast())
    }

    fn changes_too_fast(&self) -> ObjectError {
        LedgerError::Unexpected(format!("the schedule of bucket {} is replaced too often", self.key)).into()
    }

    async fn transfers(&self, lease: LeaseId) -> Result<Vec<Recorded>, ObjectError> {
        Ok(self.limiter.ledger.lease_transfers(self.limiter.ids.lease_query(lease)).await?)
    }
}

/// The entry, if it is a bucket and not deleted.
fn bucket<'e>(key: &LimitKey, entry: Option<&'e Arc<Entry>>) -> Result<&'e Arc<Entry>, ObjectError> {
    let entry = entry.filter(|entry| takes_reservations(&entry.limit));
    let entry = entry.ok_or_else(|| ObjectError::UnknownKey(key.clone()))?;
    match entry.limit.state.definition.kind {
        Kind::TokenBucket(_) => Ok(entry),
        kind @ (Kind::Rolling(_)
        | Kind::Concurrency(_)
        | Kind::FixedWindow(_)
        | Kind::SlidingWindow(_)
        | Kind::Calendar(_)) => Err(ObjectError::NotABucket { key: key.clone(), kind: kind.name() }),
    }
}

fn acts_at_once(command: &Reserve, entry: &Entry, at_ms: u64) -> ObjectReservation {
    ObjectReservation {
        ok: true,
        tokens: command.requirements().iter().map(|requirement| requirement.amount.get()).sum(),
        creation_date: at_ms,
        date_to_act: at_ms,
        limit: borrow::per_second(&entry.limit),
        wait_ms: 0,
    }
}
