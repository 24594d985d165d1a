//! Exhaustion: what this process knows of a limit that the ledger has just found without room.
//!
//! Until something expires or is released, the ledger would deny the same amount again, so this process can deny it alone. It
//! knows when its own reservations expire and what its own completes release. It knows nothing of other replicas, so a
//! conclusion holds for a short time only; then one caller, the *probe*, asks the ledger again.
//!
//! The estimate is an upper bound of the free units. If it is too high, a caller asks the ledger and finds no room,
//! which costs a transfer. A caller is admitted if an expiry, a complete or a definition version known here has made
//! room. Only while the ledger is late to expire a reservation may such a caller be denied.

use std::collections::VecDeque;

/// The most expiries that are tracked for a limit; probes find later ones.
const EXPECTED_MAX: usize = 4_096;
/// The pause before a caller tries again to take the units of a due expiry that the ledger had not made yet. The
/// ledger makes expiries after a request.
const RETRY_NS: u64 = 5_000_000;
/// The most such retries in a row.
const RETRIES_MAX: u32 = 8;
/// The longest delay of the ledger's expiries that is assumed.
const LAG_MAX_NS: u64 = 50_000_000;
const LAG_STEP_NS: u64 = 2_000_000;

/// The knowledge of one exhausted limit. Times are the ledger's, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Exhaustion {
    /// The most units that can be free, as far as this process knows.
    units: u128,
    /// From this time on one caller may probe the ledger.
    until_ns: u64,
    bound_ns: u64,
    /// Reservations of this process, in the order in which they expire.
    expected: VecDeque<ExpectedRelease>,
    /// The units that hints have told callers to come for, in the order of their times. No lag is added: the hints allow for it.
    told: VecDeque<ExpectedRelease>,
    /// The units of future expiries that hints have promised to callers.
    promised: u128,
    /// Counts the units that were released or expired, to tell what changed after a ticket was given.
    released: u128,
    /// A probe found room, and so did every caller since.
    opening: bool,
    /// How late the ledger makes expiries, by what was seen lately.
    lag_ns: u64,
    retries: u32,
    /// Whether reservations on the limit expire at known times.
    has_expiries: bool,
}

#[derive(Debug, Clone, Copy)]
struct ExpectedRelease {
    at_ns: u64,
    units: u64,
}

/// What to do with a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advice {
    /// There may be room: ask the ledger, and report the outcome with the ticket.
    Ask(Ticket),
    /// There is no room: deny.
    Wait {
        /// When there will be room for this caller, if known.
        until_ns: Option<u64>,
    },
}

/// The admission of one caller to the ledger. It must be handed back with the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    units: u64,
    reason: Reason,
    released_before: u128,
}

/// Why a caller was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// The units were thought to be free, and were taken off the estimate.
    Free,
    /// To find out whether the ledger has made an expiry that is due.
    Due,
    /// To find out whether there is room.
    Probe,
    /// The caller may not be denied here, because its lease may have been granted before.
    Bypass,
}

impl Exhaustion {
    /// The ledger has just refused `units`. Callers are denied for at most `bound_ns` without asking it again.
    pub(crate) fn exhausted(now_ns: u64, bound_ns: u64, units: u64) -> Self {
        Self {
            units: u128::from(units.saturating_sub(1)),
            until_ns: now_ns.saturating_add(bound_ns),
            bound_ns,
            expected: VecDeque::new(),
            told: VecDeque::new(),
            promised: 0,
            released: 0,
            opening: false,
            lag_ns: 0,
            retries: 0,
            has_expiries: false,
        }
    }

    /// Admits a caller of `units` that may not be denied here.
    pub(crate) fn bypass(&mut self, now_ns: u64, units: u64) -> Ticket {
        self.collect_due(now_ns);
        let reason = if self.take(units) { Reason::Free } else { Reason::Bypass };
        self.ticket(units, reason)
    }

    /// Whether to ask the ledger for `units`.
    pub(crate) fn ask(&mut self, now_ns: u64, units: u64) -> Advice {
        self.collect_due(now_ns);
        if self.take(units) {
            return Advice::Ask(self.ticket(units, Reason::Free));
        }
        if now_ns < self.until_ns {
            return Advice::Wait { until_ns: self.promise(now_ns, units) };
        }
        // Later callers wait for the outcome of this one.
        self.until_ns = now_ns.saturating_add(self.bound_ns);
        let reason = if self.is_due(now_ns, units) { Reason::Due } else { Reason::Probe };
        Advice::Ask(self.ticket(units, reason))
    }

    /// Takes units off the estimate of what is free; false if they are more.
    fn take(&mut self, units: u64) -> bool {
        let is_free = self.units >= u128::from(units);
        if is_free {
            self.units -= u128::from(units);
        }
        is_free
    }

    fn ticket(&self, units: u64, reason: Reason) -> Ticket {
        Ticket { units, reason, released_before: self.released }
    }

    /// Whether the next expiry is due and covers the units, and is only assumed to be late.
    fn is_due(&self, now_ns: u64, units: u64) -> bool {
        self.expected.front().is_some_and(|first| first.at_ns <= now_ns && first.units >= units)
    }

    /// The ledger granted at `now_ns`. The reservation expires at `expires_at_ns`, if that is known.
    pub(crate) fn granted(&mut self, now_ns: u64, ticket: Ticket, expires_at_ns: Option<u64>) {
        self.retries = 0;
        self.lag_ns -= self.lag_ns / 64;
        match ticket.reason {
            Reason::Free => {}
            // The due expiry has happened. Another caller may have taken it off the list meanwhile.
            Reason::Due if self.is_due(now_ns, ticket.units) => self.take_first_expected(ticket.units),
            Reason::Due => self.units = self.units.saturating_sub(ticket.units.into()),
            Reason::Probe | Reason::Bypass => self.opening = true,
        }
        if self.opening {
            // More is free than was known: admit twice as many, and so on until one is denied.
            self.units = self.units.saturating_add(u128::from(ticket.units) * 2);
        }
        if let Some(at_ns) = expires_at_ns {
            self.has_expiries = true;
            self.expect(ExpectedRelease { at_ns, units: ticket.units });
        }
    }

    /// The ledger refused the units. Returns when there will be room for this caller, if known.
    pub(crate) fn refused(&mut self, now_ns: u64, ticket: Ticket) -> Option<u64> {
        let was_opening = std::mem::take(&mut self.opening);
        // A bypassing caller may have asked for more than a probe would.
        if ticket.reason != Reason::Bypass {
            self.until_ns = now_ns.saturating_add(self.bound_ns);
        }
        // What was released since the ticket was given may have come after the ledger decided.
        let released_since = self.released.saturating_sub(ticket.released_before);
        self.units =
            self.units.min(u128::from(ticket.units.saturating_sub(1)).saturating_add(released_since));
        let is_late = match ticket.reason {
            Reason::Free => !was_opening,
            Reason::Due => true,
            Reason::Probe | Reason::Bypass => false,
        };
        if is_late && self.retries < RETRIES_MAX {
            return self.try_again(now_ns, ticket);
        }
        self.promise(now_ns, ticket.units)
    }

    /// The ledger expired late, or another replica took the room. A hint needs a known time of expiry.
    fn try_again(&mut self, now_ns: u64, ticket: Ticket) -> Option<u64> {
        self.retries += 1;
        self.lag_ns = (self.lag_ns + LAG_STEP_NS).min(LAG_MAX_NS);
        let until_ns = now_ns.saturating_add(RETRY_NS);
        let again = ExpectedRelease { at_ns: until_ns.saturating_sub(self.lag_ns), units: ticket.units };
        // The list still holds a due expiry.
        if ticket.reason == Reason::Free && !self.expect(again) || !self.has_expiries {
            return None;
        }
        self.promised = self.promised.saturating_add(ticket.units.into());
        Some(until_ns)
    }

    /// Hands the ticket back, because the outcome tells nothing about this limit.
    pub(crate) fn unused(&mut self, ticket: Ticket) {
        match ticket.reason {
            Reason::Free => self.units = self.units.saturating_add(ticket.units.into()),
            // The next caller probes.
            Reason::Due | Reason::Probe => self.until_ns = 0,
            Reason::Bypass => {}
        }
    }

    /// The ledger refused the units to a caller without a ticket, who was sent before the limit was known to be exhausted.
    /// Returns when there will be room for this caller, if known.
    pub(crate) fn refused_unseen(&mut self, now_ns: u64, units: u64) -> Option<u64> {
        self.collect_due(now_ns);
        self.promise(now_ns, units)
    }

    /// A hint has told a caller to come for the units at this time, so it must be let through then.
    pub(crate) fn expect_caller(&mut self, at_ns: u64, units: u64) {
        if self.told.len() < EXPECTED_MAX {
            // It nearly always goes to the end.
            let behind = self.told.iter().rev().take_while(|other| other.at_ns > at_ns).count();
            self.told.insert(self.told.len() - behind, ExpectedRelease { at_ns, units });
        }
    }

    /// A complete released the units.
    pub(crate) fn released(&mut self, units: u128) {
        self.units = self.units.saturating_add(units);
        self.released = self.released.saturating_add(units);
        self.promised = self.promised.saturating_sub(units);
    }

    fn collect_due(&mut self, now_ns: u64) {
        while let Some(&ExpectedRelease { at_ns, units }) = self.told.front()
            && at_ns <= now_ns
        {
            self.told.pop_front();
            self.released(units.into());
        }
        while let Some(&ExpectedRelease { at_ns, units }) = self.expected.front()
            && at_ns.saturating_add(self.lag_ns) <= now_ns
        {
            self.expected.pop_front();
            self.released(units.into());
        }
    }

    /// Takes units off the next expiry, at most as many as it has.
    fn take_first_expected(&mut self, units: u64) {
        if let Some(first) = self.expected.front_mut() {
            first.units -= units;
            if first.units == 0 {
                self.expected.pop_front();
            }
            self.released = self.released.saturating_add(units.into());
            self.promised = self.promised.saturating_sub(units.into());
        }
    }

    /// Adds an expiry to the list; false if the list is full.
    fn expect(&mut self, new: ExpectedRelease) -> bool {
        if self.expected.len() >= EXPECTED_MAX {
            return false;
        }
        // It nearly always goes to the end.
        let behind = self.expected.iter().rev().take_while(|other| other.at_ns > new.at_ns).count();
        self.expected.insert(self.expected.len() - behind, new);
        true
    }

    /// Promises the next units that no other caller was promised. Returns when they will be free, if known.
    fn promise(&mut self, now_ns: u64, units: u64) -> Option<u64> {
        let wanted = self.promised.saturating_add(units.into());
        let mut free = self.units;
        if free >= wanted {
            self.promised = wanted;
            return Some(now_ns);
        }
        let at = self.expected.iter().find(|next| {
            free = free.saturating_add(next.units.into());
            free >= wanted
        })?;
        self.promised = wanted;
        Some(at.at_ns.saturating_add(self.lag_ns))
    }
}

#[cfg(test)]
mod tests;
