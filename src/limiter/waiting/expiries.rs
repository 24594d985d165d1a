//! When reservations expire that waiters of this process were granted, so that the next waiters find the room at that time.

use std::collections::{HashMap, VecDeque};

use tokio::time::{Duration, Instant};

use crate::limit::LimitKey;

/// The most expiries that are known of one limit; later ones are found by polling.
const EXPIRIES_MAX: usize = 4_096;
/// The most limits of which expiries are known.
const LIMITS_MAX: usize = 1_024;
/// Expiries that are closer to each other are one.
const RESOLUTION: Duration = Duration::from_millis(1);

/// The expiries of each limit, in order.
#[derive(Debug, Default)]
pub(super) struct Expiries(HashMap<LimitKey, VecDeque<Instant>>);

impl Expiries {
    /// A reservation of this limit expires at `at`.
    pub(super) fn note(&mut self, key: &LimitKey, at: Instant) {
        if self.0.len() >= LIMITS_MAX && !self.0.contains_key(key) {
            return;
        }
        let expiries = self.0.entry(key.clone()).or_default();
        let is_known = expiries.back().is_some_and(|last| at < *last + RESOLUTION);
        if !is_known && expiries.len() < EXPIRIES_MAX {
            expiries.push_back(at);
        }
    }

    /// Takes the limits of which a reservation has expired by `now`.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<LimitKey> {
        let mut due = Vec::new();
        self.0.retain(|key, expiries| {
            let passed = expiries.iter().take_while(|at| **at <= now).count();
            if passed > 0 {
                expiries.drain(..passed);
                due.push(key.clone());
            }
            !expiries.is_empty()
        });
        due
    }

    /// The next expiry of the limits for which `matters` holds.
    pub(super) fn next(&self, matters: impl Fn(&LimitKey) -> bool) -> Option<Instant> {
        let firsts =
            self.0.iter().filter(|(key, _)| matters(key)).filter_map(|(_, expiries)| expiries.front());
        firsts.min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> LimitKey {
        LimitKey::parse(name).expect("valid")
    }

    #[test]
    fn expiries_are_due_in_order_and_bounded() {
        let (now, ms) = (Instant::now(), Duration::from_millis);
        let mut expiries = Expiries::default();
        for (name, at) in [("a", 5), ("b", 3), ("a", 5), ("a", 9)] {
            expiries.note(&key(name), now + ms(at));
        }
        assert_eq!(expiries.next(|_| true), Some(now + ms(3)));
        assert_eq!(expiries.next(|of| *of == key("a")), Some(now + ms(5)));
        assert_eq!(expiries.take_due(now + ms(4)), [key("b")]);
        assert_eq!(expiries.take_due(now + ms(5)), [key("a")]);
        assert_eq!(expiries.take_due(now + ms(9)), [key("a")], "the two at 5 ms were one");
        assert_eq!(expiries.next(|_| true), None);
        for at in 0..=EXPIRIES_MAX as u64 {
            expiries.note(&key("c"), now + ms(at));
        }
        expiries.take_due(now + ms(EXPIRIES_MAX as u64 - 1));
        assert_eq!(expiries.next(|_| true), None, "the last one was not kept");
    }
}
