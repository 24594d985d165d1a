//! Makes refills on request, once per trace. [`crate::decide::refill_by_hand`] decides what to send.

use ulid::Ulid;

use super::ATTEMPTS_MAX;
use super::entry::Entry;
use super::refill_clock::RefillClock;
use super::refiller::Refiller;
use crate::decide::clock_value::ClockValue;
use crate::decide::refill::{self, CatchUp, RefillResult};
use crate::decide::refill_by_hand::{self, RefillByHand};
use crate::decide::schedule::Schedule;
use crate::ledger::{Ledger, LedgerError, TransferId, find_closing};
use crate::limit::Status;

impl<L: Ledger> Refiller<L> {
    /// Refills on request, once per trace. False if a new version has replaced the schedule known here: read the definitions
    /// again.
    pub(crate) async fn refill_by_hand(
        &self,
        entry: &Entry,
        trace: TransferId,
        refill: RefillByHand,
    ) -> Result<bool, LedgerError> {
        match refill {
            RefillByHand::Tokens(amount) => self.add_tokens(entry, trace, amount).await,
            RefillByHand::Step => self.end_step(entry, trace).await,
        }
    }

    async fn add_tokens(&self, entry: &Entry, trace: TransferId, amount: u64) -> Result<bool, LedgerError> {
        let limit = &entry.limit;
        let mut is_closed = limit.state.status != Status::Active;
        let _report = Report { refiller: self, entry };
        for _ in 0..ATTEMPTS_MAX {
            let closing = if is_closed { find_closing(&*self.ledger, limit.account).await? } else { None };
            let fresh_ulid = Ulid::generate().0;
            let chain = refill_by_hand::add_tokens(self.ids, limit, trace, amount, closing, fresh_ulid);
            let Some(chain) = chain else { return Ok(false) };
            match refill::interpret(limit, self.ledger.submit_one(chain).await?)? {
                RefillResult::Refilled | RefillResult::TraceTaken => return Ok(true),
                RefillResult::ClosingChanged => is_closed = true,
                RefillResult::ScheduleReplaced => return Ok(false),
            }
        }
        Err(not_refilled(entry))
    }

    /// Ends the present step of a window. True also if its length has not passed.
    async fn end_step(&self, entry: &Entry, trace: TransferId) -> Result<bool, LedgerError> {
        let limit = &entry.limit;
        let (Some(schedule), Some(known)) = (limit.schedule.as_deref(), entry.clock()) else {
            return Ok(false);
        };
        let mut is_closed = limit.state.status != Status::Active;
        let _report = Report { refiller: self, entry };
        for _ in 0..ATTEMPTS_MAX {
            let clock = self.read_clock(schedule).await?;
            note_clock(schedule, known, clock);
            let closing = if is_closed { find_closing(&*self.ledger, limit.account).await? } else { None };
            let (now_ns, fresh_ulid) = (self.ledger.now_ns(), Ulid::generate().0);
            let planned =
                refill_by_hand::end_step(self.ids, limit, clock, now_ns, trace, closing, fresh_ulid);
            let Some(CatchUp { chain, to }) = planned else { return Ok(true) };
            match refill::interpret(limit, self.ledger.submit_one(chain).await?)? {
                RefillResult::Refilled => {
                    note_clock(schedule, known, to);
                    return Ok(true);
                }
                RefillResult::TraceTaken => return Ok(true),
                // The account was closed, or another request ended the step.
                RefillResult::ClosingChanged => is_closed = true,
                RefillResult::ScheduleReplaced => return Ok(false),
            }
        }
        Err(not_refilled(entry))
    }

    async fn read_clock(&self, schedule: &Schedule) -> Result<ClockValue, LedgerError> {
        let accounts = self.ledger.accounts(vec![schedule.clock()]).await?;
        let missing = || LedgerError::Unexpected("the clock of a window is missing".to_owned());
        ClockValue::of(&accounts.into_iter().next().flatten().ok_or_else(missing)?)
    }
}

fn note_clock(schedule: &Schedule, known: &RefillClock, clock: ClockValue) {
    // First: a caller that finds the clock advanced plans with the step that has begun.
    schedule.clock_read(clock);
    known.advance_to(clock, schedule);
}

fn not_refilled(entry: &Entry) -> LedgerError {
    let key = entry.key();
    LedgerError::Unexpected(format!("limit {key} was not refilled on request after {ATTEMPTS_MAX} attempts"))
}

/// Reports a refill when it is dropped, because the refill may be made although its caller gives up or gets an error.
struct Report<'a, L: Ledger> {
    refiller: &'a Refiller<L>,
    entry: &'a Entry,
}

impl<L: Ledger> Drop for Report<'_, L> {
    fn drop(&mut self) {
        self.entry.note_given_back();
        self.refiller.report(self.entry.limit.account);
    }
}
