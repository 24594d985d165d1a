//! The leases that wait in this process: their callers, the bounds, and what may have made room for them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use tokio::time::{Duration, Instant};

use super::WaitingOptions;
use super::expiries::Expiries;
use super::queue::{Queues, Rank, WaiterId};
use crate::ledger::AccountId;
use crate::limit::{LeaseId, LimitKey, Queueing};
use crate::limiter::LimiterError;
use crate::protocol::{Reserve, ReserveOutcome};
use crate::registry::{RefillObserver, Waiters};

/// What a caller that waits is told.
pub(super) type Answer = Result<ReserveOutcome, LimiterError>;

/// The leases that wait in this process.
#[derive(Debug)]
pub(in crate::limiter) struct Waiting {
    pub(super) options: WaitingOptions,
    /// Ranks count from here.
    started: Instant,
    state: Mutex<State>,
    /// Wakes the asker.
    pub(super) changed: Notify,
    counts: Arc<WaitingCounts>,
}

/// What became of the requests that were ready to wait.
#[derive(Debug, Default)]
pub struct WaitingCounts {
    leases: AtomicUsize,
    callers: AtomicUsize,
    queued: AtomicU64,
    granted: AtomicU64,
    left: AtomicU64,
}

impl WaitingCounts {
    /// The requests that wait now, and those whose first attempt is under way.
    pub fn callers(&self) -> usize {
        self.callers.load(Ordering::Relaxed)
    }

    /// The leases that had to wait.
    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// Of these, the leases that were granted.
    pub fn granted(&self) -> u64 {
        self.granted.load(Ordering::Relaxed)
    }

    /// Of these, the leases whose callers all left.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
struct State {
    queues: Queues,
    waiters: HashMap<WaiterId, Waiter>,
    by_lease: HashMap<LeaseId, WaiterId>,
    /// The extends that wait, by their lease.
    extends: HashMap<LeaseId, Vec<WaiterId>>,
    next_number: u64,
    callers: usize,
    /// The limits whose first waiters must be looked at.
    due: HashSet<LimitKey>,
    /// When schedules have refilled what a first waiter lacks.
    expected: HashMap<LimitKey, Instant>,
    expiries: Expiries,
    accounts: HashMap<AccountId, LimitKey>,
    is_asked: bool,
    is_stopped: bool,
}

#[derive(Debug)]
struct Waiter {
    command: Arc<Reserve>,
    rank: Rank,
    progress: Progress,
    phase: Phase,
    ends: bool,
    was_queued: bool,
    /// An extend is told when its turn has come, and carries itself out.
    is_extend: bool,
    callers: Vec<(u64, oneshot::Sender<Answer>)>,
}

/// How far the attempts at a lease have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Progress {
    /// The number of the next attempt. 0: the first one was not sent, or has no answer.
    pub(super) attempt: u8,
    /// The index of the requirement that found no room last.
    pub(super) limiting: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// An attempt is under way.
    Trying,
    /// It stands in its queues.
    Queued,
    /// Its end is under way.
    Ending,
}

/// A waiter whose turn it is.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    pub(super) id: WaiterId,
    pub(super) is_extend: bool,
    pub(super) command: Arc<Reserve>,
    pub(super) progress: Progress,
}

/// A caller among those of a waiter. It must leave when it goes.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) waiter: WaiterId,
    pub(super) number: u64,
    pub(super) answer: oneshot::Receiver<Answer>,
    pub(super) deadline: Instant,
}

/// What a reserve meets here.
pub(super) enum Entry {
    /// Its lease is new here, and ready to wait. Somebody must send it or queue it.
    New { seat: Seat, turn: Turn, is_behind: bool },
    /// Its lease is here already.
    Joined(Seat),
    /// Its lease is here for other requirements.
    Conflict,
    /// It does not wait, and a waiter of this limit is before it.
    Behind(LimitKey),
    /// It does not wait, and nobody is before it.
    Passes,
}

/// What to do with a waiter whose attempt has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// It waits. `starts` says that the asker must be started.
    Queued { starts: bool },
    /// Its wait ends now.
    Ends,
    /// All its callers have left.
    Gone,
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

    fn lock(&self) -> MutexGuard<'_, State> {
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
        let is_behind = behind.is_some();
        let id = WaiterId(state.number());
        let command = Arc::new(command.clone());
        let progress = Progress::default();
        let waiter = Waiter {
            command: Arc::clone(&command),
            rank,
            progress,
            phase: Phase::Trying,
            ends: false,
            was_queued: false,
            is_extend: false,
            callers: Vec::with_capacity(1),
        };
        state.by_lease.insert(command.lease, id);
        state.waiters.insert(id, waiter);
        self.counts.leases.fetch_add(1, Ordering::SeqCst);
        let seat = self.add_caller(&mut state, id, now + wait);
        Entry::New { seat, turn: Turn { id, is_extend: false, command, progress }, is_behind }
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
        let waiter = Waiter {
            command: Arc::clone(&command),
            rank,
            progress: Progress::default(),
            phase: Phase::Queued,
            ends: false,
            was_queued: true,
            is_extend: true,
            callers: Vec::with_capacity(1),
        };
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
        if waiter.callers.is_empty() && waiter.phase == Phase::Queued {
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

    fn remove(&self, state: &mut State, id: WaiterId) -> Option<Waiter> {
        self.unqueue(state, id);
        let waiter = state.waiters.remove(&id)?;
        let lease = waiter.command.lease;
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
    /// were not looked at yet. Extends that fit have been told.
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
            let turn = waiter.turn(id);
            if turn.is_extend {
                // Its caller finds its channel closed, and has the turn.
                self.remove(&mut state, id);
            }
            Some(turn)
        });
        (fitting.collect(), unseen)
    }

    /// Notes what a look found out about a waiter: the accounts of its limits, which of them lacks room, and when a schedule will
    /// have refilled it.
    pub(super) fn note_look(
        &self,
        id: WaiterId,
        accounts: impl Iterator<Item = (AccountId, LimitKey)>,
        lacking: Option<(usize, Option<Instant>)>,
    ) {
        let mut state = self.lock();
        let State { accounts: known, waiters, expected, .. } = &mut *state;
        known.extend(accounts);
        let Some((waiter, (limiting, room_at))) = waiters.get_mut(&id).zip(lacking) else { return };
        waiter.progress.limiting = limiting;
        let key = waiter.command.requirements().get(limiting).map(|requirement| requirement.key.clone());
        if let Some((key, room_at)) = key.zip(room_at) {
            expected.insert(key, room_at);
        }
    }

    /// The limits whose first waiters must be looked at now; all of them if `polls`. `None` if nobody waits: the asker ends.
    pub(super) fn take_due(&self, polls: bool) -> Option<HashSet<LimitKey>> {
        let mut state = self.lock();
        if state.queues.len() == 0 {
            state.is_asked = false;
            (state.due, state.expected, state.accounts) = Default::default();
            return None;
        }
        if polls {
            state.expected.clear();
            state.due.clear();
            return Some(state.queues.keys().cloned().collect());
        }
        let (now, State { expected, expiries, due, queues, .. }) = (Instant::now(), &mut *state);
        due.extend(expected.extract_if(|_, at| *at <= now).map(|(key, _)| key));
        due.extend(expiries.take_due(now).into_iter().filter(|key| queues.waiters(key) > 0));
        Some(std::mem::take(due))
    }

    /// When a schedule will have refilled what a first waiter lacks, or a reservation expires.
    pub(super) fn next_expected(&self) -> Option<Instant> {
        let state = self.lock();
        let expiry = state.expiries.next(|key| state.queues.waiters(key) > 0);
        state.expected.values().copied().chain(expiry).min()
    }

    /// Reservations that were granted to a waiter expire at these times.
    pub(super) fn note_expiries<'a>(&self, expiries: impl Iterator<Item = (&'a LimitKey, Instant)>) {
        let mut state = self.lock();
        expiries.for_each(|(key, at)| state.expiries.note(key, at));
    }

    /// There may be more room of a limit.
    fn may_have_room(&self, key: impl FnOnce(&State) -> Option<LimitKey>) {
        if self.counts.leases.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut state = self.lock();
        if let Some(key) = key(&state)
            && state.queues.waiters(&key) > 0
        {
            state.due.insert(key);
            self.changed.notify_one();
        }
    }

    /// Units of the limit with this account were released.
    pub(in crate::limiter) fn released(&self, account: AccountId) {
        self.may_have_room(|state| state.accounts.get(&account).cloned());
    }
}

impl Waiter {
    fn turn(&self, id: WaiterId) -> Turn {
        let Self { is_extend, progress, .. } = *self;
        Turn { id, is_extend, command: Arc::clone(&self.command), progress }
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}

impl RefillObserver for Waiting {
    fn refilled(&self, account: AccountId) {
        self.released(account);
    }
}

impl Waiters for Waiting {
    fn defined(&self, key: &LimitKey) {
        self.may_have_room(|_| Some(key.clone()));
    }

    fn units(&self, key: &LimitKey) -> u128 {
        self.lock().queues.units(key)
    }
}
