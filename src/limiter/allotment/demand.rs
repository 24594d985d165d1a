//! How much callers ask of a limit.

use super::clock::Now;

/// An allotment is worth its transfers from this many calls in a period and the one before.
const CALLS_MIN: u64 = 4;

/// What callers asked for in the present period and the one before.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Demand {
    began_at_ns: u64,
    now: Asked,
    before: Asked,
}

#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    calls: u64,
    units: u64,
}

impl Demand {
    /// A caller asks for units.
    pub(super) fn ask(&mut self, units: u64, period_ns: u64, now: Now) {
        self.turn(period_ns, now);
        self.now.calls += 1;
        self.now.units = self.now.units.saturating_add(units);
    }

    /// Begins a new period, if the present one is over.
    fn turn(&mut self, period_ns: u64, now: Now) {
        let periods = now.own_ns.saturating_sub(self.began_at_ns) / period_ns.max(1);
        if periods > 0 {
            self.before = if periods == 1 { self.now } else { Asked::default() };
            self.now = Asked::default();
            self.began_at_ns += periods * period_ns;
        }
    }

    /// Whether an allotment is worth its transfers.
    pub(super) fn is_worth_an_allotment(&mut self, period_ns: u64, now: Now) -> bool {
        self.turn(period_ns, now);
        self.now.calls + self.before.calls >= CALLS_MIN
    }

    /// The units that callers are expected to ask for in one period; 0 if nobody asks.
    pub(super) fn expected(&mut self, period_ns: u64, now: Now) -> u64 {
        self.turn(period_ns, now);
        self.now.units.max(self.before.units)
    }
}
