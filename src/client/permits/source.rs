//! Where the permits of one limit come from: the ledger, and what this limiter knows of its own grants.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::DeniedAttempt;
use super::count::PermitCount;
use super::error::PermitError;
use super::forecast::Forecast;
use super::kind::{BucketDeficit, FreedBy, freed_in, refilled_in};
use crate::client::shared::Releases;
use crate::client::{Acquired, Amount, Denial, InProcess, Lease, LeaseId, LimitKey, Limiter, Requirements};
use crate::ledger::Ledger;
use crate::limit::ReplenishId;
use crate::limit::{AmountError, Status};
use crate::registry::Entry;
use crate::registry::{AdminError, LimitUsage};

/// The pause between two attempts of a waiter for 0 permits.
const ZERO_PERMITS_PAUSE: Duration = Duration::from_millis(100);

/// The permits of one limit. A limiter, its clones and its leases share it.
pub(super) struct PermitSource<L: Ledger> {
    home: Arc<InProcess<L>>,
    limiter: Limiter<Arc<InProcess<L>>>,
    key: LimitKey,
    grants: Mutex<Grants>,
}

/// What is known of the permits that this limiter granted.
struct Grants {
    forecast: Forecast,
    deficit: BucketDeficit,
}

/// The ledger's answer to one attempt.
pub(super) enum LedgerAnswer<L: Ledger> {
    /// The lease that holds the permits; `None` for 0 permits.
    Granted(Option<Lease<Arc<InProcess<L>>>>),
    Denied(DeniedAttempt),
}

/// Whether a caller may have used the permits of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PermitUse {
    /// No caller has them yet, or the caller says that it used none. A release frees all of them.
    Unused,
    /// A caller has them. A release frees only those of concurrency limits.
    HandedOut,
}

impl<L: Ledger> PermitSource<L> {
    pub(super) fn new(home: Arc<InProcess<L>>, key: LimitKey) -> Self {
        let grants = Grants { forecast: Forecast::new(Instant::now()), deficit: BucketDeficit::default() };
        Self { limiter: Limiter::new(Arc::clone(&home)), home, key, grants: Mutex::new(grants) }
    }

    /// Checks the number of permits against the capacity of the limit.
    pub(super) async fn permit_count(&self, permits: u64) -> Result<PermitCount, PermitError> {
        if self.capacity().is_none_or(|capacity| capacity < permits) {
            // Another replica may have defined the limit, or raised its capacity, a moment ago.
            self.home.refresh().await?;
        }
        let capacity = self.capacity().ok_or_else(|| self.unknown_limit())?;
        match Amount::new(permits) {
            Err(AmountError::Zero) => Ok(PermitCount::Zero),
            Ok(amount) if permits <= capacity => Ok(PermitCount::Some(amount)),
            Ok(_) | Err(AmountError::TooLarge) => Err(self.exceeds_capacity(permits, capacity)),
        }
    }

    /// Asks the ledger once, under a fresh lease id.
    pub(super) async fn attempt(&self, count: PermitCount) -> Result<LedgerAnswer<L>, PermitError> {
        let releases_before = self.releases();
        let hint = match count {
            PermitCount::Zero if self.is_any_free().await? => return Ok(LedgerAnswer::Granted(None)),
            PermitCount::Zero => ZERO_PERMITS_PAUSE,
            PermitCount::Some(amount) => {
                match self.limiter.try_acquire(&Requirements::of_one(&self.key, amount)).await? {
                    Acquired::Granted(lease) => {
                        self.note_grant(amount, &lease);
                        return Ok(LedgerAnswer::Granted(Some(lease)));
                    }
                    Acquired::Denied(denial) => self.hint(&denial, amount)?,
                }
            }
        };
        let expected_at = self.free_at(count.free_min().into()).await;
        let at = Instant::now();
        Ok(LedgerAnswer::Denied(DeniedAttempt { at, releases_before, hint_at: at + hint, expected_at }))
    }

    /// The releases through this limiter that may have freed permits.
    pub(super) fn releases(&self) -> u64 {
        let releases = *self.limiter.releases().borrow();
        self.freed_by().map_or(0, |freed_by| freed_by.count_releases(releases))
    }

    /// Changes with every release through this limiter.
    pub(super) fn watch_releases(&self) -> watch::Receiver<Releases> {
        self.limiter.releases()
    }

    /// Notes that a lease is released now.
    pub(super) fn note_release(&self, lease: LeaseId, permit_use: PermitUse) {
        let freed_by = self.freed_by();
        if permit_use == PermitUse::Unused || freed_by == Some(FreedBy::Release) {
            let (mut grants, now) = (self.grants(), Instant::now());
            let permits = grants.forecast.release(lease, now);
            grants.deficit.release(permits);
            if freed_by == Some(FreedBy::ManualRefill) {
                grants.forecast.note_taken(now);
            }
        }
    }

    /// Refills a bucket that is refilled manually. Returns false if the limit is not such a bucket.
    pub(super) async fn replenish(&self) -> Result<bool, PermitError> {
        let is_replenished = self.home.admin().replenish(&self.key, ReplenishId::generate()).await?;
        if is_replenished {
            self.grants().forecast.note_taken(Instant::now());
            self.limiter.count_release();
        }
        Ok(is_replenished)
    }

    /// When this many permits are free, if no other caller takes any before; `None` if that is unknown.
    pub(super) async fn free_at(&self, permits: u128) -> Option<Instant> {
        match self.freed_by()? {
            // The timeout of a concurrency limit frees permits only if their caller has crashed. Do not count on that.
            FreedBy::Release | FreedBy::ManualRefill => return None,
            FreedBy::Expiry | FreedBy::Refill => {}
        }
        let usage = self.usage().await.ok().filter(is_active)?;
        let (missing, now) = (permits.saturating_sub(usage.available), Instant::now());
        if missing == 0 {
            return Some(now);
        }
        let refilled_in = refilled_in(&usage.entry.limit, missing, self.home.now_ns());
        refilled_in.map(|span| now + span).or_else(|| self.grants().forecast.free_at(missing, now))
    }

    /// The permits that are free now, for any caller.
    pub(super) async fn available(&self) -> Result<u128, PermitError> {
        Ok(self.usage().await?.available)
    }

    /// Since when all permits are free, as far as this limiter knows; `None` if some are taken now.
    pub(super) async fn full_since(&self) -> Result<Option<Instant>, PermitError> {
        let is_full = is_full(&self.usage().await?);
        Ok(is_full.then(|| self.grants().forecast.full_since(Instant::now())))
    }

    /// Takes no further attempts. Leases can still be released.
    pub(super) fn close(&self) {
        self.limiter.close();
    }

    /// Closes, and waits for the releases in the background.
    pub(super) async fn shutdown(&self) {
        self.limiter.shutdown().await;
    }

    fn grants(&self) -> MutexGuard<'_, Grants> {
        // No change panics halfway, so a poisoned lock guards a consistent state.
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The use of the limit in the ledger.
    async fn usage(&self) -> Result<LimitUsage, PermitError> {
        let usage = match self.home.admin().get(&self.key).await {
            Ok(usage) => usage,
            // Its template has not created it yet.
            Err(AdminError::UnknownKey(_) | AdminError::Deleted(_)) => {
                unused(self.known().ok_or_else(|| self.unknown_limit())?)
            }
            Err(error) => return Err(error.into()),
        };
        if !is_full(&usage) {
            self.grants().forecast.note_taken(Instant::now());
        }
        Ok(usage)
    }

    async fn is_any_free(&self) -> Result<bool, PermitError> {
        let usage = self.usage().await?;
        Ok(usage.available > 0 && is_active(&usage))
    }

    fn note_grant(&self, amount: Amount, lease: &Lease<Arc<InProcess<L>>>) {
        let (now, permits, now_ns) = (Instant::now(), amount.get(), self.home.now_ns());
        if let Some(entry) = self.known() {
            let (mut grants, granted_unix_ms) = (self.grants(), lease.reserved_at_unix_ms());
            let deficit = &mut grants.deficit;
            let freed_in = freed_in(&entry.limit, permits, granted_unix_ms, deficit, now_ns);
            grants.forecast.add(lease.id(), permits, freed_in.map(|span| now + span), now);
        }
    }

    /// How long to wait before the next attempt.
    ///
    /// # Errors
    ///
    /// If another attempt does not help.
    fn hint(&self, denial: &Denial, amount: Amount) -> Result<Duration, PermitError> {
        match denial {
            Denial::NoRoom { retry_after, .. } | Denial::Decreasing { retry_after, .. } => Ok(*retry_after),
            Denial::ExceedsCapacity { .. } => {
                Err(self.exceeds_capacity(amount.get(), self.capacity().unwrap_or_default()))
            }
            Denial::UnknownKey { .. } => Err(self.unknown_limit()),
            Denial::TooManyInstances { key } => Err(PermitError::TooManyInstances { key: key.clone() }),
        }
    }

    /// The limit as this process knows it, or else its template.
    fn known(&self) -> Option<Arc<Entry>> {
        self.home.known(&self.key)
    }

    fn freed_by(&self) -> Option<FreedBy> {
        Some(FreedBy::of(self.known()?.limit.state.definition.kind))
    }

    fn capacity(&self) -> Option<u64> {
        Some(self.known()?.limit.state.definition.capacity.get())
    }

    fn unknown_limit(&self) -> PermitError {
        PermitError::UnknownLimit { key: self.key.clone() }
    }

    fn exceeds_capacity(&self, permits: u64, capacity: u64) -> PermitError {
        PermitError::ExceedsCapacity { key: self.key.clone(), permits, capacity }
    }
}

fn is_full(usage: &LimitUsage) -> bool {
    usage.available >= usage.entry.limit.state.definition.capacity.into()
}

/// Whether the limit grants anything. It does not while its capacity is being lowered.
fn is_active(usage: &LimitUsage) -> bool {
    usage.entry.limit.state.status == Status::Active
}

/// The use of a limit that its template has not created yet.
fn unused(template: Arc<Entry>) -> LimitUsage {
    let available = template.limit.state.definition.capacity.into();
    LimitUsage { entry: template, available, reserved: 0, debt: 0 }
}
