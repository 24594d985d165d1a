//! The leases that wait in this process: their callers, the bounds, and what may have made room for them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use tokio::time::{Duration, Instant};

use super::WaitingOptions;
use super::counts::WaitingCounts;
use super::expiries::Expiries;
use super::queue::{Queues, Rank, WaiterId};
use super::waiter::{Answer, Entry, Phase, Placed, Progress, Seat, Turn, Waiter};
use crate::ledger::{AccountId, LedgerError};
use crate::limit::{LeaseId, LimitKey, Queueing};
use crate::protocol::{Requirement, Reserve, ReserveOutcome};

/// The most first attempts at one limit that are under way. More leases wait unsent for what the asker finds, so a crowd of callers
/// costs few refused attempts.
const FIRST_ATTEMPTS_MAX: usize = 16;

/// The leases that wait in this process.
#[derive(Debug)]
pub(in crate::limiter) struct Waiting {
    pub(super) options: WaitingOptions,
    /// Ranks count from here.
    started: Instant,
    state: Mutex<State>,
    /// Wakes the asker.
    pub(super) changed: Notify,
    pub(super) counts: Arc<WaitingCounts>,
}

/// Who waits, and for what.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) queues: Queues,
    pub(super) waiters: HashMap<WaiterId, Waiter>,
    pub(super) by_lease: HashMap<LeaseId, WaiterId>,
    /// The extends that wait, by their lease.
    pub(super) extends: HashMap<LeaseId, Vec<WaiterId>>,
    /// How many first attempts are under way, by limit.
    pub(super) first_attempts: HashMap<LimitKey, usize>,
    pub(super) next_number: u64,
    pub(super) callers: usize,
    /// The limits whose first waiters must be looked at.
    pub(super) due: HashSet<LimitKey>,
    /// When schedules have refilled what a first waiter lacks.
    pub(super) expected: HashMap<LimitKey, Instant>,
    pub(super) expiries: Expiries,
    pub(super) accounts: HashMap<AccountId, LimitKey>,
    pub(super) is_asked: bool,
    pub(super) is_stopped: bool,
}

impl Waiting {
    pub(in crate::limiter) fn new(options: WaitingOptions) -> Self {
        Self {
            options,
            started: Instant::now(),
            state: Mutex::default(),
            changed: Notify::new(),
            counts: Arc::default(),
        }
    }

    pub(in crate::limiter) fn counts(&self) -> Arc<WaitingCounts> {
        Arc::clone(&self.counts)
    }

    /// Whether a reserve must ask here.
    pub(in crate::limiter) fn concerns(&self, command: &Reserve) -> bool {
        command.wait().max_ms() > 0 || self.counts.leases.load(Ordering::SeqCst) > 0
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rank(&self, command: &Reserve) -> Rank {
        let us = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let aging_us = us(self.options.priority_aging);
        Rank::new(us(self.started.elapsed()), command.wait().priority(), aging_us)
    }

    /// A reserve comes.
    pub(super) fn enter(&self, command: &Reserve, queueing: impl Fn(&LimitKey) -> Queueing) -> Entry {
        let (rank, now) = (self.rank(command), Instant::now());
        let wait = Duration::from_millis(command.wait().max_ms());
        let mut state = self.lock();
        let is_full = state.is_stopped || state.callers >= self.options.waiters_max;
        if let Some(&id) = state.by_lease.get(&command.lease) {
            let is_same = |waiter: &Waiter| waiter.command.requirements() == command.requirements();
            if !state.waiters.get(&id).is_some_and(is_same) {
                return Entry::Conflict;
            }
            let deadline = if is_full { now } else { now + wait };
            return Entry::Joined(self.add_caller(&mut state, id, deadline));
        }
        let behind = state.queues.behind(command, rank);
        if wait.is_zero() || is_full || !state.queues.has_places(command, queueing) {
            return behind.map_or(Entry::Passes, |key| Entry::Behind(key.clone()));
        }
        let is_behind = behind.is_some() || state.is_crowded(command);
        let id = WaiterId(state.number());
        let command = Arc::new(command.clone());
        let mut waiter = Waiter::new(Arc::clone(&command), rank, false);
        if !is_behind {
            waiter.is_first_attempt = true;
            state.count_first_attempt(&command);
        }
        let turn = waiter.turn(id);
        state.by_lease.insert(command.lease, id);
        state.waiters.insert(id, waiter);
        self.counts.leases.fetch_add(1, Ordering::SeqCst);
        let seat = self.add_caller(&mut state, id, now + wait);
        Entry::New { seat, turn, is_behind }
    }

    /// Whether a reserve would be behind a waiter.
    pub(super) fn is_behind(&self, command: &Reserve) -> bool {
        let rank = self.rank(command);
        self.lock().queues.behind(command, rank).is_some()
    }

    /// Puts an extend into its queue. The bool says that the asker must be started. `None` if there is no place for it.
    pub(super) fn seat_extend(
        &self,
        wanted: Reserve,
        deadline: Instant,
        queueing: impl Fn(&LimitKey) -> Queueing,
    ) -> Option<(Seat, bool)> {
        let rank = self.rank(&wanted);
        let mut state = self.lock();
        let is_full = state.is_stopped || state.callers >= self.options.waiters_max;
        if is_full || !state.queues.has_places(&wanted, &queueing) {
            return None;
        }
        let (id, command) = (WaiterId(state.number()), Arc::new(wanted));
        let waiter = Waiter::new(Arc::clone(&command), rank, true);
        state.extends.entry(command.lease).or_default().push(id);
        state.waiters.insert(id, waiter);
        self.counts.leases.fetch_add(1, Ordering::SeqCst);
        self.counts.queued.fetch_add(1, Ordering::Relaxed);
        let seat = self.add_caller(&mut state, id, deadline);
        let State { queues, due, .. } = &mut *state;
        due.extend(command.requirements().iter().map(|requirement| requirement.key.clone()));
        queues.insert(id, command, rank, queueing);
        self.changed.notify_one();
        Some((seat, !std::mem::replace(&mut state.is_asked, true)))
    }

    /// A lease was settled: its extends need not wait any longer.
    pub(in crate::limiter) fn lease_settled(&self, lease: LeaseId) {
        if self.counts.leases.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut state = self.lock();
        for id in state.extends.remove(&lease).unwrap_or_default() {
            self.remove(&mut state, id);
        }
    }

    fn add_caller(&self, state: &mut State, waiter: WaiterId, deadline: Instant) -> Seat {
        let (sender, answer) = oneshot::channel();
        let number = state.number();
        if let Some(waiter) = state.waiters.get_mut(&waiter) {
            waiter.callers.push((number, sender));
        }
        state.callers += 1;
        self.counts.callers.store(state.callers, Ordering::Relaxed);
        Seat { waiter, number, answer, deadline }
    }

    /// A caller leaves. A lease without callers stops to wait, unless an attempt or its end is under way.
    pub(super) fn leave(&self, id: WaiterId, number: u64) {
        let mut state = self.lock();
        state.callers -= 1;
        self.counts.callers.store(state.callers, Ordering::Relaxed);
        let Some(waiter) = state.waiters.get_mut(&id) else { return };
        waiter.callers.retain(|(other, _)| *other != number);
        if waiter.is_extend || waiter.callers.is_empty() && waiter.phase == Phase::Queued {
            // An extend leaves at its deadline, too.
            self.counts.left.fetch_add(u64::from(!waiter.is_extend), Ordering::Relaxed);
            self.remove(&mut state, id);
        }
    }

    /// Puts a waiter into its queues behind an attempt.
    pub(super) fn place(
        &self,
        id: WaiterId,
        progress: Progress,
        queueing: impl Fn(&LimitKey) -> Queueing,
    ) -> Placed {
        let mut state = self.lock();
        let is_stopped = state.is_stopped;
        let Some(waiter) = state.waiters.get_mut(&id) else { return Placed::Gone };
        waiter.progress = progress;
        if std::mem::take(&mut waiter.is_first_attempt) {
            let command = Arc::clone(&waiter.command);
            state.end_first_attempt(&command);
        }
        let Some(waiter) = state.waiters.get_mut(&id) else { return Placed::Gone };
        if waiter.callers.is_empty() {
            self.remove(&mut state, id);
            return Placed::Gone;
        }
        if waiter.ends || is_stopped {
            waiter.phase = Phase::Ending;
            self.unqueue(&mut state, id);
            return Placed::Ends;
        }
        waiter.phase = Phase::Queued;
        if !waiter.was_queued {
            waiter.was_queued = true;
            self.counts.queued.fetch_add(1, Ordering::Relaxed);
            let (command, rank) = (Arc::clone(&waiter.command), waiter.rank);
            let State { queues, due, .. } = &mut *state;
            due.extend(command.requirements().iter().map(|requirement| requirement.key.clone()));
            queues.insert(id, command, rank, queueing);
            self.changed.notify_one();
        }
        let starts = !state.is_asked;
        state.is_asked = true;
        Placed::Queued { starts }
    }

    /// Ends a wait, at once or behind the attempt that is under way. The turn of a wait whose end is for the caller to carry out.
    pub(super) fn end(&self, id: WaiterId) -> Option<Turn> {
        let mut state = self.lock();
        let waiter = state.waiters.get_mut(&id)?;
        if waiter.is_extend {
            self.remove(&mut state, id);
            return None;
        }
        waiter.ends = true;
        if waiter.phase != Phase::Queued {
            return None;
        }
        waiter.phase = Phase::Ending;
        let turn = waiter.turn(id);
        self.unqueue(&mut state, id);
        Some(turn)
    }

    /// Ends all waits, and lets nobody wait from now on. The turns of those whose end is for the caller to carry out.
    pub(super) fn stop(&self) -> Vec<Turn> {
        let ids: Vec<WaiterId> = {
            let mut state = self.lock();
            state.is_stopped = true;
            state.waiters.keys().copied().collect()
        };
        ids.into_iter().filter_map(|id| self.end(id)).collect()
    }

    /// Tells all callers of a lease the outcome.
    pub(super) fn finish(&self, id: WaiterId, answer: &Answer) {
        let mut state = self.lock();
        let Some(waiter) = self.remove(&mut state, id) else { return };
        if waiter.was_queued && matches!(answer, Ok(ReserveOutcome::Granted { .. })) {
            self.counts.granted.fetch_add(1, Ordering::Relaxed);
        }
        drop(state);
        for (_, caller) in waiter.callers {
            // A caller that left does not hear it.
            drop(caller.send(answer.clone()));
        }
    }

    /// The attempt or the end of a waiter will have no outcome. One that stands in its queues waits on.
    pub(super) fn abandon(&self, id: WaiterId) {
        let is_queued = self.lock().waiters.get(&id).is_none_or(|waiter| waiter.phase == Phase::Queued);
        if !is_queued {
            let message = "a task of the waiting has failed; see the log".to_owned();
            self.finish(id, &Err(LedgerError::Unexpected(message).into()));
        }
    }

    fn remove(&self, state: &mut State, id: WaiterId) -> Option<Waiter> {
        self.unqueue(state, id);
        let waiter = state.waiters.remove(&id)?;
        let lease = waiter.command.lease;
        if waiter.is_first_attempt {
            state.end_first_attempt(&waiter.command);
        }
        if !waiter.is_extend {
            state.by_lease.remove(&lease);
        } else if let Some(extends) = state.extends.get_mut(&lease) {
            extends.retain(|extend| *extend != id);
            if extends.is_empty() {
                state.extends.remove(&lease);
            }
        }
        self.counts.leases.fetch_sub(1, Ordering::SeqCst);
        Some(waiter)
    }

    /// Takes a waiter out of its queues. Those behind it may be the first now.
    fn unqueue(&self, state: &mut State, id: WaiterId) {
        let Some(command) = state.queues.command(id).map(Arc::clone) else { return };
        state.queues.remove(id);
        state.due.extend(command.requirements().iter().map(|requirement| requirement.key.clone()));
        self.changed.notify_one();
    }

    /// Whose turn it is in the queues of `keys`: those that fit, whose attempts are under way from now on, and those whose limits
    /// were not looked at yet. Extends that fit are told so. They keep their place, and the room for it, until they are carried out.
    pub(super) fn turns(
        &self,
        keys: &HashSet<LimitKey>,
        rooms: &HashMap<LimitKey, u128>,
    ) -> (Vec<Turn>, Vec<Turn>) {
        let mut state = self.lock();
        let turns = state.queues.turns(keys, rooms);
        let unseen =
            turns.unseen.into_iter().filter_map(|id| Some(state.waiters.get(&id)?.turn(id))).collect();
        let fitting = turns.fitting.into_iter().filter_map(|id| {
            let waiter = state.waiters.get_mut(&id)?;
            waiter.phase = Phase::Trying;
            if waiter.is_extend {
                // Its caller finds its channel closed, and has the turn.
                waiter.callers.clear();
                return None;
            }
            Some(waiter.turn(id))
        });
        (fitting.collect(), unseen)
    }
}

impl State {
    /// Whether as many first attempts are under way as may be, of one of the limits.
    fn is_crowded(&self, command: &Reserve) -> bool {
        let attempts = |requirement: &Requirement| self.first_attempts.get(&requirement.key).copied();
        command.requirements().iter().any(|it| attempts(it).unwrap_or(0) >= FIRST_ATTEMPTS_MAX)
    }

    fn count_first_attempt(&mut self, command: &Reserve) {
        for requirement in command.requirements() {
            *self.first_attempts.entry(requirement.key.clone()).or_default() += 1;
        }
    }

    fn end_first_attempt(&mut self, command: &Reserve) {
        for requirement in command.requirements() {
            let Some(attempts) = self.first_attempts.get_mut(&requirement.key) else { continue };
            *attempts -= 1;
            if *attempts == 0 {
                self.first_attempts.remove(&requirement.key);
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}
