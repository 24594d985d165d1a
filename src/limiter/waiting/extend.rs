//! An extend waits for its turn. It has one attempt, because its ids have no number of an attempt: it is made when there is room,
//! or at the end of the wait.

use tokio::time::{Duration, Instant};

use super::caller::Caller;
use crate::decide::extend::{self, ExtendPlan};
use crate::decide::look;
use crate::ledger::{Ledger, LedgerError};
use crate::limiter::{Limiter, LimiterError};
use crate::protocol::{Extend, ExtendOutcome, Wait};

impl<L: Ledger> Limiter<L> {
    /// Reserves more of a limit for a running lease when it is the command's turn: at once, or within its longest wait. It waits
    /// no longer than the lease runs.
    ///
    /// If the future is dropped while it waits, nothing was sent. Behind that the extend is carried out.
    pub async fn extend_in_turn(&self, command: &Extend, wait: Wait) -> Result<ExtendOutcome, LimiterError> {
        if wait.max_ms() == 0 {
            return self.extend(command).await;
        }
        let mut caller = self.queue_extend(command, wait).await?;
        if let Some(caller) = &mut caller {
            caller.turn().await;
        }
        let (limiter, command) = (self.clone(), command.clone());
        let extended = tokio::spawn(async move {
            let extended = limiter.extend(&command).await;
            // Those behind it find what is left.
            drop(caller);
            extended
        });
        // The runtime is stopping.
        extended.await.unwrap_or(Err(LimiterError::Ledger(LedgerError::ShutDown)))
    }

    /// The place of an extend in its queue. `None` if it must be sent at once.
    async fn queue_extend(&self, command: &Extend, wait: Wait) -> Result<Option<Caller>, LimiterError> {
        let wanted = command.as_reserve().with_wait(wait);
        if !self.may_wait(&wanted) {
            return Ok(None);
        }
        let (resolved, rooms) = self.look_around(&wanted, |_| {}).await?;
        let limits = resolved.limits();
        let fits = look::denial(&wanted, &limits, &rooms).is_none() && !self.waiting.is_behind(&wanted);
        if fits || resolved.impossible().is_some() {
            return Ok(None);
        }
        let transfers = self.ledger.lease_transfers(self.ids.lease_query(command.lease)).await?;
        let now_ns = self.ledger.now_ns();
        let limit = limits.first().copied().flatten();
        let plan = extend::plan(self.ids, command, limit, &transfers, false, resolved.at_ns_or(|| now_ns));
        // Whatever else it is, it needs no room.
        let ExtendPlan::Send { lease_expires_at_ns, .. } = plan else { return Ok(None) };
        let runs = Duration::from_nanos(lease_expires_at_ns.saturating_sub(now_ns));
        let deadline = Instant::now() + runs.min(Duration::from_millis(wait.max_ms()));
        drop(limits);
        let seat = self.waiting.seat_extend(wanted.clone(), deadline, |key| self.queueing(key));
        Ok(seat.map(|(seat, starts)| {
            if starts {
                self.start_asker();
            }
            Caller::new(&self.waiting, seat)
        }))
    }
}
