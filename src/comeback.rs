//! Lets come back what is due by the schedules of limits, before anything is reserved of them or told of them. What is
//! sent is decided in [`crate::decide::schedule`]; here it is sent, and sent again where another replica was quicker.

use std::sync::Arc;

use ulid::Ulid;

use crate::decide::Limit;
use crate::decide::ids::Ids;
use crate::decide::schedule::{self, Verdict};
use crate::ledger::{Ledger, LedgerError, TransferId, find_closing};
use crate::limit::Status;
use crate::registry::{Entry, KnownClock};

/// How often it is tried while other replicas get in first: each time one of them has moved the clock on.
const TRIES_MAX: usize = 64;

/// Brings limits up to a moment.
pub struct Comeback<L> {
    ledger: Arc<L>,
    ids: Ids,
}

/// Whether a limit is up to the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BroughtUp {
    /// It was already, as far as this process knew.
    Before,
    /// It is now, at a moment that is not earlier than the one that was asked for: something may have come back.
    Now {
        /// The moment, in the ledger's nanoseconds.
        at_ns: u64,
    },
    /// It has another schedule than is known here: read the definitions.
    Replaced,
}

impl<L: Ledger> Comeback<L> {
    /// Over the same ledger as the limiter.
    pub fn new(ledger: Arc<L>, ids: Ids) -> Self {
        Self { ledger, ids }
    }

    /// Brings a limit up to a moment, in the ledger's nanoseconds and not ahead of it.
    pub async fn bring_up(&self, entry: &Entry, now_ns: u64) -> Result<BroughtUp, LedgerError> {
        match (&entry.limit.schedule, entry.clock()) {
            (Some(schedule), Some(clock)) if entry.is_due(now_ns) => {
                self.catch_up(&entry.limit, schedule, clock, now_ns).await
            }
            (Some(_) | None, _) => Ok(BroughtUp::Before),
        }
    }

    async fn catch_up(
        &self,
        limit: &Limit,
        schedule: &schedule::Schedule,
        clock: &KnownClock,
        now_ns: u64,
    ) -> Result<BroughtUp, LedgerError> {
        // One at a time: the others find it done. Who waited does not bring it up to the past.
        let _turn = clock.turn().await;
        let now_ns = now_ns.max(self.ledger.now_ns());
        let mut is_closed = limit.state.status != Status::Active;
        if !clock.is_read() {
            clock.set(self.read_clock(schedule).await?);
        }
        for _ in 0..TRIES_MAX {
            if schedule.is_up_to_date(clock.known_ms(), now_ns) {
                return Ok(BroughtUp::Now { at_ns: now_ns });
            }
            let closing = self.closing(limit, is_closed).await?;
            let drawn = Ulid::generate().0;
            let Some(advance) = schedule::advance(self.ids, limit, clock.known_ms(), now_ns, closing, drawn)
            else {
                return Ok(BroughtUp::Now { at_ns: now_ns });
            };
            let outcome = self.ledger.submit_one(advance.chain).await?;
            match schedule::interpret(limit, outcome)? {
                Verdict::Made => clock.set(advance.to_ms),
                Verdict::Moved => clock.set(self.read_clock(schedule).await?),
                Verdict::ClosedOrOpened => is_closed = true,
                Verdict::Replaced => return Ok(BroughtUp::Replaced),
            }
        }
        let key = &limit.state.definition.key;
        Err(LedgerError::Unexpected(format!("limit {key} cannot be brought up to its time")))
    }

    /// Puts back what somebody asks for, once for each trace. False if the limit has another schedule than is known here:
    /// read the definitions.
    pub async fn put_back(&self, entry: &Entry, trace: TransferId, amount: u64) -> Result<bool, LedgerError> {
        let limit = &entry.limit;
        let mut is_closed = limit.state.status != Status::Active;
        for _ in 0..TRIES_MAX {
            let closing = self.closing(limit, is_closed).await?;
            let drawn = Ulid::generate().0;
            let Some(chain) = schedule::put_back(self.ids, limit, trace, amount, closing, drawn) else {
                return Ok(false);
            };
            match schedule::interpret(limit, self.ledger.submit_one(chain).await?)? {
                // Whoever left the trace has put it back.
                Verdict::Made | Verdict::Moved => return Ok(true),
                Verdict::ClosedOrOpened => is_closed = true,
                Verdict::Replaced => return Ok(false),
            }
        }
        let key = entry.key();
        Err(LedgerError::Unexpected(format!("nothing can be put back into limit {key}")))
    }

    /// What holds an account closed that may be.
    async fn closing(&self, limit: &Limit, is_closed: bool) -> Result<Option<TransferId>, LedgerError> {
        if is_closed { find_closing(&*self.ledger, limit.account).await } else { Ok(None) }
    }

    async fn read_clock(&self, schedule: &schedule::Schedule) -> Result<u64, LedgerError> {
        let accounts = self.ledger.accounts(vec![schedule.clock()]).await?;
        let Some(Some(clock)) = accounts.first() else {
            return Err(LedgerError::Unexpected("a limit with a schedule has no clock".to_owned()));
        };
        u64::try_from(clock.credits_posted)
            .map_err(|_| LedgerError::Unexpected("a limit's clock is out of range".to_owned()))
    }
}
