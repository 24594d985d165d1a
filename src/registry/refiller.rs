//! Makes the refills that are due, before a limit is reserved from or its usage is shown. [`crate::decide::refill`] decides what
//! to send; this file sends it, and retries when another replica was first.

use std::sync::Arc;

use ulid::Ulid;

use super::ATTEMPTS_MAX;
use super::entry::Entry;
use super::refill_clock::RefillClock;
use crate::decide::Limit;
use crate::decide::ids::Ids;
use crate::decide::refill::{self, RefillResult, Schedule};
use crate::ledger::{Ledger, LedgerError, TransferId, find_closing};
use crate::limit::Status;

/// Makes refills.
pub(crate) struct Refiller<L> {
    ledger: Arc<L>,
    ids: Ids,
}

/// Whether every refill that was due has been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CaughtUp {
    /// Nothing was due, as far as this process knew.
    AlreadyUpToDate,
    /// Every refill due at this moment has been made, here or by another replica. The moment is not before the one asked for.
    At {
        /// The moment, in the ledger's nanoseconds.
        at_ns: u64,
    },
    /// A new version has replaced the schedule known here: read the definitions again.
    ScheduleReplaced,
}

impl<L: Ledger> Refiller<L> {
    pub(super) fn new(ledger: Arc<L>, ids: Ids) -> Self {
        Self { ledger, ids }
    }

    /// Makes every refill of a limit that is due at `now_ns`, in the ledger's nanoseconds and not ahead of it.
    pub(crate) async fn catch_up(&self, entry: &Entry, now_ns: u64) -> Result<CaughtUp, LedgerError> {
        match (&entry.limit.schedule, entry.clock()) {
            (Some(schedule), Some(clock)) if entry.is_refill_due(now_ns) => {
                self.make_refills(&entry.limit, schedule, clock, now_ns).await
            }
            (Some(_) | None, _) => Ok(CaughtUp::AlreadyUpToDate),
        }
    }

    async fn make_refills(
        &self,
        limit: &Limit,
        schedule: &Schedule,
        clock: &RefillClock,
        now_ns: u64,
    ) -> Result<CaughtUp, LedgerError> {
        let _one_at_a_time = clock.lock().await;
        // The wait for the lock took time: catch up to the present, so that the next caller finds nothing due.
        let now_ns = now_ns.max(self.ledger.now_ns());
        let mut is_closed = limit.state.status != Status::Active;
        if !clock.is_known() {
            clock.advance_to(self.read_clock(schedule).await?);
        }
        for _ in 0..ATTEMPTS_MAX {
            if schedule.is_up_to_date(clock.known(), now_ns) {
                return Ok(CaughtUp::At { at_ns: now_ns });
            }
            let closing = self.closing(limit, is_closed).await?;
            let fresh_ulid = Ulid::generate().0;
            let Some(catch_up) =
                refill::catch_up(self.ids, limit, clock.known(), now_ns, closing, fresh_ulid)
            else {
                return Ok(CaughtUp::At { at_ns: now_ns });
            };
            let outcome = self.ledger.submit_one(catch_up.chain).await?;
            match refill::interpret(limit, outcome)? {
                RefillResult::Refilled => clock.advance_to(catch_up.to),
                RefillResult::TraceTaken => clock.advance_to(self.read_clock(schedule).await?),
                RefillResult::ClosingChanged => is_closed = true,
                RefillResult::ScheduleReplaced => return Ok(CaughtUp::ScheduleReplaced),
            }
        }
        let key = &limit.state.definition.key;
        let message = format!("limit {key} was not refilled after {ATTEMPTS_MAX} attempts");
        Err(LedgerError::Unexpected(message))
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
        for _ in 0..ATTEMPTS_MAX {
            let closing = self.closing(limit, is_closed).await?;
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

    /// The transfer that holds the limit's account closed, if it may be closed.
    async fn closing(&self, limit: &Limit, is_closed: bool) -> Result<Option<TransferId>, LedgerError> {
        if is_closed { find_closing(&*self.ledger, limit.account).await } else { Ok(None) }
    }

    async fn read_clock(&self, schedule: &Schedule) -> Result<u64, LedgerError> {
        let accounts = self.ledger.accounts(vec![schedule.clock()]).await?;
        let Some(Some(clock)) = accounts.first() else {
            return Err(LedgerError::Unexpected("a refill clock's account is missing".to_owned()));
        };
        u64::try_from(clock.credits_posted)
            .map_err(|_| LedgerError::Unexpected("a refill clock is out of range".to_owned()))
    }
}
