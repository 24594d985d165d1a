//! The asker: the task that looks for room, and serves those whose turn it is. There is one for all queues, so one look-up and one
//! submission serve many of them. It starts with the first waiter and ends with the last.

use std::collections::{HashMap, HashSet};

use futures_util::future::{join, join_all};
use tokio::time::{Duration, Instant};

use super::attempts::Tried;
use super::under_way::{AskerTask, UnderWay};
use super::waiter::Turn;
use crate::decide::Limit;
use crate::decide::look::Room;
use crate::decide::reserve::is_shadow;
use crate::ledger::{Chain, ChainOutcome, Ledger, LedgerError};
use crate::limit::LimitKey;
use crate::limiter::resolve::Resolved;
use crate::limiter::{Limiter, LimiterError};
use crate::protocol::Requirement;
use crate::telemetry::with_sources;

/// The most attempts that are sent at once, so that the first waiters do not wait for the answers of the last.
const SENT_AT_ONCE: usize = 256;
/// The shortest time until the next look. The ledger's clock may be behind that of this process.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// What is free of each limit that was looked at.
type Rooms = HashMap<LimitKey, u128>;

impl<L: Ledger> Limiter<L> {
    /// Serves the waiters until there are none.
    pub(super) async fn run_asker(self) {
        let _task = AskerTask(self.clone());
        let poll_interval = self.waiting.options.poll_interval.max(PAUSE_MIN);
        let mut poll_at = Instant::now() + poll_interval;
        let mut polls = false;
        while let Some(due) = self.waiting.take_due(polls) {
            if polls {
                poll_at = Instant::now() + poll_interval;
            }
            self.serve(due).await;
            let wake_at = self.waiting.next_expected().map_or(poll_at, |at| at.min(poll_at));
            tokio::select! {
                // A random order of polls could not be repeated by a simulation.
                biased;
                () = self.waiting.changed.notified() => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
            polls = Instant::now() >= poll_at;
        }
    }

    /// Serves those whose turn it is in the queues of `keys`, as long as there is room.
    async fn serve(&self, mut keys: HashSet<LimitKey>) {
        let mut rooms = Rooms::new();
        loop {
            let (fitting, unseen) = self.waiting.turns(&keys, &rooms);
            if fitting.is_empty() && unseen.is_empty() {
                return;
            }
            for requirement in fitting.iter().chain(&unseen).flat_map(|turn| turn.command.requirements()) {
                if !keys.contains(&requirement.key) {
                    keys.insert(requirement.key.clone());
                }
            }
            take(&mut rooms, &fitting);
            let _under_way = UnderWay::new(&self.waiting, fitting.iter().map(|turn| turn.id));
            let looks = join_all(unseen.iter().map(|turn| self.look_for(turn)));
            let (looks, refused) = join(looks, self.try_all(fitting)).await;
            for (key, room) in looks.into_iter().flatten() {
                rooms.entry(key).or_insert(room);
            }
            // Another replica was faster, so the rest of the room is in doubt.
            rooms.extend(refused.into_iter().map(|key| (key, 0)));
        }
    }

    /// Looks for room for a waiter. If it can never be granted, its wait ends.
    async fn look_for(&self, turn: &Turn) -> Vec<(LimitKey, u128)> {
        let nothing = |requirement: &Requirement| (requirement.key.clone(), 0);
        match self.try_look_for(turn).await {
            Ok(rooms) => rooms,
            Err(error) => {
                tracing::debug!(
                    error = with_sources(&error),
                    "the ledger was not asked for those who wait; trying again"
                );
                turn.command.requirements().iter().map(nothing).collect()
            }
        }
    }

    async fn try_look_for(&self, turn: &Turn) -> Result<Vec<(LimitKey, u128)>, LimiterError> {
        // Before the reading: a complete that makes room meanwhile leads to another look.
        let note = |resolved: &Resolved<'_>| self.note_accounts(resolved);
        let (mut resolved, mut rooms) = self.look_around(&turn.command, note).await?;
        if resolved.impossible().is_some() {
            // Another replica may have changed the limit.
            self.reload(&resolved).await?;
            (resolved, rooms) = self.look_around(&turn.command, note).await?;
        }
        if resolved.impossible().is_some() {
            self.start_end(turn.id);
        }
        open_in_shadow(&resolved, &mut rooms);
        let requirements = turn.command.requirements();
        self.waiting.note_look(turn.id, self.lacking(&resolved, &rooms));
        let units = rooms.iter().map(|room| match room {
            Room::Closed => 0,
            Room::Units(units) => *units,
        });
        Ok(requirements.iter().map(|requirement| requirement.key.clone()).zip(units).collect())
    }

    fn note_accounts(&self, resolved: &Resolved<'_>) {
        let limits = resolved.limits();
        let requirements = resolved.command.requirements().iter();
        let with_key = |(requirement, limit): (&Requirement, &Option<&Limit>)| {
            Some((limit.as_ref()?.account, requirement.key.clone()))
        };
        self.waiting.note_accounts(requirements.zip(&limits).filter_map(with_key));
    }

    /// The index of the first requirement that finds no room, and when a schedule will have refilled what it lacks, if known.
    fn lacking(&self, resolved: &Resolved<'_>, rooms: &[Room]) -> Option<(usize, Option<Instant>)> {
        let (limits, now_ns) = (resolved.limits(), self.ledger.now_ns());
        let requirements = resolved.command.requirements().iter();
        requirements.zip(&limits).zip(rooms).enumerate().find_map(|(index, ((requirement, limit), room))| {
            let lacking = match room {
                Room::Closed => return Some((index, None)),
                Room::Units(units) => {
                    u128::from(requirement.amount).checked_sub(*units).filter(|it| *it > 0)?
                }
            };
            let schedule = limit.as_ref().and_then(|limit| limit.schedule.as_ref());
            let clock = resolved.entry(&requirement.key).map_or_else(Default::default, |it| it.clock_value());
            let adds_at_ns = schedule.and_then(|schedule| schedule.adds_at_ns(lacking, clock, now_ns));
            let room_at = adds_at_ns.and_then(|at_ns| {
                let pause = Duration::from_nanos(at_ns.saturating_sub(now_ns)).max(PAUSE_MIN);
                Instant::now().checked_add(pause)
            });
            Some((index, room_at))
        })
    }

    /// Tries waiters, in order. Returns the limits of those that wait on.
    async fn try_all(&self, turns: Vec<Turn>) -> Vec<LimitKey> {
        let mut refused = Vec::new();
        for turns in turns.chunks(SENT_AT_ONCE) {
            let tried = self.try_together(turns).await;
            for (turn, tried) in turns.iter().zip(tried) {
                if !matches!(tried, Ok(Tried::Outcome(_))) {
                    let keys = turn.command.requirements().iter().map(|requirement| &requirement.key);
                    refused.extend(keys.cloned());
                }
                self.conclude_turn(turn.clone(), tried);
            }
        }
        refused
    }

    /// One attempt for each of these, in one submission.
    async fn try_together(&self, turns: &[Turn]) -> Vec<Result<Tried, LimiterError>> {
        let mut chains = Vec::with_capacity(turns.len());
        let prepared = join_all(turns.iter().map(|turn| self.prepare(turn))).await;
        for (_, chain) in prepared.iter().flatten().flatten() {
            chains.push(chain.clone());
        }
        let mut outcomes = self.submit_any(chains).await.into_iter();
        let concluded = turns.iter().zip(prepared).map(|(turn, sent)| {
            let outcome = matches!(sent, Ok(Some(_))).then(|| outcomes.next()).flatten();
            async move {
                match (sent?, outcome) {
                    (Some((resolved, chain)), Some(outcome)) => {
                        self.conclude_attempt(&resolved, &chain, turn.progress, outcome?).await
                    }
                    (Some(_), None) | (None, _) => self.try_alone(turn).await,
                }
            }
        });
        // Together, so that what follows the outcomes shares requests to the ledger.
        join_all(concluded).await
    }

    async fn submit_any(&self, chains: Vec<Chain>) -> Vec<Result<ChainOutcome, LedgerError>> {
        if chains.is_empty() { Vec::new() } else { self.ledger.submit(chains).await }
    }
}

/// A limit that went into shadow mode meanwhile grants whatever is wanted. While it is being lowered its waiters stay.
fn open_in_shadow(resolved: &Resolved<'_>, rooms: &mut [Room]) {
    for (limit, room) in resolved.limits().iter().zip(rooms) {
        if let (true, Room::Units(units)) = (limit.is_some_and(is_shadow), room) {
            *units = u128::MAX;
        }
    }
}

/// Takes what these want from the rooms.
fn take(rooms: &mut Rooms, turns: &[Turn]) {
    for requirement in turns.iter().flat_map(|turn| turn.command.requirements()) {
        if let Some(room) = rooms.get_mut(&requirement.key) {
            *room = room.saturating_sub(requirement.amount.into());
        }
    }
}
