use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::error::PermitError;
use super::kind::{Missing, Refill, comes_back_in, scheduled_in};
use super::lease::{FailureReason, Held, PermitLease, Use};
use super::options::PermitOptions;
use super::pause::Denied;
use super::queue::Queue;
use super::returns::Returns;
use super::wanted::Wanted;
use crate::client::{Acquired, Amount, Denial, InProcess, Lease, LeaseId, LimitKey, Limiter, Requirements};
use crate::ledger::Ledger;
use crate::limit::ReplenishId;
use crate::limit::{AmountError, Status};
use crate::registry::Entry;
use crate::registry::{AdminError, LimitUsage};

/// How soon who waits for nothing looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What the handles of a limiter, its leases and its attendant have in common.
pub(super) struct Meter<L: Ledger> {
    home: Arc<InProcess<L>>,
    pub(super) limiter: Limiter<Arc<InProcess<L>>>,
    key: LimitKey,
    state: Mutex<State<L>>,
    /// Rung when the queue has changed.
    pub(super) changed: Notify,
    pub(super) attendants: TaskTracker,
    /// Where attendants run: those who wait may be of a runtime that ends before others do.
    pub(super) runtime: Handle,
}

/// What is changed by one at a time, and is whole in between.
pub(super) struct State<L: Ledger> {
    pub(super) queue: Queue<oneshot::Sender<Told<L>>>,
    pub(super) returns: Returns,
    missing: Missing,
    pub(super) granted: u64,
    pub(super) failed: u64,
}

/// What becomes of one who waits.
pub(super) enum Told<L: Ledger> {
    /// Its permits, not handed out yet.
    Acquired(PermitLease<L>),
    Failed(FailureReason),
    Error(PermitError),
}

/// What the ledger says.
pub(super) enum Answer<L: Ledger> {
    /// These permits, not handed out yet.
    Acquired(PermitLease<L>),
    Denied(Denied),
}

impl<L: Ledger> Meter<L> {
    pub(super) fn new(home: Arc<InProcess<L>>, key: LimitKey, options: PermitOptions) -> Self {
        let state = State {
            queue: Queue::new(options),
            returns: Returns::new(Instant::now()),
            missing: Missing::default(),
            granted: 0,
            failed: 0,
        };
        Self {
            limiter: Limiter::new(Arc::clone(&home)),
            home,
            key,
            state: Mutex::new(state),
            changed: Notify::new(),
            attendants: TaskTracker::new(),
            runtime: Handle::current(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State<L>> {
        // It is whole between two calls.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(&self) -> Result<MutexGuard<'_, State<L>>, PermitError> {
        let state = self.state();
        if state.queue.is_shut_down() { Err(PermitError::ShutDown) } else { Ok(state) }
    }

    /// What is wanted, if the limit ever has so much.
    pub(super) async fn wanted(&self, permits: u64) -> Result<Wanted, PermitError> {
        drop(self.open()?);
        if self.capacity().is_none_or(|capacity| capacity < permits) {
            // It may have been defined, or raised, at another replica a moment ago.
            self.home.refresh().await?;
        }
        let capacity = self.capacity().ok_or_else(|| self.unknown())?;
        match Amount::new(permits) {
            Err(AmountError::Zero) => Ok(Wanted::Nothing),
            Ok(amount) if permits <= capacity => Ok(Wanted::Some(amount)),
            Ok(_) | Err(AmountError::TooLarge) => Err(self.exceeds(permits, capacity)),
        }
    }

    /// Asks the ledger once, under a lease id of its own.
    pub(super) async fn ask(self: &Arc<Self>, wanted: Wanted) -> Result<Answer<L>, PermitError> {
        let given_back_before = self.given_back();
        let hint = match wanted {
            Wanted::Nothing if self.is_any_free().await? => {
                return Ok(Answer::Acquired(PermitLease::unused(0, None)));
            }
            Wanted::Nothing => LOOK_AGAIN,
            Wanted::Some(amount) => {
                match self.limiter.try_acquire(&Requirements::of_one(&self.key, amount)).await? {
                    Acquired::Granted(lease) => return Ok(Answer::Acquired(self.granted(amount, lease))),
                    Acquired::Denied(denial) => self.hint(&denial, amount)?,
                }
            }
        };
        let expected_at = self.free_at(wanted.free_min().into()).await;
        let at = Instant::now();
        Ok(Answer::Denied(Denied { at, given_back_before, hint_at: at + hint, expected_at }))
    }

    /// How often something was given back here.
    pub(super) fn given_back(&self) -> u64 {
        let given_back = *self.limiter.given_back().borrow();
        self.comes_back().map_or(0, |comes_back| comes_back.times(given_back))
    }

    /// The permits of a lease are given back, as far as they are when it is over.
    pub(super) fn gives_back(&self, lease: LeaseId, state: Use) {
        let comes_back = self.comes_back();
        if state == Use::Unused || comes_back == Some(Refill::OnRelease) {
            let (mut state, now) = (self.state(), Instant::now());
            let permits = state.returns.given_back(lease, now);
            state.missing.give_back(permits);
            if comes_back == Some(Refill::ByHand) {
                state.returns.seen_taken(now);
            }
        }
    }

    /// Refills a bucket that is refilled by hand.
    pub(super) async fn replenish(&self) -> Result<bool, PermitError> {
        let is_replenished = self.home.admin().replenish(&self.key, ReplenishId::generate()).await?;
        if is_replenished {
            self.state().returns.seen_taken(Instant::now());
            self.limiter.gave_back();
        }
        Ok(is_replenished)
    }

    /// When so many permits are free if nobody takes any before, as far as is known here.
    pub(super) async fn free_at(&self, permits: u128) -> Option<Instant> {
        match self.comes_back()? {
            // A timeout is the last of all hopes: nobody is told to wait for it.
            Refill::OnRelease | Refill::ByHand => return None,
            Refill::ByLease | Refill::BySchedule => {}
        }
        let usage = self.usage().await.ok().filter(is_open)?;
        let (missing, now) = (permits.saturating_sub(usage.available), Instant::now());
        if missing == 0 {
            return Some(now);
        }
        let scheduled = scheduled_in(&usage.entry.limit, missing, self.home.now_ns());
        scheduled.map(|span| now + span).or_else(|| self.state().returns.back_at(missing, now))
    }

    /// How the limit stands in the ledger.
    pub(super) async fn usage(&self) -> Result<LimitUsage, PermitError> {
        let usage = match self.home.admin().get(&self.key).await {
            Ok(usage) => usage,
            // Its template has not made it yet.
            Err(AdminError::UnknownKey(_)) => untouched(self.known().ok_or_else(|| self.unknown())?),
            Err(error) => return Err(error.into()),
        };
        if !is_full(&usage) {
            self.state().returns.seen_taken(Instant::now());
        }
        Ok(usage)
    }

    fn unknown(&self) -> PermitError {
        PermitError::UnknownLimit { key: self.key.clone() }
    }

    fn known(&self) -> Option<Arc<Entry>> {
        self.home.known(&self.key)
    }

    fn comes_back(&self) -> Option<Refill> {
        Some(Refill::of(self.known()?.limit.state.definition.kind))
    }

    fn capacity(&self) -> Option<u64> {
        Some(self.known()?.limit.state.definition.capacity.get())
    }

    async fn is_any_free(&self) -> Result<bool, PermitError> {
        let usage = self.usage().await?;
        Ok(usage.available > 0 && is_open(&usage))
    }

    fn granted(self: &Arc<Self>, amount: Amount, lease: Lease<Arc<InProcess<L>>>) -> PermitLease<L> {
        let (now, permits, now_ns) = (Instant::now(), amount.get(), self.home.now_ns());
        if let Some(entry) = self.known() {
            let (mut state, granted_unix_ms) = (self.state(), lease.reserved_at_unix_ms());
            let missing = &mut state.missing;
            let back_in = comes_back_in(&entry.limit, permits, granted_unix_ms, missing, now_ns);
            state.returns.granted(lease.id(), permits, back_in.map(|back_in| now + back_in), now);
        }
        PermitLease::unused(amount.get(), Some(Held { meter: Arc::clone(self), lease }))
    }

    /// How long to keep from asking again, if asking again helps.
    fn hint(&self, denial: &Denial, amount: Amount) -> Result<Duration, PermitError> {
        match denial {
            Denial::NoRoom { retry_after, .. } | Denial::Decreasing { retry_after, .. } => Ok(*retry_after),
            Denial::ExceedsCapacity { .. } => {
                Err(self.exceeds(amount.get(), self.capacity().unwrap_or_default()))
            }
            Denial::UnknownKey { .. } => Err(self.unknown()),
            Denial::TooManyInstances { key } => Err(PermitError::TooManyInstances { key: key.clone() }),
        }
    }

    fn exceeds(&self, permits: u64, capacity: u64) -> PermitError {
        PermitError::ExceedsCapacity { key: self.key.clone(), permits, capacity }
    }
}

/// Whether nothing is taken.
pub(super) fn is_full(usage: &LimitUsage) -> bool {
    usage.available >= usage.entry.limit.state.definition.capacity.into()
}

/// Whether anything can be taken; not while the capacity is being lowered.
fn is_open(usage: &LimitUsage) -> bool {
    usage.entry.limit.state.status == Status::Active
}

/// Of a limit that its template has not made yet.
fn untouched(template: Arc<Entry>) -> LimitUsage {
    let available = template.limit.state.definition.capacity.into();
    LimitUsage { entry: template, available, reserved: 0, debt: 0 }
}
