//! A reserve comes: it is sent, waits, or is denied because of those before it.

use futures_util::future::{BoxFuture, join_all};
use tokio::runtime::Handle;

use super::attempts::Tried;
use super::caller::Caller;
use super::queue::WaiterId;
use super::under_way::UnderWay;
use super::waiter::{Answer, Entry, Placed, Progress, Turn};
use crate::decide::reserve::Denial;
use crate::ledger::Ledger;
use crate::limit::{LimitKey, Queueing};
use crate::limiter::denial_cache::BehindQueue;
use crate::limiter::{Limiter, LimiterError};
use crate::protocol::{Requirement, Reserve, ReserveOutcome};

impl<L: Ledger> Limiter<L> {
    /// Reserves when it is the command's turn: at once, or within its longest wait.
    pub(in crate::limiter) fn reserve_in_turn<'a>(&'a self, command: &'a Reserve) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            match self.waiting.enter(command, |key| self.queueing(key)) {
                // Boxed, so that they do not add to the future of everyone who waits.
                Entry::Passes => Box::pin(self.reserve_now(command)).await,
                Entry::Conflict => Ok(ReserveOutcome::LeaseConflict),
                Entry::Behind(key) => Box::pin(self.deny_behind(command, key)).await,
                Entry::Joined(seat) => {
                    Caller::new(&self.waiting, seat).outcome(|waiter| self.start_end(waiter)).await
                }
                Entry::New { seat, turn, is_behind } => {
                    let caller = Caller::new(&self.waiting, seat);
                    let limiter = self.clone();
                    // A task of its own: an attempt is carried out although its caller leaves.
                    tokio::spawn(async move { limiter.begin(turn, is_behind).await });
                    caller.outcome(|waiter| self.start_end(waiter)).await
                }
            }
        })
    }

    /// Ends all waits with their denial. Nobody waits from now on.
    pub async fn stop_waiting(&self) {
        join_all(self.waiting.stop().into_iter().map(|turn| self.finish_wait(turn))).await;
    }

    /// Whether a reserve can wait, and be behind others. Attempts that wait ask the ledger for the whole amount, which a limit in
    /// shadow mode need not have; and what allotments have free, the ledger does not tell.
    pub(in crate::limiter) fn may_wait(&self, command: &Reserve) -> bool {
        let snapshot = self.registry.snapshot();
        command.requirements().iter().all(|Requirement { key, .. }| {
            let entry = snapshot.get(key).or_else(|| snapshot.template_of(key));
            entry.is_none_or(|entry| {
                let definition = &entry.limit.state.definition;
                definition.enforce && definition.allotment.is_none()
            })
        })
    }

    /// How callers wait for a limit, as far as this process knows.
    pub(super) fn queueing(&self, key: &LimitKey) -> Queueing {
        let snapshot = self.registry.snapshot();
        let entry = snapshot.get(key).or_else(|| snapshot.template_of(key));
        entry.map_or_else(Queueing::default, |entry| entry.limit.state.definition.queueing)
    }

    async fn begin(self, turn: Turn, is_behind: bool) {
        let _under_way = UnderWay::new(&self.waiting, [turn.id]);
        let tried = match self.tell_denied_before(&turn.command).await {
            Ok(Some(denied)) => Ok(denied),
            Ok(None) if is_behind => self.queue_unsent(&turn).await,
            Ok(None) => self.try_first(&turn).await,
            Err(error) => Err(error),
        };
        self.conclude_turn(turn, tried);
    }

    /// Answers the callers of a waiter, or lets it wait on.
    pub(super) fn conclude_turn(&self, turn: Turn, tried: Result<Tried, LimiterError>) {
        match tried {
            Ok(Tried::Outcome(outcome)) => self.waiting.finish(turn.id, &Ok(outcome)),
            Ok(Tried::WaitsOn(progress)) => self.place(turn, progress),
            Err(error) if error.is_unreachable() => {
                // The ledger may answer before the deadline.
                let progress = turn.progress;
                self.place(turn, progress);
            }
            // A repetition would fail in the same way.
            Err(error) => self.waiting.finish(turn.id, &Err(error)),
        }
    }

    fn place(&self, turn: Turn, progress: Progress) {
        match self.waiting.place(turn.id, progress, |key| self.queueing(key)) {
            Placed::Queued { starts: true } => self.start_asker(),
            Placed::Queued { starts: false } | Placed::Gone => {}
            Placed::Ends => self.spawn_end(Turn { progress, ..turn }),
        }
    }

    pub(super) fn start_asker(&self) {
        let limiter = self.clone();
        tokio::spawn(async move { limiter.run_asker().await });
    }

    /// Starts another asker behind one that has panicked. Not at once: it may panic again.
    pub(super) fn start_asker_later(&self) {
        let limiter = self.clone();
        // Without a runtime, nobody waits.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(limiter.waiting.options.poll_interval).await;
                limiter.run_asker().await;
            });
        }
    }

    /// Starts the end of a wait.
    pub(super) fn start_end(&self, waiter: WaiterId) {
        if let Some(turn) = self.waiting.end(waiter) {
            self.spawn_end(turn);
        }
    }

    fn spawn_end(&self, turn: Turn) {
        let limiter = self.clone();
        tokio::spawn(async move { limiter.finish_wait(turn).await });
    }

    async fn finish_wait(&self, turn: Turn) {
        let _under_way = UnderWay::new(&self.waiting, [turn.id]);
        let answer = self.end_of_wait(&turn.command, turn.progress).await;
        self.waiting.finish(turn.id, &answer);
    }

    /// The outcome of a lease that the denial cache has denied before: it stays denied at this process.
    async fn tell_denied_before(&self, command: &Reserve) -> Result<Option<Tried>, LimiterError> {
        let Some(key) = self.denial_cache.denied_before(command.lease) else { return Ok(None) };
        let resolved = self.resolve_definitions(command).await?;
        self.deny_again(&resolved, key).await.map(|outcome| Some(Tried::Outcome(outcome)))
    }

    /// The first attempt at a lease that is ready to wait.
    async fn try_first(&self, turn: &Turn) -> Result<Tried, LimiterError> {
        let command = &*turn.command;
        self.denial_cache.mark_sent(command.lease);
        let resolved = self.resolve(command).await?;
        let makes = !resolved.new_instances().is_empty() && resolved.impossible().is_none();
        // A chain without room makes no instances, so a flood of keys leaves no accounts behind.
        if makes && !self.has_room(&resolved).await? {
            return self.queue_unsent(turn).await;
        }
        self.try_alone(turn).await
    }

    /// A lease that waits without having been sent. It may have been granted before.
    async fn queue_unsent(&self, turn: &Turn) -> Result<Tried, LimiterError> {
        let command = &*turn.command;
        if !self.denial_cache.is_young(command.lease)
            && let Some(lease) = self.read_lease(command.lease).await?
        {
            let resolved = self.resolve_definitions(command).await?;
            return self.status_of(&lease, &resolved).await.map(Tried::Outcome);
        }
        self.denial_cache.mark_sent(command.lease);
        Ok(Tried::WaitsOn(turn.progress))
    }

    /// Denies a reserve that does not wait, because a waiter of `key` is before it.
    async fn deny_behind(&self, command: &Reserve, key: LimitKey) -> Answer {
        let resolved = self.resolve_definitions(command).await?;
        // The ledger makes every denial but for lack of room.
        if resolved.impossible().is_none() {
            match self.denial_cache.deny_behind(command.lease, &key) {
                BehindQueue::Denied => return Ok(self.deny(&resolved, Denial::NoRoom(key), false)),
                BehindQueue::DeniedBefore(key) => return self.deny_again(&resolved, key).await,
                BehindQueue::MayBeGranted => {}
            }
        }
        self.denial_cache.mark_sent(command.lease);
        let limiting = command.requirements().iter().position(|requirement| requirement.key == key);
        self.end_of_wait(command, Progress { attempt: 0, limiting: limiting.unwrap_or(0) }).await
    }
}
