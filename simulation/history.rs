//! What callers saw: one outcome for each lease, and the operations on each strict limit.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ledger_limiter::limit::LeaseId;
use ledger_limiter::protocol::ReserveOutcome;

use crate::holds::Hold;
use crate::linearizability::Operation;

/// The most violations that are kept.
const VIOLATIONS_MAX: usize = 20;

#[derive(Debug)]
pub(crate) struct History {
    /// Whether replicas deny by themselves. Then another replica may have granted a lease that one denies, and a denial may be
    /// late to hear of a release: a known bound of the denial cache (ADR 0010).
    caches: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    leases: BTreeMap<LeaseId, Known>,
    operations: BTreeMap<String, Vec<Operation>>,
    holds: BTreeMap<String, Vec<Hold>>,
    counts: BTreeMap<&'static str, u64>,
    violations: Vec<String>,
}

/// What is known of a lease.
#[derive(Debug, Default)]
struct Known {
    granted_at_unix_ms: Option<u64>,
    denied: Option<String>,
    /// When a complete was answered.
    settled_ms: Option<u64>,
}

/// What an answer to a reserve says of its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Granted {
        at_unix_ms: u64,
    },
    Denied,
    /// It was granted, and is settled or has expired.
    Over,
    Conflict,
}

fn said(outcome: &ReserveOutcome) -> (Said, &'static str) {
    match outcome {
        ReserveOutcome::Granted { reserved_at_unix_ms, .. } => {
            (Said::Granted { at_unix_ms: *reserved_at_unix_ms }, "granted")
        }
        ReserveOutcome::NoRoom { .. } => (Said::Denied, "denied for lack of room"),
        ReserveOutcome::Decreasing { .. } => (Said::Denied, "denied, limit decreasing"),
        ReserveOutcome::ExceedsCapacity { .. } => (Said::Denied, "denied, above the capacity"),
        ReserveOutcome::UnknownKey { .. } => (Said::Denied, "denied, limit unknown"),
        ReserveOutcome::TooManyInstances { .. } => (Said::Denied, "denied, too many instances"),
        ReserveOutcome::LeaseSettled => (Said::Over, "lease settled"),
        ReserveOutcome::LeaseExpired => (Said::Over, "lease expired"),
        ReserveOutcome::LeaseConflict => (Said::Conflict, "lease conflict"),
    }
}

impl History {
    pub(crate) fn new(caches: bool) -> Self {
        Self { caches, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self, what: &'static str) {
        self.count_all([(what, 1)]);
    }

    pub(crate) fn count_all(&self, counts: impl IntoIterator<Item = (&'static str, u64)>) {
        let mut state = self.lock();
        counts.into_iter().for_each(|(what, count)| *state.counts.entry(what).or_default() += count);
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.lock().counts.clone()
    }

    /// Notes what must not be.
    pub(crate) fn violated(&self, what: String) {
        let violations = &mut self.lock().violations;
        if violations.len() < VIOLATIONS_MAX {
            violations.push(what);
        }
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    /// Notes why a call has an unknown outcome. The limiter must never be surprised by the ledger.
    pub(crate) fn note_failure(&self, error: &str) {
        self.count("outcomes unknown");
        if error.contains("Unexpected(") {
            self.violated(format!("a replica was surprised: {error}"));
        }
    }

    /// Notes an answer to a reserve that was sent at `sent_ms`: it must agree with every other answer for this lease.
    pub(crate) fn note_reserve(&self, lease: LeaseId, sent_ms: u64, outcome: &ReserveOutcome) {
        let (said, name) = said(outcome);
        self.count(name);
        if self.caches && said == Said::Denied {
            return;
        }
        let problem = self.lock().leases.entry(lease).or_default().note(sent_ms, said, outcome);
        if let Some(problem) = problem {
            self.violated(format!("lease {lease}: {problem}"));
        }
    }

    /// Notes that a complete was answered.
    pub(crate) fn note_settled(&self, lease: LeaseId, now_ms: u64) {
        self.lock().leases.entry(lease).or_default().settled_ms.get_or_insert(now_ms);
    }

    pub(crate) fn note_operation(&self, key: &str, operation: Operation) {
        if self.caches {
            return;
        }
        self.lock().operations.entry(key.to_owned()).or_default().push(operation);
    }

    pub(crate) fn note_hold(&self, key: &str, hold: Hold) {
        self.lock().holds.entry(key.to_owned()).or_default().push(hold);
    }

    /// What callers held of each limit with allotments.
    pub(crate) fn holds(&self) -> BTreeMap<String, Vec<Hold>> {
        self.lock().holds.clone()
    }

    /// The operations on each strict limit.
    pub(crate) fn operations(&self) -> BTreeMap<String, Vec<Operation>> {
        self.lock().operations.clone()
    }
}

impl Known {
    fn note(&mut self, sent_ms: u64, said: Said, outcome: &ReserveOutcome) -> Option<String> {
        match said {
            Said::Granted { at_unix_ms } => {
                let first = *self.granted_at_unix_ms.get_or_insert(at_unix_ms);
                if let Some(denied) = &self.denied {
                    return Some(format!("granted after it was denied: {denied}"));
                }
                if self.settled_ms.is_some_and(|settled_ms| settled_ms < sent_ms) {
                    return Some("granted again after its complete was answered".to_owned());
                }
                (first != at_unix_ms).then(|| format!("granted at {first} and at {at_unix_ms}"))
            }
            Said::Denied => {
                self.denied.get_or_insert(format!("{outcome:?}"));
                self.granted_at_unix_ms.map(|_| format!("denied after it was granted: {outcome:?}"))
            }
            Said::Over => {
                self.denied.as_ref().map(|denied| format!("{outcome:?} after it was denied: {denied}"))
            }
            Said::Conflict => Some("in conflict with itself".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger_limiter::protocol::RetryAfterSource;

    use crate::fixtures::{key, lease};

    const NO_ROOM: fn() -> ReserveOutcome = || ReserveOutcome::NoRoom {
        key: key("slots"),
        retry_after_ms: 1,
        retry_after_source: RetryAfterSource::Estimate,
    };

    #[test]
    fn a_lease_with_two_outcomes_is_noticed() {
        let cases: [(&str, &[ReserveOutcome], bool); 7] = [
            ("granted twice at one time", &[granted(1), granted(1)], true),
            ("granted at two times", &[granted(1), granted(2)], false),
            ("denied twice", &[NO_ROOM(), NO_ROOM()], true),
            ("granted, denied", &[granted(1), NO_ROOM()], false),
            ("denied, granted", &[NO_ROOM(), granted(1)], false),
            ("granted, settled", &[granted(1), ReserveOutcome::LeaseSettled], true),
            ("denied, expired", &[NO_ROOM(), ReserveOutcome::LeaseExpired], false),
        ];
        for (name, outcomes, is_fine) in cases {
            let (history, lease) = (History::new(false), lease());
            outcomes.iter().for_each(|outcome| history.note_reserve(lease, 5, outcome));
            assert_eq!(history.violations().is_empty(), is_fine, "{name}: {:?}", history.violations());
        }
    }

    #[test]
    fn a_replica_that_denies_by_itself_may_not_know_of_a_grant() {
        let (history, lease) = (History::new(true), lease());
        [granted(1), NO_ROOM(), granted(1)].iter().for_each(|told| history.note_reserve(lease, 5, told));
        assert!(history.violations().is_empty(), "{:?}", history.violations());
        history.note_reserve(lease, 5, &granted(2));
        assert_eq!(history.violations().len(), 1, "but it grants once");
    }

    #[test]
    fn a_grant_after_a_complete_is_noticed_unless_it_was_under_way() {
        for (sent_ms, is_fine) in [(4, true), (5, true), (6, false)] {
            let (history, lease) = (History::new(false), lease());
            history.note_reserve(lease, 1, &granted(1));
            history.note_settled(lease, 5);
            history.note_reserve(lease, sent_ms, &granted(1));
            assert_eq!(history.violations().is_empty(), is_fine, "sent at {sent_ms}");
        }
    }

    fn granted(at_unix_ms: u64) -> ReserveOutcome {
        ReserveOutcome::Granted { reserved_at_unix_ms: at_unix_ms, would_deny: Box::default() }
    }
}
