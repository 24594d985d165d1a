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
    /// Those that find room.
    Fitting,
}

type Locked<'a> = SmallVec<[MutexGuard<'a, PoolState>; 4]>;

impl Allotments {
    /// What the command wants of limits that hand out allotments, in the order of its requirements. A limit may have answered
    /// an id that is older than its pool, so it is left out, too.
    pub(super) fn wanted(&self, resolved: &Resolved<'_>) -> SmallVec<[Wanted; 2]> {
        let requirements = resolved.command.requirements().iter().zip(resolved.limits()).enumerate();
        let wanted = requirements.filter_map(|(index, (requirement, limit))| {
            let limit = limit.filter(|limit| limit.state.status == Status::Active)?;
            let terms = Terms::of(limit).filter(|_| !resolved.is_new(index))?;
            let pool = self.pool(&requirement.key, limit.account);
            let is_older = pool.is_older(resolved.command.lease);
            (!is_older).then(|| Wanted { index, pool, terms, units: requirement.amount.get() })
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
        let fits = |(wanted, pool): (&Wanted, &MutexGuard<'_, PoolState>)| {
            pool.room(wanted.terms.version, now) >= wanted.units
        };
        if extent == Extent::All && !wanted.iter().zip(&pools).all(fits) {
            return SmallVec::new();
        }
        let mut taken = SmallVec::new();
        for (wanted, pool) in wanted.iter().zip(&mut pools) {
            if !fits((wanted, &*pool)) {
                continue;
            }
            let mut units = SmallVec::new();
            pool.take_units(wanted.terms.version, wanted.units, now, &mut units);
            legs.extend(units.into_iter().map(|units| Leg {
                pool: Arc::clone(&wanted.pool),
                units,
                reserved: units.units,
                added: false,
                are_slots: wanted.terms.are_slots,
                overage: wanted.terms.overage,
            }));
            taken.push(wanted.index);
            if pool.wants_next(wanted.terms, now) {
                self.wanted.notify_one();
            }
        }
        taken
    }
}
