//! Where the permits of one limit come from: the ledger, and what this limiter knows of its own grants.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::DeniedAttempt;
use super::count::PermitCount;
use super::error::PermitError;
use super::forecast::Forecast;
use super::home::PermitHome;
use super::kind::{BucketDeficit, FreedBy, KnownLimit, freed_in, refilled_in};
use super::lease::{HeldPermits, PermitUse};
use crate::client::shared::Releases;
use crate::client::{
    Acquired, Amount, AmountError, CallError, Denial, ExtendError, Lease, LeaseId, LimitKey, Limiter,
    Requirements,
};
use crate::limit::Kind;

/// The pause between two attempts of a waiter for 0 permits.
const ZERO_PERMITS_PAUSE: Duration = Duration::from_millis(100);

/// The permits of one limit. A limiter, its clones and its leases share it.
pub(super) struct PermitSource<T: PermitHome> {
    home: Arc<T>,
    limiter: Limiter<Arc<T>>,
    key: LimitKey,
    grants: Mutex<Grants>,
}

/// The permits of one lease.
struct Held<T: PermitHome> {
    source: Arc<PermitSource<T>>,
    /// `None` once it is released.
    lease: Option<Lease<Arc<T>>>,
    permit_use: PermitUse,
    timeout: SlotTimeout,
    timed_out_at: Option<Instant>,
}

/// When the permits of a lease are free again although it is held.
#[derive(Debug, Clone, Copy)]
enum SlotTimeout {
    /// They are no slots.
    Never,
    /// This long after the grant, or the last renewal.
    After(Duration),
    /// A service did not tell what the limit is.
    Unknown,
}

impl SlotTimeout {
    fn of(limit: Option<KnownLimit>) -> Self {
        match limit.map(|limit| limit.kind) {
            Some(Kind::Concurrency(slots)) => {
                Self::After(Duration::from_secs(slots.timeout_seconds().into()))
            }
            Some(
                Kind::Rolling(_)
                | Kind::TokenBucket(_)
                | Kind::FixedWindow(_)
                | Kind::SlidingWindow(_)
                | Kind::Calendar(_),
            ) => Self::Never,
            None => Self::Unknown,
        }
    }

    /// The moment, if the time-out begins at `from`.
    fn ends_at(self, from: Instant) -> Option<Instant> {
        match self {
            Self::After(timeout) => Some(from + timeout),
            Self::Never | Self::Unknown => None,
        }
    }
}

/// What is known of the permits that this limiter granted.
struct Grants {
    forecast: Forecast,
    deficit: BucketDeficit,
    last_read: Option<KnownLimit>,
    /// Whether the service was asked what the limit is.
    is_asked: bool,
}

/// The ledger's answer to one attempt.
pub(super) enum LedgerAnswer {
    /// The permits; `None` for 0 permits.
    Granted(Option<Box<dyn HeldPermits>>),
    Denied(DeniedAttempt),
}

impl<T: PermitHome> PermitSource<T> {
    pub(super) fn new(home: Arc<T>, key: LimitKey) -> Self {
        let forecast = Forecast::new(Instant::now());
        let grants = Grants { forecast, deficit: BucketDeficit::default(), last_read: None, is_asked: false };
        Self { limiter: Limiter::new(Arc::clone(&home)), home, key, grants: Mutex::new(grants) }
    }

    /// Checks the number of permits against the capacity of the limit.
    pub(super) async fn permit_count(&self, permits: u64) -> Result<PermitCount, PermitError> {
        // Another replica may have defined the limit, or raised its capacity, a moment ago.
        if self.capacity().is_none_or(|capacity| capacity < permits) {
            self.home.refresh().await?;
            self.read_again().await;
        }
        let capacity = match self.capacity() {
            Some(capacity) => capacity,
            None if T::KNOWS_ALL => return Err(self.unknown_limit()),
            // The answer to the attempt tells.
            None => u64::MAX,
        };
        match Amount::new(permits) {
            Err(AmountError::Zero) => Ok(PermitCount::Zero),
            Ok(amount) if permits <= capacity => Ok(PermitCount::Some(amount)),
            Ok(_) | Err(AmountError::TooLarge) => Err(self.exceeds_capacity(permits, capacity)),
        }
    }

    /// Asks the ledger once, under a fresh lease id.
    pub(super) async fn attempt(self: &Arc<Self>, count: PermitCount) -> Result<LedgerAnswer, PermitError> {
        let (releases_before, started) = (self.releases(), Instant::now());
        let hint = match count {
            PermitCount::Zero if self.is_any_free().await? => return Ok(LedgerAnswer::Granted(None)),
            PermitCount::Zero => ZERO_PERMITS_PAUSE,
            PermitCount::Some(amount) => {
                match self.limiter.try_acquire(&Requirements::of_one(&self.key, amount)).await? {
                    Acquired::Granted(lease) => {
                        // Cancelled while it asks, the call has used nothing.
                        let lease = lease.kept_unused();
                        self.ask_once().await;
                        self.note_grant(amount, &lease);
                        return Ok(LedgerAnswer::Granted(Some(Box::new(self.hold(lease, started)))));
                    }
                    Acquired::Denied(denial) => {
                        self.ask_once().await;
                        self.hint(&denial, amount)?
                    }
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
        // While the kind is not known, any complete may have freed permits.
        self.freed_by().map_or(releases.completes, |freed_by| freed_by.count_releases(releases))
    }

    /// Changes with every release through this limiter.
    pub(super) fn watch_releases(&self) -> watch::Receiver<Releases> {
        self.limiter.releases()
    }

    /// Notes that a lease is released now.
    fn note_release(&self, lease: LeaseId, permit_use: PermitUse) {
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

    /// Refills a limit that is refilled manually. Returns false if it is not.
    pub(super) async fn replenish(&self) -> Result<bool, PermitError> {
        let is_replenished = self.home.refill(&self.key).await?;
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
        let (limit, available) = self.read().await.ok().filter(|(limit, _)| limit.is_active)?;
        let (missing, now) = (permits.saturating_sub(available), Instant::now());
        if missing == 0 {
            return Some(now);
        }
        let refilled_in = refilled_in(limit, missing, self.home.now_ns());
        refilled_in.map(|span| now + span).or_else(|| self.grants().forecast.free_at(missing, now))
    }

    /// The permits that are free now, for any caller.
    pub(super) async fn available(&self) -> Result<u128, PermitError> {
        Ok(self.read().await?.1)
    }

    /// Since when all permits are free, as far as this limiter knows; `None` if some are taken now.
    pub(super) async fn full_since(&self) -> Result<Option<Instant>, PermitError> {
        let (limit, available) = self.read().await?;
        let is_full = available >= limit.capacity.into();
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

    /// The limit, and its free permits in the ledger.
    pub(super) async fn read(&self) -> Result<(KnownLimit, u128), PermitError> {
        let read = self.home.read(&self.key).await?;
        let (limit, available) = read.ok_or_else(|| self.unknown_limit())?;
        let mut grants = self.grants();
        grants.last_read = Some(limit);
        if available < limit.capacity.into() {
            grants.forecast.note_taken(Instant::now());
        }
        Ok((limit, available))
    }

    async fn is_any_free(&self) -> Result<bool, PermitError> {
        let (limit, available) = self.read().await?;
        Ok(available > 0 && limit.is_active)
    }

    /// Asks a service what the limit is, unless it was asked before. A token may not be allowed to know.
    async fn ask_once(&self) {
        let is_asked = T::KNOWS_ALL || std::mem::replace(&mut self.grants().is_asked, true);
        if !is_asked {
            self.read().await.ok();
        }
    }

    /// Asks a service again what the limit is, if it told so before.
    async fn read_again(&self) {
        if !T::KNOWS_ALL && self.grants().last_read.is_some() {
            self.read().await.ok();
        }
    }

    fn hold(self: &Arc<Self>, lease: Lease<Arc<T>>, attempted_at: Instant) -> Held<T> {
        let timeout = SlotTimeout::of(self.known());
        // The ledger counts the time-out from the grant, which is after the attempt began.
        let timed_out_at = timeout.ends_at(attempted_at);
        let (source, permit_use) = (Arc::clone(self), PermitUse::Unused);
        Held { source, lease: Some(lease), permit_use, timeout, timed_out_at }
    }

    fn note_grant(&self, amount: Amount, lease: &Lease<Arc<T>>) {
        let (now, permits, now_ns) = (Instant::now(), amount.get(), self.home.now_ns());
        if let Some(limit) = self.known() {
            let (mut grants, granted_unix_ms) = (self.grants(), lease.reserved_at_unix_ms());
            let deficit = &mut grants.deficit;
            let freed_in = freed_in(limit, permits, granted_unix_ms, deficit, now_ns);
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

    fn known(&self) -> Option<KnownLimit> {
        let last_read = self.grants().last_read;
        self.home.known(&self.key, last_read)
    }

    fn freed_by(&self) -> Option<FreedBy> {
        Some(FreedBy::of(self.known()?.kind))
    }

    fn capacity(&self) -> Option<u64> {
        Some(self.known()?.capacity)
    }

    fn unknown_limit(&self) -> PermitError {
        PermitError::UnknownLimit { key: self.key.clone() }
    }

    fn exceeds_capacity(&self, permits: u64, capacity: u64) -> PermitError {
        PermitError::ExceedsCapacity { key: self.key.clone(), permits, capacity }
    }
}

impl<T: PermitHome> HeldPermits for Held<T> {
    fn id(&self) -> Option<LeaseId> {
        self.lease.as_ref().map(Lease::id)
    }

    fn timed_out_at(&self) -> Option<Instant> {
        self.timed_out_at
    }

    fn renew(&mut self) -> BoxFuture<'_, Result<bool, CallError>> {
        Box::pin(async move {
            let Some(lease) = self.lease.as_ref().filter(|_| !matches!(self.timeout, SlotTimeout::Never))
            else {
                return Ok(true);
            };
            let asked_at = Instant::now();
            match lease.renew().await {
                Ok(()) => {
                    self.timed_out_at = self.timeout.ends_at(asked_at);
                    Ok(true)
                }
                Err(ExtendError::Call(error)) => Err(error),
                Err(ExtendError::LeaseOver | ExtendError::NotInLease { .. } | ExtendError::Amount(_)) => {
                    Ok(false)
                }
            }
        })
    }

    fn set_use(&mut self, permit_use: PermitUse) {
        self.permit_use = permit_use;
        self.lease = self.lease.take().map(|lease| match permit_use {
            PermitUse::Unused => lease.kept_unused(),
            PermitUse::HandedOut => lease.handed_out(),
        });
    }

    fn release(mut self: Box<Self>) -> BoxFuture<'static, Result<(), CallError>> {
        Box::pin(async move {
            let Some(lease) = self.lease.take() else { return Ok(()) };
            self.source.note_release(lease.id(), self.permit_use);
            match self.permit_use {
                PermitUse::Unused => lease.cancel().await,
                PermitUse::HandedOut => lease.release().await,
            }
        })
    }
}

impl<T: PermitHome> Drop for Held<T> {
    fn drop(&mut self) {
        if let Some(lease) = &self.lease {
            self.source.note_release(lease.id(), self.permit_use);
        }
    }
}
