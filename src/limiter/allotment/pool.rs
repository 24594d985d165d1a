//! The allotments of one limit at this replica.

use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use super::clock::Now;
use super::demand::Demand;
use super::held::Allotment;
use crate::decide::allotment::{Step, Take, Terms};
use crate::ledger::{AccountId, TransferId};
use crate::limit::{LeaseId, LimitKey};
use crate::time::{NS_PER_MS, NS_PER_SECOND};

/// The most allotments of one limit: a step replaces them all.
pub(super) const ALLOTMENTS_MAX: usize = crate::decide::allotment::VOIDS_MAX;
/// The next allotment is taken when less than one part in this many of the present one is left.
const PREFETCH_PART: u64 = 4;
/// The next allotment is taken this long before the present one ends, and not before half of its period: two looks of the
/// background loop.
const PREFETCH_NS: u64 = 100 * NS_PER_MS;

/// The allotments of one limit at this replica.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) key: LimitKey,
    pub(super) account: AccountId,
    /// Ids made before this may have been sent to the ledger, in milliseconds since the Unix epoch.
    since_unix_ms: u64,
    /// One chain at a time is under way.
    pub(super) chain_turn: tokio::sync::Mutex<()>,
    state: Mutex<PoolState>,
}

/// What a lock protects.
#[derive(Debug, Default)]
pub(super) struct PoolState {
    /// Those that may serve.
    pub(super) serving: SmallVec<[Allotment; 2]>,
    /// Those that serve no more, the oldest first.
    pub(super) ended: Vec<Allotment>,
    pub(super) demand: Demand,
    /// The chain whose outcome is not known.
    pub(super) under_way: Option<UnderWay>,
    /// No allotment is taken before this, by the replica's clock: the last take found nothing.
    pub(super) quiet_until_ns: u64,
    /// The replica stops, or it forgets the pool: nothing is served or taken any more.
    pub(super) stopped: bool,
    /// When a chain last opened the closed account, by the replica's clock.
    pub(super) framed_at_ns: Option<u64>,
    numbers: u64,
}

/// A chain whose outcome is not known, and what it changes.
#[derive(Debug, Clone)]
pub(super) enum UnderWay {
    Take {
        take: Take,
        terms: Terms,
        sent: Now,
    },
    /// A last step of one allotment.
    Last {
        step: Step,
        number: u64,
    },
    /// A renewing step: these allotments become one. Their callers hold at most what the step keeps.
    Renewing {
        step: Step,
        numbers: SmallVec<[u64; 2]>,
        terms: Terms,
        sent: Now,
    },
}

/// Units that a lease takes of one allotment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Units {
    /// The allotment.
    pub(super) number: u64,
    pub(super) version: u64,
    pub(super) units: u64,
    /// When the hold has ended, in the ledger's nanoseconds.
    pub(super) ends_at_ns: u64,
}

impl Pool {
    pub(super) fn new(key: LimitKey, account: AccountId, since_unix_ms: u64) -> Self {
        Self { key, account, since_unix_ms, chain_turn: tokio::sync::Mutex::new(()), state: Mutex::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the ledger may have answered a reserve of this id before the pool was made.
    pub(super) fn is_older(&self, lease: LeaseId) -> bool {
        lease.timestamp_ms() < self.since_unix_ms
    }
}

impl PoolState {
    /// The units that can be taken now of allotments of this version.
    pub(super) fn room(&self, version: u64, now: Now) -> u64 {
        if self.stopped {
            return 0;
        }
        let left: u64 = self.serving_now(version, now).map(Allotment::left).sum();
        let (numbers, ceiling) = self.merging();
        if numbers.is_empty() {
            return left;
        }
        let is_merged = |allotment: &&Allotment| numbers.contains(&allotment.number);
        let merged: u64 = self.serving_now(version, now).filter(is_merged).map(Allotment::left).sum();
        // What is not merged serves as before.
        left - merged + merged.min(ceiling)
    }

    /// The allotments that the step under way makes one, and what may be taken of them together: what the step keeps covers it.
    fn merging(&self) -> (SmallVec<[u64; 2]>, u64) {
        match &self.under_way {
            Some(UnderWay::Renewing { step, numbers, .. }) => {
                let merged = self.each().filter(|allotment| numbers.contains(&allotment.number));
                let used: u64 = merged.map(|allotment| allotment.used).sum();
                (numbers.clone(), step.keep.saturating_sub(used))
            }
            Some(UnderWay::Take { .. } | UnderWay::Last { .. }) | None => (SmallVec::new(), 0),
        }
    }

    fn serving_now(&self, version: u64, now: Now) -> impl Iterator<Item = &Allotment> {
        self.serving.iter().filter(move |allotment| allotment.serves(version, now))
    }

    /// All allotments.
    pub(super) fn each(&self) -> impl Iterator<Item = &Allotment> {
        self.ended.iter().chain(&self.serving)
    }

    fn each_mut(&mut self) -> impl Iterator<Item = &mut Allotment> {
        self.ended.iter_mut().chain(&mut self.serving)
    }

    /// Takes units of which there is [`PoolState::room`]; the oldest allotments first. Appends what was taken of each.
    pub(super) fn take_units(
        &mut self,
        version: u64,
        mut units: u64,
        now: Now,
        taken: &mut SmallVec<[Units; 1]>,
    ) {
        debug_assert!(units <= self.room(version, now), "there is room");
        let (merged, mut ceiling) = self.merging();
        for allotment in self.serving.iter_mut().filter(|allotment| allotment.serves(version, now)) {
            let is_merged = merged.contains(&allotment.number);
            let most = if is_merged { allotment.left().min(ceiling) } else { allotment.left() };
            let part = units.min(most);
            if part > 0 {
                let ends_at_ns = allotment.hold_ends_at_ns(now);
                allotment.take(part, ends_at_ns);
                taken.push(Units { number: allotment.number, version, units: part, ends_at_ns });
                units -= part;
                ceiling -= if is_merged { part } else { 0 };
            }
        }
    }

    /// Releases units that a lease held, if their allotment is still there.
    pub(super) fn release(&mut self, of: Units, units: u64) {
        if let Some(allotment) = self.find(of) {
            allotment.release(of.number, units);
        }
    }

    /// The allotment that covers units: the one of which they were taken, or the one into which that was merged.
    pub(super) fn find(&mut self, of: Units) -> Option<&mut Allotment> {
        self.each_mut().find(|allotment| allotment.holds_of(of.number))
    }

    /// Whether the next allotment should be taken before a caller waits for it, while this much is left.
    pub(super) fn wants_next(&mut self, left: u64, terms: Terms, now: Now) -> bool {
        let largest = self.serving_now(terms.version, now).map(|allotment| allotment.amount).max();
        largest.is_some_and(|amount| left < amount / PREFETCH_PART) && self.may_take(terms, now)
    }

    /// Whether the next allotment should be taken because those that callers use end soon. One that nobody used has no next
    /// one, so that an idle limit gets everything back. Slots are renewed instead.
    pub(super) fn ends_soon(&mut self, terms: Terms, now: Now) -> bool {
        let ahead_ns = PREFETCH_NS.min(terms.period_ns / 2);
        let soon = Now { own_ns: now.own_ns.saturating_add(ahead_ns), ..now };
        !terms.are_slots
            && self.serving_now(terms.version, now).any(Allotment::was_used)
            && self.serving_now(terms.version, soon).next().is_none()
            && self.may_take(terms, now)
    }

    /// Whether the demand continues, and nothing keeps the replica from a take.
    fn may_take(&mut self, terms: Terms, now: Now) -> bool {
        self.under_way.is_none()
            && now.own_ns >= self.quiet_until_ns
            && self.serving.len() < ALLOTMENTS_MAX
            && self.demand.expected(terms.period_ns, now) > 0
    }

    /// Adds an allotment.
    pub(super) fn add(
        &mut self,
        terms: Terms,
        pending: TransferId,
        amount: u64,
        sent: Now,
        recorded_at_ns: u64,
    ) -> &mut Allotment {
        self.numbers += 1;
        let number = self.numbers;
        let timeout_ns = u64::from(terms.timeout_seconds()) * NS_PER_SECOND;
        self.serving.push(Allotment {
            number,
            pending,
            terms,
            amount,
            used: 0,
            used_of: SmallVec::new(),
            sent,
            recorded_at_ns,
            expires_at_ns: recorded_at_ns.saturating_add(timeout_ns),
            last_end_ns: 0,
            stepped_at_ns: None,
        });
        let last = self.serving.len() - 1;
        &mut self.serving[last]
    }

    /// Removes the allotments that the ledger has released. Returns how many there were.
    pub(super) fn remove_expired(&mut self, now: Now) -> usize {
        let expired: SmallVec<[u64; 2]> =
            self.each().filter(|it| it.expires_at_ns <= now.ledger_ns).map(|it| it.number).collect();
        expired.iter().for_each(|&number| self.remove_expired_one(number));
        expired.len()
    }

    /// Removes an allotment that the ledger has released. What callers held of it has ended.
    pub(super) fn remove_expired_one(&mut self, number: u64) {
        self.remove(|allotment| allotment.number == number);
    }

    /// Removes allotments.
    pub(super) fn remove(&mut self, is_removed: impl Fn(&Allotment) -> bool) {
        self.serving.retain(|allotment| !is_removed(allotment));
        self.ended.retain(|allotment| !is_removed(allotment));
    }

    /// Whether there is nothing to do for it.
    pub(super) fn is_idle(&self) -> bool {
        self.serving.is_empty() && self.ended.is_empty() && self.under_way.is_none()
    }

    /// The units in allotments, and those of them that callers hold.
    pub(super) fn units(&self) -> (u64, u64) {
        let sum = |units: fn(&Allotment) -> u64| self.each().map(units).sum();
        (sum(|allotment| allotment.amount), sum(|allotment| allotment.used))
    }
}
