//! Buckets as objects, one for each key, as those know them who come from limiters of that form. They are limits like any
//! other: what is taken here is settled, refilled, changed and shown as everything is.

use std::sync::Arc;

use super::{
    CompleteOutcome, Limiter, LimiterError, ObjectError, ObjectReservation, ObjectState, ReserveOutcome,
};
use crate::clock::unix_ms;
use crate::comeback::BroughtUp;
use crate::decide::command::{Actual, CommandError, Complete, Requirement, Reserve};
use crate::decide::ids::ATTEMPTS_MAX;
use crate::decide::lease::{Lease, Standing};
use crate::decide::object::{self, Verdict};
use crate::decide::reserve::takes_reservations;
use crate::ledger::{Ledger, LedgerError, Recorded};
use crate::limit::{Amount, Kind, LeaseId, LimitKey};
use crate::registry::{Entry, KnownClock};

/// How often a release is tried while other replicas replace the schedule.
const TRIES_MAX: usize = 64;

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
    /// Takes tokens that are there, or none.
    pub async fn try_reserve(&self, tokens: Amount, lease: LeaseId) -> Result<bool, ObjectError> {
        let command = self.command(tokens, lease)?;
        let planned = self.limiter.put_in_force(self.limiter.planned(&command)).await?;
        if !planned.too_many.is_empty() {
            return Err(ObjectError::TooManyInstances(self.key.clone()));
        }
        let entry = bucket(self.key, planned.entry(self.key))?;
        Ok(self.take(&command, entry).await?.ok)
    }

    /// Takes tokens that are there or will be, and tells when.
    pub async fn reserve(&self, tokens: Amount, lease: LeaseId) -> Result<ObjectReservation, ObjectError> {
        let limiter = self.limiter;
        let command = self.command(tokens, lease)?;
        let mut planned = limiter.planned_ready(&command).await?;
        if planned.entry(self.key).is_some_and(|entry| tokens > entry.limit.state.definition.capacity) {
            // It may hold more by now.
            limiter.refresh().await?;
            planned = limiter.planned_ready(&command).await?;
        }
        for attempt in 0..ATTEMPTS_MAX {
            if !planned.too_many.is_empty() {
                return Err(ObjectError::TooManyInstances(self.key.clone()));
            }
            let entry = bucket(self.key, planned.entry(self.key))?;
            let owed = self.owed(entry).await?;
            let chain = object::borrow(limiter.ids, &command, &entry.limit, planned.now_ns, owed, attempt);
            // Nobody knows when there is more of what is refilled by hand.
            let Some(chain) = chain else { return self.take(&command, entry).await };
            let outcome = limiter.ledger.submit_one(chain).await?;
            match object::interpret(&command, outcome)? {
                Verdict::Granted | Verdict::Recall => return self.recall(&command, entry).await,
                Verdict::Denied => return Ok(self.denied(entry)),
                Verdict::Replaced => {
                    limiter.refresh().await?;
                    planned = limiter.planned_ready(&command).await?;
                }
            }
        }
        Err(LedgerError::Unexpected(format!("limit {} is being changed all the time", self.key)).into())
    }

    /// Gives back what a reservation took, unless it may act already. True if it is given back, also if it was before.
    pub async fn cancel(&self, lease: LeaseId) -> Result<bool, ObjectError> {
        let entry = self.bucket().await?;
        let transfers = self.transfers(lease).await?;
        let Some(found) = Lease::from_transfers(lease, &transfers) else { return Ok(false) };
        if found.legs.iter().any(|leg| leg.account != entry.limit.account) {
            return Ok(false);
        }
        // What took only what was there could be acted on at once.
        let Some(promise) = object::promise(found.reserved_at_unix_ms(), &transfers) else {
            return Ok(false);
        };
        if object::is_given_back(&found, &transfers) {
            return Ok(true);
        }
        if promise.acts_unix_ms <= unix_ms(self.limiter.ledger.now_ns()) {
            return Ok(false);
        }
        let nothing = Actual { key: self.key.clone(), amount: 0 };
        let command = Complete::new(lease, String::new(), vec![nothing])?;
        match self.limiter.complete(&command).await? {
            CompleteOutcome::Settled { .. } => Ok(true),
            // Somebody was quicker: with the same, or with a complete.
            CompleteOutcome::NothingToDo => Ok(object::is_given_back(&found, &self.transfers(lease).await?)),
            CompleteOutcome::NotInLease { .. } => Ok(false),
        }
    }

    /// Puts tokens back, never more than the bucket holds, once for each `release`; answers how many can be taken then.
    pub async fn release(&self, tokens: Amount, release: LeaseId) -> Result<u64, ObjectError> {
        let trace = self.limiter.ids.put_back(self.key, release);
        for _ in 0..TRIES_MAX {
            let entry = self.up_to_date().await?.0;
            if self.limiter.comeback.put_back(&entry, trace, tokens.get()).await? {
                self.limiter.local_denials.freed(entry.limit.account, tokens.into());
                return self.available_permits().await;
            }
            self.limiter.refresh().await?;
        }
        Err(LedgerError::Unexpected(format!("limit {} is being changed all the time", self.key)).into())
    }

    /// How many tokens can be taken at once.
    pub async fn available_permits(&self) -> Result<u64, ObjectError> {
        Ok(self.state().await?.tokens.max(0).unsigned_abs())
    }

    /// How it stands.
    pub async fn state(&self) -> Result<ObjectState, ObjectError> {
        let (entry, now_ns) = self.up_to_date().await?;
        let limit = &entry.limit;
        let borrowed = limit.schedule.as_ref().and_then(|schedule| schedule.borrowed());
        let ids = std::iter::once(limit.account).chain(borrowed).collect();
        let accounts = self.limiter.ledger.accounts(ids).await?;
        let standing = match accounts.as_slice() {
            [Some(available), Some(borrowed)] => object::standing(limit, now_ns, available, borrowed),
            _ => None,
        };
        let missing = || LedgerError::Unexpected(format!("bucket {} has no accounts", self.key));
        let standing = standing.ok_or_else(missing)?;
        Ok(ObjectState {
            limit: standing.per_second,
            burst: standing.burst,
            tokens: standing.tokens,
            last: standing.last_unix_ms,
            last_event: standing
                .repaid_unix_ms
                .unwrap_or_default()
                .max(entry.clock().map_or(0, KnownClock::last_event_ms)),
        })
    }

    fn command(&self, tokens: Amount, lease: LeaseId) -> Result<Reserve, CommandError> {
        let requirement = Requirement { key: self.key.clone(), amount: tokens };
        Reserve::new(lease, String::new(), vec![requirement])
    }

    /// Takes what is there, all of it or nothing.
    async fn take(&self, command: &Reserve, entry: &Entry) -> Result<ObjectReservation, ObjectError> {
        match self.limiter.reserve(command).await? {
            ReserveOutcome::Granted { reserved_at_unix_ms } => {
                self.happened(reserved_at_unix_ms);
                Ok(acts_at_once(command, entry, reserved_at_unix_ms))
            }
            ReserveOutcome::NoRoom { .. }
            | ReserveOutcome::Decreasing { .. }
            | ReserveOutcome::ExceedsCapacity { .. } => Ok(self.denied(entry)),
            ReserveOutcome::UnknownKey { key } => Err(ObjectError::UnknownKey(key)),
            ReserveOutcome::TooManyInstances { key } => Err(ObjectError::TooManyInstances(key)),
            ReserveOutcome::LeaseConflict => Err(ObjectError::LeaseConflict(command.lease)),
            ReserveOutcome::LeaseSettled => self.recall(command, entry).await,
        }
    }

    /// The lease was granted, now or before: its transfers tell what it was promised.
    async fn recall(&self, command: &Reserve, entry: &Entry) -> Result<ObjectReservation, ObjectError> {
        let transfers = self.transfers(command.lease).await?;
        let conflict = || ObjectError::LeaseConflict(command.lease);
        let lease = Lease::from_transfers(command.lease, &transfers).ok_or_else(conflict)?;
        let (ids, now_ns) = (self.limiter.ids, self.limiter.ledger.now_ns());
        match lease.standing(ids, command, &[Some(&entry.limit)], now_ns) {
            Standing::Settled if lease.settled => Err(ObjectError::LeaseSettled(command.lease)),
            // A fast bucket is full again in no time: what it promised is told all the same.
            Standing::Granted { .. } | Standing::Settled => {
                let created_unix_ms = lease.reserved_at_unix_ms();
                let reservation = object::promise(created_unix_ms, &transfers).map_or_else(
                    || acts_at_once(command, entry, created_unix_ms),
                    |promise| ObjectReservation {
                        ok: true,
                        tokens: promise.tokens,
                        creation_date: promise.created_unix_ms,
                        date_to_act: promise.acts_unix_ms,
                        limit: promise.per_second,
                    },
                );
                self.happened(reservation.date_to_act);
                Ok(reservation)
            }
            Standing::Conflict => Err(conflict()),
        }
    }

    fn denied(&self, entry: &Entry) -> ObjectReservation {
        ObjectReservation {
            ok: false,
            tokens: 0,
            creation_date: unix_ms(self.limiter.ledger.now_ns()),
            date_to_act: 0,
            limit: object::per_second(&entry.limit),
        }
    }

    fn happened(&self, at_ms: u64) {
        let entry = self.limiter.registry().get(self.key);
        if let Some(clock) = entry.as_deref().and_then(Entry::clock) {
            clock.happened(at_ms);
        }
    }

    /// The bucket as it is known here, or else as the ledger knows it.
    async fn bucket(&self) -> Result<Arc<Entry>, ObjectError> {
        let registry = self.limiter.registry();
        let mut entry = registry.get(self.key);
        let changed = registry.templates_changed();
        if !entry.as_ref().is_some_and(|entry| entry.is_in_force(changed)) {
            self.limiter.refresh().await?;
            let found = self.limiter.instances.find(self.key).await;
            entry = found.map_err(|error| LimiterError::Instance(Arc::new(error)))?;
        }
        bucket(self.key, entry.as_ref()).map(Arc::clone)
    }

    /// The bucket with everything in it that was due at a moment.
    async fn up_to_date(&self) -> Result<(Arc<Entry>, u64), ObjectError> {
        for _ in 0..TRIES_MAX {
            let (entry, now_ns) = (self.bucket().await?, self.limiter.ledger.now_ns());
            match self.limiter.comeback.bring_up(&entry, now_ns).await? {
                BroughtUp::Before => return Ok((entry, now_ns)),
                BroughtUp::Now { at_ns } => {
                    self.limiter.local_denials.forget(entry.limit.account);
                    return Ok((entry, at_ns));
                }
                BroughtUp::Replaced => {
                    self.limiter.refresh().await?;
                    if entry.limit.state.origin.is_some() {
                        self.limiter.registry().forget(&entry);
                    }
                }
            }
        }
        let what = format!("object {} is changing too fast to be brought up to its time", self.key);
        Err(LedgerError::Unexpected(what).into())
    }

    /// What is owed of the future.
    async fn owed(&self, entry: &Entry) -> Result<u128, ObjectError> {
        let borrowed = entry.limit.schedule.as_ref().and_then(|schedule| schedule.borrowed());
        let accounts = self.limiter.ledger.accounts(borrowed.into_iter().collect()).await?;
        Ok(accounts.into_iter().flatten().map(|account| account.owed()).sum())
    }

    async fn transfers(&self, lease: LeaseId) -> Result<Vec<Recorded>, ObjectError> {
        let family = self.limiter.ids.of_lease(lease).family();
        Ok(self.limiter.ledger.lease_transfers(lease, family).await?)
    }
}

/// An entry, if it is a bucket that is there.
fn bucket<'e>(key: &LimitKey, entry: Option<&'e Arc<Entry>>) -> Result<&'e Arc<Entry>, ObjectError> {
    let entry = entry.filter(|entry| takes_reservations(&entry.limit));
    let entry = entry.ok_or_else(|| ObjectError::UnknownKey(key.clone()))?;
    match entry.limit.state.definition.kind {
        Kind::TokenBucket(_) => Ok(entry),
        kind @ (Kind::Rolling(_) | Kind::Concurrency(_) | Kind::FixedWindow(_) | Kind::SlidingWindow(_)) => {
            Err(ObjectError::NotABucket { key: key.clone(), kind: kind.name() })
        }
    }
}

fn acts_at_once(command: &Reserve, entry: &Entry, at_ms: u64) -> ObjectReservation {
    ObjectReservation {
        ok: true,
        tokens: command.requirements().iter().map(|requirement| requirement.amount.get()).sum(),
        creation_date: at_ms,
        date_to_act: at_ms,
        limit: object::per_second(&entry.limit),
    }
}
