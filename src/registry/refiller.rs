//! Makes the refills that are due, before limits are reserved from or their usage is shown. [`crate::decide::refill`] decides
//! what to send; this file sends it, and retries when another replica was first.
//!
//! Limits that one request names are caught up together: their refill clocks are read in one look-up, and their chains are sent
//! in one submission. So it takes as long for many limits as for one.

use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::try_join_all;
use smallvec::SmallVec;
use tokio::sync::MutexGuard;
use ulid::Ulid;

use super::ATTEMPTS_MAX;
use super::entry::Entry;
use super::refill_clock::RefillClock;
use crate::decide::Limit;
use crate::decide::ids::Ids;
use crate::decide::refill::{self, RefillResult, Schedule};
use crate::ledger::{AccountId, Ledger, LedgerError, TransferId, find_closing};
use crate::limit::Status;

/// Makes refills.
pub(crate) struct Refiller<L> {
    ledger: Arc<L>,
    ids: Ids,
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

/// A limit with a refill that is due.
struct Due<'a> {
    limit: &'a Limit,
    schedule: &'a Schedule,
    clock: &'a RefillClock,
    is_clock_known: bool,
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
            is_closed: limit.state.status != Status::Active,
            closing: None,
            is_schedule_replaced: false,
        })
    }

    fn is_due(&self, now_ns: u64) -> bool {
        !self.schedule.is_up_to_date(self.clock.known(), now_ns)
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

    fn report(&self, account: AccountId) {
        let observers = self.observers.read().unwrap_or_else(PoisonError::into_inner);
        observers.iter().for_each(|observer| observer.refilled(account));
    }

    /// Takes the value of a clock that shows a refill. The refill is reported first, so that every caller that finds
    /// nothing due finds the refill reported.
    fn advance(&self, due: &Due<'_>, to: u64) {
        self.report(due.limit.account);
        // Before the clock: a caller that finds nothing due plans with the window that has begun.
        due.schedule.clock_read(to);
        due.clock.advance_to(to);
    }

    /// Makes every refill of these limits that is due at `now_ns`, in the ledger's nanoseconds and not ahead of it.
    ///
    /// Refills that become due meanwhile stay due: a fast bucket would never be caught up to a moment that moves on.
    pub(crate) async fn catch_up(&self, entries: &[&Entry], now_ns: u64) -> Result<CaughtUp, LedgerError> {
        let mut due: PerLimit<Due<'_>> =
            entries.iter().filter(|entry| entry.is_refill_due(now_ns)).filter_map(|it| Due::of(it)).collect();
        if due.is_empty() {
            return Ok(CaughtUp::At { at_ns: now_ns });
        }
        // Every caller takes the locks in the same order, so that no two wait for each other.
        due.sort_unstable_by_key(|due| due.limit.account);
        due.dedup_by_key(|due| due.limit.account);
        let mut locks: PerLimit<MutexGuard<'_, ()>> = PerLimit::new();
        for due in &due {
            locks.push(due.clock.lock().await);
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
        due.iter_mut().for_each(|due| due.is_clock_known = due.clock.is_known());
        let mut is_replaced = false;
        for _ in 0..ATTEMPTS_MAX {
            self.read_clocks(&mut due).await?;
            due.retain(|due| due.is_due(now_ns) && !due.is_schedule_replaced);
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

    /// Reads the clocks that are not known.
    async fn read_clocks(&self, due: &mut [Due<'_>]) -> Result<(), LedgerError> {
        let unknown = due.iter().filter(|due| !due.is_clock_known);
        let ids: Vec<_> = unknown.map(|due| due.schedule.clock()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let accounts = self.ledger.accounts(ids).await?;
        for (due, account) in due.iter_mut().filter(|due| !due.is_clock_known).zip(accounts) {
            let missing = || LedgerError::Unexpected("a refill clock's account is missing".to_owned());
            let out_of_range = |_| LedgerError::Unexpected("a refill clock is out of range".to_owned());
            let known = account.ok_or_else(missing)?.credits_posted;
            self.advance(due, u64::try_from(known).map_err(out_of_range)?);
            due.is_clock_known = true;
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
            let (known, fresh_ulid) = (due.clock.known(), Ulid::generate().0);
            let refill = refill::catch_up(self.ids, due.limit, known, to_ns, due.closing, fresh_ulid);
            let is_planned = refill.is_some();
            if let Some(refill) = refill {
                chains.push(refill.chain);
                clocks_to.push(refill.to);
            }
            is_planned
        });
        let outcomes = self.ledger.submit(chains).await;
        for ((due, to), outcome) in due.iter_mut().zip(clocks_to).zip(outcomes) {
            match refill::interpret(due.limit, outcome?)? {
                RefillResult::Refilled => self.advance(due, to),
                RefillResult::TraceTaken => due.is_clock_known = false,
                RefillResult::ClosingChanged => due.is_closed = true,
                RefillResult::ScheduleReplaced => due.is_schedule_replaced = true,
            }
        }
        Ok(())
    }

    /// Refills `amount` on request, once per trace. False if a new version has replaced the schedule known here: read the
    /// definitions again.
    pub(crate) async fn refill_manually(
        &self,
        entry: &Entry,
        trace: TransferId,
        amount: u64,
    ) -> Result<bool, LedgerError> {
        let limit = &entry.limit;
        let mut is_closed = limit.state.status != Status::Active;
        let _report = Report { refiller: self, account: limit.account };
        for _ in 0..ATTEMPTS_MAX {
            let closing = if is_closed { find_closing(&*self.ledger, limit.account).await? } else { None };
            let fresh_ulid = Ulid::generate().0;
            let Some(chain) = refill::manual_refill(self.ids, limit, trace, amount, closing, fresh_ulid)
            else {
                return Ok(false);
            };
            match refill::interpret(limit, self.ledger.submit_one(chain).await?)? {
                RefillResult::Refilled | RefillResult::TraceTaken => return Ok(true),
                RefillResult::ClosingChanged => is_closed = true,
                RefillResult::ScheduleReplaced => return Ok(false),
            }
        }
        let key = entry.key();
        let message = format!("limit {key} was not refilled on request after {ATTEMPTS_MAX} attempts");
        Err(LedgerError::Unexpected(message))
    }
}

/// Reports a refill when it is dropped, because the refill may be made although its caller gives up or gets an error.
struct Report<'a, L: Ledger> {
    refiller: &'a Refiller<L>,
    account: AccountId,
}

impl<L: Ledger> Drop for Report<'_, L> {
    fn drop(&mut self) {
        self.refiller.report(self.account);
    }
}
