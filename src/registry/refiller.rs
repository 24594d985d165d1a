//! Makes the refills that are due, before limits are reserved from or their usage is shown. [`crate::decide::refill`] decides
//! what to send; this file sends it, and retries when another replica was first. `refills_by_hand.rs` makes refills on request.
//!
//! Limits that one request names are caught up together: their refill clocks are read in one look-up, and their chains are sent
//! in one submission. So it takes as long for many limits as for one.
//!
//! A reserve also starts the interval of a bucket that is full ([`crate::decide::pacing`]). It looks at what is spent only if the
//! bucket may be full, as far as this process knows.

use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::try_join_all;
use smallvec::SmallVec;
use tokio::sync::MutexGuard;
use ulid::Ulid;

use super::ATTEMPTS_MAX;
use super::entry::Entry;
use super::refill_clock::RefillClock;
use crate::decide::Limit;
use crate::decide::clock_value::ClockValue;
use crate::decide::ids::Ids;
use crate::decide::pacing;
use crate::decide::refill::{self, CatchUp, RefillResult};
use crate::decide::schedule::Schedule;
use crate::ledger::{AccountId, Ledger, LedgerError, TransferId, find_closing};
use crate::limit::Status;

/// Makes refills.
pub(crate) struct Refiller<L> {
    pub(super) ledger: Arc<L>,
    pub(super) ids: Ids,
    observers: RwLock<Vec<Arc<dyn RefillObserver>>>,
}

/// Is told of every refill: whoever asked for it, whichever process made it, also if the caller gave up meanwhile.
pub(crate) trait RefillObserver: Send + Sync {
    /// A refill may have added to the limit with this account.
    fn refilled(&self, account: AccountId);
}

/// Whether every refill that was due has been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CaughtUp {
    /// Every refill due at this moment has been made, here or by another replica. The moment is not before the one asked for.
    At {
        /// The moment, in the ledger's nanoseconds.
        at_ns: u64,
    },
    /// A new version has replaced the schedule known here of at least one limit: read the definitions again.
    ScheduleReplaced,
}

/// The limits of one request. A usual request names up to four.
type PerLimit<T> = SmallVec<[T; 4]>;

/// What the caller does with the limits afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// It reads them.
    Read,
    /// It takes from them, which starts the interval of a full bucket.
    Take,
}

/// What this process knows of how full a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fill {
    /// It need not know.
    Unneeded,
    /// It has to read what is spent.
    ToBeRead,
    /// The refills that are due fill the bucket. So much is spent before them.
    Full { spent: u128 },
}

/// A limit with a refill that is due, or a bucket that may be full.
struct Due<'a> {
    limit: &'a Limit,
    schedule: &'a Schedule,
    clock: &'a RefillClock,
    is_clock_known: bool,
    fill: Fill,
    is_closed: bool,
    /// The transfer that holds the limit's account closed.
    closing: Option<TransferId>,
    is_schedule_replaced: bool,
}

impl<'a> Due<'a> {
    fn of(entry: &'a Entry) -> Option<Self> {
        let (limit, clock) = (&entry.limit, entry.clock()?);
        Some(Self {
            limit,
            schedule: limit.schedule.as_deref()?,
            clock,
            is_clock_known: false,
            fill: Fill::Unneeded,
            is_closed: limit.state.status != Status::Active,
            closing: None,
            is_schedule_replaced: false,
        })
    }

    /// Whether there may be something to do. Callers that waited for the lock find it done.
    fn is_due(&self, now_ns: u64) -> bool {
        // No refill is due of a window that is refilled by hand. Only its clock has to be read.
        let is_read = self.schedule.rereads_clock() && self.clock.is_read_since(now_ns);
        self.clock.up_to_date_until_ns() < now_ns && !is_read || self.fill != Fill::Unneeded
    }

    /// The accounts that tell what this process does not know.
    fn accounts_to_read(&self) -> impl Iterator<Item = AccountId> {
        let looks = self.fill == Fill::ToBeRead;
        let clock = (!self.is_clock_known || looks).then(|| self.schedule.clock());
        clock.into_iter().chain(self.schedule.spent().first().copied().filter(|_| looks))
    }

    /// Takes what is spent. The clock is that of the same moment.
    fn spent_read(&mut self, spent: u128, now_ns: u64) {
        self.fill = Fill::Unneeded;
        let Some(full_at_ns) = pacing::full_at_ns(self.schedule, self.clock.value(), spent, now_ns) else {
            return;
        };
        if full_at_ns <= now_ns {
            self.fill = Fill::Full { spent };
        } else {
            self.clock.look_from(full_at_ns);
        }
    }

    /// The chain to send, if there is one.
    fn plan(&self, ids: Ids, now_ns: u64) -> Option<CatchUp> {
        let (limit, clock, closing) = (self.limit, self.clock.value(), self.closing);
        let fresh_ulid = Ulid::generate().0;
        match self.fill {
            Fill::Full { spent } => {
                pacing::start_interval(ids, limit, clock, spent, now_ns, closing, fresh_ulid)
            }
            Fill::Unneeded | Fill::ToBeRead => {
                refill::catch_up(ids, limit, clock, now_ns, closing, fresh_ulid)
            }
        }
    }

    /// The clock has advanced since it was read, so something may have been taken, too.
    fn look_once_more(&mut self) {
        if let Fill::Full { .. } = self.fill {
            self.fill = Fill::ToBeRead;
        }
    }

    /// The interval of a full bucket begins at `now_ns`.
    fn note_interval_started(&mut self, now_ns: u64) {
        if let Fill::Full { .. } = std::mem::replace(&mut self.fill, Fill::Unneeded) {
            self.clock.look_from(pacing::looks_again_at_ns(self.schedule, self.clock.value(), now_ns));
        }
    }
}

impl<L: Ledger> Refiller<L> {
    pub(super) fn new(ledger: Arc<L>, ids: Ids) -> Self {
        Self { ledger, ids, observers: RwLock::default() }
    }

    /// Tells `observer` of every refill from now on.
    pub(super) fn observe(&self, observer: Arc<dyn RefillObserver>) {
        self.observers.write().unwrap_or_else(PoisonError::into_inner).push(observer);
    }

    pub(super) fn report(&self, account: AccountId) {
        let observers = self.observers.read().unwrap_or_else(PoisonError::into_inner);
        observers.iter().for_each(|observer| observer.refilled(account));
    }

    /// Takes the value of a clock that shows a refill. The refill is reported first, so that every caller that finds
    /// nothing due finds the refill reported.
    fn advance(&self, due: &Due<'_>, to: ClockValue) {
        // The clock of a window that is refilled by hand is read again and again, and mostly shows nothing new.
        if !due.schedule.rereads_clock() || to != due.clock.value() {
            self.report(due.limit.account);
        }
        // Before the clock: a caller that finds nothing due plans with the window that has begun.
        due.schedule.clock_read(to);
        due.clock.advance_to(to, due.schedule);
    }

    /// Makes every refill of these limits that is due at `now_ns`, in the ledger's nanoseconds and not ahead of it.
    ///
    /// Refills that become due meanwhile stay due: a fast bucket would never be caught up to a moment that moves on.
    pub(crate) async fn catch_up(&self, entries: &[&Entry], now_ns: u64) -> Result<CaughtUp, LedgerError> {
        self.catch_up_for(Purpose::Read, entries, now_ns).await
    }

    /// The same before a reserve takes from these limits: it also starts the intervals of the buckets that are full.
    pub(crate) async fn catch_up_to_take(
        &self,
        entries: &[&Entry],
        now_ns: u64,
    ) -> Result<CaughtUp, LedgerError> {
        self.catch_up_for(Purpose::Take, entries, now_ns).await
    }

    async fn catch_up_for(
        &self,
        purpose: Purpose,
        entries: &[&Entry],
        now_ns: u64,
    ) -> Result<CaughtUp, LedgerError> {
        let is_due = |entry: &&&Entry| match purpose {
            Purpose::Read => entry.is_refill_due(now_ns),
            Purpose::Take => !entry.is_ready_to_take(now_ns),
        };
        let mut due: PerLimit<Due<'_>> = entries.iter().filter(is_due).filter_map(|it| Due::of(it)).collect();
        if due.is_empty() {
            return Ok(CaughtUp::At { at_ns: now_ns });
        }
        // Every caller takes the locks in the same order, so that no two wait for each other.
        due.sort_unstable_by_key(|due| due.limit.account);
        due.dedup_by_key(|due| due.limit.account);
        let mut locks: PerLimit<MutexGuard<'_, ()>> = PerLimit::new();
        for due in &mut due {
            locks.push(due.clock.lock().await);
            let looks = purpose == Purpose::Take && due.clock.has_to_look(now_ns);
            due.fill = if looks { Fill::ToBeRead } else { Fill::Unneeded };
        }
        if !self.make_refills(due, now_ns).await? {
            return Ok(CaughtUp::ScheduleReplaced);
        }
        let latest_ns = entries.iter().map(|entry| entry.up_to_date_until_ns()).min();
        let at_ns = self.ledger.now_ns().min(latest_ns.unwrap_or(u64::MAX)).max(now_ns);
        Ok(CaughtUp::At { at_ns })
    }

    /// Makes the refills of limits whose locks are held. False if a new version has replaced a schedule.
    async fn make_refills(&self, mut due: PerLimit<Due<'_>>, now_ns: u64) -> Result<bool, LedgerError> {
        // The wait for the locks took time: refill up to the present, so that the callers that wait now find nothing due.
        let to_ns = now_ns.max(self.ledger.now_ns());
        due.iter_mut()
            .for_each(|due| due.is_clock_known = due.clock.is_known() && !due.schedule.rereads_clock());
        let mut is_replaced = false;
        for _ in 0..ATTEMPTS_MAX {
            due.retain(|due| due.is_due(now_ns) && !due.is_schedule_replaced);
            self.read_accounts(&mut due, to_ns).await?;
            due.retain(|due| due.is_due(now_ns));
            if due.is_empty() {
                return Ok(!is_replaced);
            }
            self.find_closings(&mut due).await?;
            self.try_refills(&mut due, to_ns).await?;
            is_replaced |= due.iter().any(|due| due.is_schedule_replaced);
        }
        let keys: Vec<&str> = due.iter().map(|due| due.limit.state.definition.key.as_str()).collect();
        let message = format!("not refilled after {ATTEMPTS_MAX} attempts: {}", keys.join(", "));
        Err(LedgerError::Unexpected(message))
    }

    /// Reads the clocks that are not known, and what is spent of buckets that may be full. All of it is of one moment.
    async fn read_accounts(&self, due: &mut [Due<'_>], now_ns: u64) -> Result<(), LedgerError> {
        let ids: Vec<_> = due.iter().flat_map(Due::accounts_to_read).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let mut accounts = self.ledger.accounts(ids).await?.into_iter();
        let mut next = || {
            let missing = || LedgerError::Unexpected("an account of a schedule is missing".to_owned());
            accounts.next().flatten().ok_or_else(missing)
        };
        for due in due.iter_mut().filter(|due| due.accounts_to_read().next().is_some()) {
            self.advance(due, ClockValue::of(&next()?)?);
            due.clock.note_read(now_ns);
            due.is_clock_known = true;
            if due.fill == Fill::ToBeRead {
                due.spent_read(next()?.posted_balance(), now_ns);
            }
        }
        Ok(())
    }

    /// Finds the transfers that hold accounts closed.
    async fn find_closings(&self, due: &mut [Due<'_>]) -> Result<(), LedgerError> {
        let closed = due.iter_mut().filter(|due| due.is_closed);
        try_join_all(closed.map(|due| async {
            due.closing = find_closing(&*self.ledger, due.limit.account).await?;
            Ok(())
        }))
        .await?;
        Ok(())
    }

    /// Sends a refill of each limit, up to `to_ns`, and takes the outcomes.
    async fn try_refills(&self, due: &mut PerLimit<Due<'_>>, to_ns: u64) -> Result<(), LedgerError> {
        let mut chains = Vec::with_capacity(due.len());
        let mut clocks_to = PerLimit::new();
        due.retain(|due| {
            let planned = due.plan(self.ids, to_ns);
            let is_planned = planned.is_some();
            match planned {
                Some(CatchUp { chain, to }) => {
                    chains.push(chain);
                    clocks_to.push(to);
                }
                None => due.note_interval_started(to_ns),
            }
            is_planned
        });
        if chains.is_empty() {
            return Ok(());
        }
        let outcomes = self.ledger.submit(chains).await;
        for ((due, to), outcome) in due.iter_mut().zip(clocks_to).zip(outcomes) {
            let outcome = outcome?;
            match refill::interpret(due.limit, outcome)? {
                RefillResult::Refilled => {
                    self.advance(due, to);
                    due.note_interval_started(to_ns);
                }
                RefillResult::TraceTaken => {
                    due.is_clock_known = false;
                    due.look_once_more();
                }
                RefillResult::ClosingChanged => due.is_closed = true,
                RefillResult::ScheduleReplaced => due.is_schedule_replaced = true,
            }
        }
        Ok(())
    }
}
