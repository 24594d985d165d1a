//! Denials that need no ledger: what one replica knows of a limit that was just found exhausted.
//!
//! The ledger said that an amount does not fit. Until something comes back, that stays so: what this replica sends
//! before then would be denied as well. It knows when its own reservations come back and what its own completes free;
//! of other replicas it knows nothing, so whatever it concludes holds for a short time only, after which one caller
//! is let through to find out.
//!
//! The estimate is an upper bound of what this replica has seen to be free: it may let a caller through for whom there
//! is no room, which costs a transfer; it keeps none back for whom a return, a complete or a change that this replica
//! knows of has made room, but for how late the ledger is seen to give back.

use std::collections::VecDeque;

/// How many returns are kept at the most; later ones are found by letting a caller through.
const RETURNS_MAX: usize = 4_096;
/// How soon what should have come back is tried again if it had not: the ledger lets expire behind a request.
const RETRY_NS: u64 = 5_000_000;
/// How often in a row.
const RETRIES_MAX: u32 = 8;
/// How much later than promised the ledger may be thought to give back.
const LAG_MAX_NS: u64 = 50_000_000;
const LAG_STEP_NS: u64 = 2_000_000;

/// What is known of one exhausted limit. Times are the ledger's, in nanoseconds.
#[derive(Debug)]
pub struct Headroom {
    /// At most so many units are free, as far as this replica can know.
    units: u128,
    /// From then on one caller may find out.
    until_ns: u64,
    bound_ns: u64,
    /// Reservations made here, in the order in which they come back.
    returns: VecDeque<Return>,
    /// How many of the units to come were told to callers as theirs.
    promised: u128,
    /// Counts the units that came back, to tell what came back after a caller was let through.
    freed: u128,
    /// A caller who was let through to find out found room, and so did everybody since.
    opening: bool,
    /// How much later than promised the ledger gives back, as far as was seen.
    lag_ns: u64,
    retries: u32,
    /// Whether anything of it comes back at a time of its own.
    has_returns: bool,
}

#[derive(Debug, Clone, Copy)]
struct Return {
    at_ns: u64,
    units: u64,
}

/// What a caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// There may be room: ask the ledger, and tell what came of it.
    Ask(Ticket),
    /// There is none.
    Wait {
        /// When there will be room for this caller, if that is known.
        until_ns: Option<u64>,
    },
}

/// What a caller was let through for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    units: u64,
    why: Why,
    freed_before: u128,
}

/// Why a caller was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// So many units were thought to be free, and are taken off.
    Free,
    /// To find out whether what is due has come back.
    Due,
    /// To find out.
    Unknown,
    /// It may not be kept back.
    Must,
}

impl Headroom {
    /// The ledger has just said that `units` do not fit. For `bound_ns` at the most callers are kept back without
    /// asking it again.
    pub fn exhausted(now_ns: u64, bound_ns: u64, units: u64) -> Self {
        Self {
            units: u128::from(units.saturating_sub(1)),
            until_ns: now_ns.saturating_add(bound_ns),
            bound_ns,
            returns: VecDeque::new(),
            promised: 0,
            freed: 0,
            opening: false,
            lag_ns: 0,
            retries: 0,
            has_returns: false,
        }
    }

    /// The ledger is asked for `units` whatever is known here.
    pub fn pass(&mut self, now_ns: u64, units: u64) -> Ticket {
        self.collect_returns(now_ns);
        let why = if self.take(units) { Why::Free } else { Why::Must };
        self.ticket(units, why)
    }

    /// Whether to ask the ledger for `units`.
    pub fn ask(&mut self, now_ns: u64, units: u64) -> Advice {
        self.collect_returns(now_ns);
        if self.take(units) {
            return Advice::Ask(self.ticket(units, Why::Free));
        }
        if now_ns < self.until_ns {
            return Advice::Wait { until_ns: self.promise(now_ns, units) };
        }
        // The next one waits for what this one finds.
        self.until_ns = now_ns.saturating_add(self.bound_ns);
        let why = if self.is_due(now_ns, units) { Why::Due } else { Why::Unknown };
        Advice::Ask(self.ticket(units, why))
    }

    /// Takes units off those that are thought to be free.
    fn take(&mut self, units: u64) -> bool {
        let is_free = self.units >= u128::from(units);
        if is_free {
            self.units -= u128::from(units);
        }
        is_free
    }

    fn ticket(&self, units: u64, why: Why) -> Ticket {
        Ticket { units, why, freed_before: self.freed }
    }

    /// Whether so many units should have come back next and are only thought to be late.
    fn is_due(&self, now_ns: u64, units: u64) -> bool {
        self.returns.front().is_some_and(|first| first.at_ns <= now_ns && first.units >= units)
    }

    /// The ledger granted, at this time. What it granted comes back at `returns_at_ns`, if it does so by itself.
    pub fn granted(&mut self, now_ns: u64, ticket: Ticket, returns_at_ns: Option<u64>) {
        self.retries = 0;
        self.lag_ns -= self.lag_ns / 64;
        match ticket.why {
            Why::Free => {}
            // It was no news. What was due may have been collected meanwhile.
            Why::Due if self.is_due(now_ns, ticket.units) => self.take_first_return(ticket.units),
            Why::Due => self.units = self.units.saturating_sub(ticket.units.into()),
            Why::Unknown | Why::Must => self.opening = true,
        }
        if self.opening {
            // There is more than was known: twice as many may try, and so on until one is denied.
            self.units = self.units.saturating_add(u128::from(ticket.units) * 2);
        }
        if let Some(at_ns) = returns_at_ns {
            self.has_returns = true;
            self.returns_at(Return { at_ns, units: ticket.units });
        }
    }

    /// The ledger said that the units do not fit. Answers when there will be room for this caller, if that is known.
    pub fn refused(&mut self, now_ns: u64, ticket: Ticket) -> Option<u64> {
        let was_opening = std::mem::take(&mut self.opening);
        // Who may not be kept back may have asked for more than others want to find out about.
        if ticket.why != Why::Must {
            self.until_ns = now_ns.saturating_add(self.bound_ns);
        }
        // What came back since may have come after the ledger had decided.
        let freed_since = self.freed.saturating_sub(ticket.freed_before);
        self.units = self.units.min(u128::from(ticket.units.saturating_sub(1)).saturating_add(freed_since));
        let is_late = match ticket.why {
            Why::Free => !was_opening,
            Why::Due => true,
            Why::Unknown | Why::Must => false,
        };
        if is_late && self.retries < RETRIES_MAX {
            return self.try_again(now_ns, ticket);
        }
        self.promise(now_ns, ticket.units)
    }

    /// The ledger gives back a little late, or another replica was quicker. Only what has a time to come back at is
    /// promised.
    fn try_again(&mut self, now_ns: u64, ticket: Ticket) -> Option<u64> {
        self.retries += 1;
        self.lag_ns = (self.lag_ns + LAG_STEP_NS).min(LAG_MAX_NS);
        let until_ns = now_ns.saturating_add(RETRY_NS);
        let again = Return { at_ns: until_ns.saturating_sub(self.lag_ns), units: ticket.units };
        // What was only due is among the returns still.
        if ticket.why == Why::Free && !self.returns_at(again) || !self.has_returns {
            return None;
        }
        self.promised = self.promised.saturating_add(ticket.units.into());
        Some(until_ns)
    }

    /// The ledger was asked, and what came of it says nothing about this limit.
    pub fn unused(&mut self, ticket: Ticket) {
        match ticket.why {
            Why::Free => self.units = self.units.saturating_add(ticket.units.into()),
            // The next one finds out.
            Why::Due | Why::Unknown => self.until_ns = 0,
            Why::Must => {}
        }
    }

    /// The ledger refused so many units to somebody of whom nothing was known here, at a time before all that is known.
    /// Answers when there will be room, if that is known.
    pub fn refused_unseen(&mut self, now_ns: u64, units: u64) -> Option<u64> {
        self.collect_returns(now_ns);
        self.promise(now_ns, units)
    }

    /// A complete gave so many units back.
    pub fn freed(&mut self, units: u128) {
        self.units = self.units.saturating_add(units);
        self.freed = self.freed.saturating_add(units);
        self.promised = self.promised.saturating_sub(units);
    }

    fn collect_returns(&mut self, now_ns: u64) {
        while let Some(&Return { at_ns, units }) = self.returns.front()
            && at_ns.saturating_add(self.lag_ns) <= now_ns
        {
            self.returns.pop_front();
            self.freed(units.into());
        }
    }

    /// Takes so many units of what comes back next, at most as many as that are.
    fn take_first_return(&mut self, units: u64) {
        if let Some(first) = self.returns.front_mut() {
            first.units -= units;
            if first.units == 0 {
                self.returns.pop_front();
            }
            self.freed = self.freed.saturating_add(units.into());
            self.promised = self.promised.saturating_sub(units.into());
        }
    }

    /// Answers whether there was room to note it.
    fn returns_at(&mut self, new: Return) -> bool {
        if self.returns.len() >= RETURNS_MAX {
            return false;
        }
        // Nearly always the last.
        let behind = self.returns.iter().rev().take_while(|other| other.at_ns > new.at_ns).count();
        self.returns.insert(self.returns.len() - behind, new);
        true
    }

    /// When the units come back that nobody was promised yet, and so many more.
    fn promise(&mut self, now_ns: u64, units: u64) -> Option<u64> {
        let wanted = self.promised.saturating_add(units.into());
        let mut coming = self.units;
        if coming >= wanted {
            self.promised = wanted;
            return Some(now_ns);
        }
        let at = self.returns.iter().find(|coming_back| {
            coming = coming.saturating_add(coming_back.units.into());
            coming >= wanted
        })?;
        self.promised = wanted;
        Some(at.at_ns.saturating_add(self.lag_ns))
    }
}

#[cfg(test)]
mod tests;
