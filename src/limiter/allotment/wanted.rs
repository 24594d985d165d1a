//! The part of a reserve that allotments can serve.

use std::sync::{Arc, MutexGuard};

use smallvec::SmallVec;

use super::Allotments;
use super::clock::Now;
use super::pool::{Pool, PoolState};
use super::table::Leg;
use crate::decide::allotment::Terms;
use crate::limit::Status;
use crate::limiter::resolve::Resolved;

/// What a reserve wants of one limit that hands out allotments.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The index of the requirement.
    pub(super) index: usize,
    pub(super) pool: Arc<Pool>,
    pub(super) terms: Terms,
    pub(super) units: u64,
}

/// Which of the wanted units are taken, if some find no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of them or none.
    All,
    /// All of them or none; what is taken counts as asked for.
    AllAsked,
    /// Those that find room.
    Fitting,
}

type Locked<'a> = SmallVec<[MutexGuard<'a, PoolState>; 4]>;

impl Allotments {
    /// What the command wants of limits that hand out allotments, in the order of its requirements.
    pub(super) fn wanted(&self, resolved: &Resolved<'_>) -> SmallVec<[Wanted; 4]> {
        let requirements = resolved.command.requirements().iter().zip(resolved.limits()).enumerate();
        let wanted = requirements.filter_map(|(index, (requirement, limit))| {
            let limit = limit.filter(|limit| limit.state.status == Status::Active)?;
            let terms = Terms::of(limit).filter(|_| !resolved.is_new(index))?;
            let pool = self.pool(&requirement.key, limit.account);
            Some(Wanted { index, pool, terms, units: requirement.amount.get() })
        });
        wanted.collect()
    }

    /// Notes that callers ask for these units.
    pub(super) fn ask(&self, wanted: &[Wanted], now: Now) {
        for Wanted { pool, terms, units, .. } in wanted {
            pool.lock().demand.ask(*units, terms.period_ns, now);
        }
    }

    /// Takes units of allotments, and appends what it took of each. Returns the indexes of the requirements that it took.
    ///
    /// Every pool is locked before the clock is read, so no step can begin between the reading and the taking.
    pub(super) fn take_units(
        &self,
        wanted: &[Wanted],
        extent: Extent,
        now: impl FnOnce() -> Now,
        legs: &mut SmallVec<[Leg; 1]>,
    ) -> SmallVec<[usize; 4]> {
        let mut pools: Locked<'_> = wanted.iter().map(|wanted| wanted.pool.lock()).collect();
        let now = now();
        let room = |(wanted, pool): (&Wanted, &MutexGuard<'_, PoolState>)| {
            pool.room(wanted.terms.version, now).checked_sub(wanted.units)
        };
        let left: SmallVec<[Option<u64>; 4]> = wanted.iter().zip(&pools).map(room).collect();
        if extent != Extent::Fitting && left.iter().any(Option::is_none) {
            return SmallVec::new();
        }
        let mut taken = SmallVec::new();
        for ((wanted, pool), left) in wanted.iter().zip(&mut pools).zip(left) {
            let Some(left) = left else { continue };
            let mut units = SmallVec::new();
            pool.take_units(wanted.terms.version, wanted.units, now, &mut units);
            if extent == Extent::AllAsked {
                pool.demand.ask(wanted.units, wanted.terms.period_ns, now);
            }
            legs.extend(units.into_iter().map(|units| Leg {
                pool: Arc::clone(&wanted.pool),
                units,
                reserved: units.units,
                added: false,
                are_slots: wanted.terms.are_slots,
                overage: wanted.terms.overage,
            }));
            taken.push(wanted.index);
            if pool.wants_next(left, wanted.terms, now) {
                self.wanted.notify_one();
            }
        }
        taken
    }
}
