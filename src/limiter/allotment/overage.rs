//! Usage above what a lease holds in allotments.

use std::sync::Arc;

use smallvec::SmallVec;

use super::pool::Pool;
use super::table::{Entry, Leg};
use super::wanted::{Extent, Wanted};
use crate::decide::allotment::Terms;
use crate::decide::lease::{HeldLeg, Hold};
use crate::ledger::{Ledger, TransferId};
use crate::limit::{LimitKey, Status};
use crate::limiter::Limiter;
use crate::protocol::Complete;

impl<L: Ledger> Limiter<L> {
    /// Takes the overages of a lease from allotments that serve. Returns the limits whose overage found no room there.
    pub(super) fn take_overages(&self, entry: &mut Entry, command: &Complete) -> Vec<Arc<Pool>> {
        let mut exceeded = Vec::new();
        for actual in command.actuals() {
            let Some(leg) = entry.rolling_leg(&actual.key) else { continue };
            let (pool, units) =
                (Arc::clone(&leg.pool), actual.amount.saturating_sub(entry.reserved(&actual.key)));
            // Nothing more is reserved for a hold that has ended.
            let has_ended = entry.has_ended(&actual.key, self.ledger.now_ns());
            if units > 0 && (has_ended || !self.add_units(entry, &pool, units)) {
                exceeded.push(pool);
            }
        }
        exceeded
    }

    /// Takes more units of a limit for a lease, from allotments that serve. Returns whether there was room.
    pub(super) fn add_units(&self, entry: &mut Entry, pool: &Arc<Pool>, units: u64) -> bool {
        let Some(terms) = self.current_terms(pool) else { return false };
        let wanted = [Wanted { index: 0, pool: Arc::clone(pool), terms, units }];
        let mut legs = SmallVec::new();
        let taken = self.allotments.take_units(&wanted, Extent::All, || self.allotment_now(), &mut legs);
        entry.legs.extend(legs.into_iter().map(|leg| Leg { added: true, ..leg }));
        !taken.is_empty()
    }

    /// The terms by which a limit hands out allotments now; `None` if it hands out none of this account.
    pub(super) fn current_terms(&self, pool: &Pool) -> Option<Terms> {
        let entry = self.registry.snapshot().get(&pool.key)?;
        let limit = &entry.limit;
        let is_current = limit.account == pool.account && limit.state.status == Status::Active;
        Terms::of(limit).filter(|_| is_current)
    }
}

impl Entry {
    fn rolling_leg(&self, key: &LimitKey) -> Option<&Leg> {
        self.legs.iter().find(|leg| !leg.are_slots && leg.pool.key == *key)
    }

    fn has_ended(&self, key: &LimitKey, ledger_ns: u64) -> bool {
        let of_limit = |leg: &&Leg| leg.pool.key == *key;
        self.legs.iter().filter(of_limit).all(|leg| leg.units.ends_at_ns <= ledger_ns)
    }

    /// What the lease took of a limit from allotments, extensions included.
    pub(super) fn reserved(&self, key: &LimitKey) -> u64 {
        self.legs.iter().filter(|leg| leg.pool.key == *key).map(|leg| leg.reserved).sum()
    }

    /// The legs of the exceeded limits, as the settlement of a lease in the ledger takes them. It only reserves their overage
    /// in addition: no transfer of the lease holds what is in allotments.
    pub(super) fn exceeded_legs(&self, exceeded: &[Arc<Pool>]) -> Vec<HeldLeg> {
        let leg = |pool: &Arc<Pool>| {
            let of_limit = || self.legs.iter().filter(|leg| leg.pool.key == pool.key);
            let first = of_limit().next()?;
            Some(HeldLeg {
                transfer: TransferId::from_u128(0),
                account: pool.account,
                amount: self.reserved(&pool.key).into(),
                excess: 0,
                hold: Hold::Rolling(first.overage),
                expires_at_ns: of_limit().map(|leg| leg.units.ends_at_ns).max()?,
                timeout_seconds: 0,
                reserved_at_ns: 0,
            })
        };
        exceeded.iter().filter_map(leg).collect()
    }
}
