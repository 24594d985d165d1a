//! What callers hold of a limit with allotments. The ledger shows only what replicas reserved for them.

/// Units that a caller holds for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) from_ms: u64,
    pub(crate) until_ms: u64,
    pub(crate) units: u64,
}

/// The most that is held at one moment.
pub(crate) fn peak(holds: &[Hold]) -> u64 {
    let lasting = holds.iter().filter(|hold| hold.from_ms < hold.until_ms);
    // At one moment, what ends is over before anything begins.
    let mut changes: Vec<(u64, i64)> = lasting
        .flat_map(|hold| [(hold.from_ms, hold.units as i64), (hold.until_ms, -(hold.units as i64))])
        .collect();
    changes.sort_unstable();
    let held = changes.iter().scan(0, |held, (_, change)| {
        *held += change;
        Some(*held)
    });
    held.max().unwrap_or(0).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name, holds with their beginnings and ends, and their peak.
    type Case = (&'static str, &'static [(u64, u64, u64)], u64);

    #[test]
    fn the_peak_counts_what_is_held_at_one_moment() {
        let cases: [Case; 5] = [
            ("nothing", &[], 0),
            ("one", &[(1, 5, 3)], 3),
            ("one after the other", &[(1, 5, 3), (5, 9, 4)], 4),
            ("together", &[(1, 5, 3), (4, 9, 4)], 7),
            ("ended before it began", &[(6, 5, 3), (5, 9, 1)], 1),
        ];
        for (name, holds, expected) in cases {
            let hold = |&(from_ms, until_ms, units): &(u64, u64, u64)| Hold { from_ms, until_ms, units };
            assert_eq!(peak(&holds.iter().map(hold).collect::<Vec<_>>()), expected, "{name}");
        }
    }
}
