//! The limits with alerts that are looked at, and when.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Alert;
use crate::ledger::Transfer;
use crate::limit::LimitKey;
use crate::registry::Entry;

/// How long a limit is looked at in every round after its last use. Longer than the outcome of a call can be unknown.
const ACTIVE_FOR: Duration = Duration::from_secs(10);
/// The rounds from one look at a limit that is not used to the next.
const ROUNDS_WHILE_UNUSED: u64 = 10;
/// The most limits that one round looks at.
const LOOKS_MAX: usize = 1_000;

/// A step of an alert account whose outcome is not known, and what to tell if this attempt made it.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) transfer: Transfer,
    pub(super) alerts: Vec<Alert>,
}

/// A limit that is looked at.
struct Watch {
    entry: Arc<Entry>,
    active_until: Instant,
    /// The round of the next look at the earliest, while the limit is not used.
    due_round: u64,
    unanswered: Option<Claim>,
    /// It is removed when its turn comes, unless the limit is used before.
    is_over: bool,
}

/// The limits that are looked at, in the order of their next looks.
#[derive(Default)]
pub(super) struct Watches {
    by_key: HashMap<LimitKey, Watch>,
    order: VecDeque<LimitKey>,
    round: u64,
}

/// What this round does with a limit.
pub(super) enum Due {
    Look(Arc<Entry>),
    /// Sends a step again.
    Repeat(LimitKey, Claim),
}

impl Watches {
    /// The usage of the limit may have changed.
    pub(super) fn add(&mut self, entry: Arc<Entry>, now: Instant) {
        let (key, active_until) = (entry.key().clone(), now + ACTIVE_FOR);
        let Some(watch) = self.by_key.get_mut(&key) else {
            self.order.push_back(key.clone());
            self.by_key
                .insert(key, Watch { entry, active_until, due_round: 0, unanswered: None, is_over: false });
            return;
        };
        (watch.entry, watch.active_until, watch.is_over) = (entry, active_until, false);
    }

    /// Begins a round: what is due in it, at most [`LOOKS_MAX`] limits.
    pub(super) fn next_round(&mut self, now: Instant) -> Vec<Due> {
        self.round += 1;
        let mut due = Vec::new();
        for _ in 0..self.order.len() {
            if due.len() == LOOKS_MAX {
                break;
            }
            let Some(key) = self.order.pop_front() else { break };
            let Some(watch) = self.by_key.get_mut(&key) else { continue };
            if watch.is_over {
                self.by_key.remove(&key);
                continue;
            }
            if let Some(claim) = watch.unanswered.take() {
                due.push(Due::Repeat(key.clone(), claim));
            } else if now < watch.active_until || watch.due_round <= self.round {
                watch.due_round = self.round + ROUNDS_WHILE_UNUSED;
                due.push(Due::Look(Arc::clone(&watch.entry)));
            }
            self.order.push_back(key);
        }
        due
    }

    /// Ends the watch of a limit that is not used, unless it has to be looked at until its thresholds are armed.
    pub(super) fn end_unused(&mut self, key: &LimitKey, waits_to_be_armed: bool, now: Instant) {
        if let Some(watch) = self.by_key.get_mut(key) {
            watch.is_over = now >= watch.active_until && !waits_to_be_armed;
        }
    }

    /// Ends the watch of a limit.
    pub(super) fn end(&mut self, key: &LimitKey) {
        if let Some(watch) = self.by_key.get_mut(key) {
            watch.is_over = true;
        }
    }

    /// The step is sent again in the next round.
    pub(super) fn keep_claim(&mut self, key: &LimitKey, claim: Claim) {
        if let Some(watch) = self.by_key.get_mut(key) {
            (watch.unanswered, watch.is_over) = (Some(claim), false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Limit;
    use crate::decide::alert;
    use crate::decide::ids::Ids;
    use crate::ledger::{Movement, TransferCode, TransferId, UserData};
    use crate::limit::{Amount, Definition, Kind, KindName, LimitState, Overage};

    fn entry(name: &str) -> Arc<Entry> {
        let key = LimitKey::parse(name).expect("valid");
        let kind = Kind::new(KindName::Rolling, 60, 0).expect("valid");
        let definition =
            Definition::new(key.clone(), kind, Amount::MAX, "", "", Overage::Debt).expect("valid");
        let ids = Ids::new(1);
        let (account, debt_account) = (ids.limit(&key), ids.debt(&key));
        let state = LimitState::active(definition);
        Entry::for_tests(Limit { version: 1, state, account, debt_account, schedule: None })
    }

    fn claim() -> Claim {
        let entry = entry("a");
        let account = alert::new_account(Ids::new(1), &entry.limit).id;
        let movement = Movement::Post { debit: account, credit: account, amount: 1 };
        let id = TransferId::from_u128(1);
        let transfer = Transfer { id, code: TransferCode::Alert, user_data: UserData::default(), movement };
        Claim { transfer, alerts: Vec::new() }
    }

    /// The keys to look at, and those whose steps are sent again, in order.
    fn round(watches: &mut Watches, now: Instant) -> (Vec<String>, Vec<String>) {
        let (mut looks, mut repeats) = (Vec::new(), Vec::new());
        for due in watches.next_round(now) {
            match due {
                Due::Look(entry) => looks.push(entry.key().to_string()),
                Due::Repeat(key, _) => repeats.push(key.to_string()),
            }
        }
        (looks, repeats)
    }

    #[test]
    fn a_used_limit_is_looked_at_in_every_round_and_then_ends() {
        let (mut watches, start) = (Watches::default(), Instant::now());
        let a = entry("a");
        watches.add(Arc::clone(&a), start);
        for second in 0..10 {
            let now = start + Duration::from_secs(second);
            assert_eq!(round(&mut watches, now).0, ["a"], "after {second} s");
            watches.end_unused(a.key(), false, now);
        }
        let later = start + ACTIVE_FOR;
        assert_eq!(round(&mut watches, later).0, [""; 0], "it was looked at a short while ago");
        for _ in 1..ROUNDS_WHILE_UNUSED {
            round(&mut watches, later);
        }
        assert_eq!(watches.by_key.len(), 1, "one more look");
        watches.end_unused(a.key(), false, later);
        watches.add(Arc::clone(&a), later);
        assert_eq!(round(&mut watches, later).0, ["a"], "used again before it ended");
        watches.end(a.key());
        assert_eq!(round(&mut watches, later).0, [""; 0]);
        assert!(watches.by_key.is_empty() && watches.order.is_empty());
    }

    #[test]
    fn a_limit_that_waits_to_be_armed_is_looked_at_every_tenth_round() {
        let (mut watches, start) = (Watches::default(), Instant::now());
        let a = entry("a");
        watches.add(Arc::clone(&a), start);
        let later = start + ACTIVE_FOR;
        let looked: Vec<bool> = (0..30)
            .map(|_| {
                let is_due = !round(&mut watches, later).0.is_empty();
                watches.end_unused(a.key(), true, later);
                is_due
            })
            .collect();
        assert_eq!(looked.iter().filter(|is_due| **is_due).count(), 3);
    }

    #[test]
    fn many_limits_take_turns() {
        let (mut watches, start) = (Watches::default(), Instant::now());
        for number in 0..LOOKS_MAX + 500 {
            watches.add(entry(&format!("k{number}")), start);
        }
        let (first, _) = round(&mut watches, start);
        let (second, _) = round(&mut watches, start);
        assert_eq!((first.len(), second.len()), (LOOKS_MAX, LOOKS_MAX));
        assert_eq!(second[0], format!("k{LOOKS_MAX}"), "those that were left come first");
        assert_eq!(second[500], "k0");
    }

    #[test]
    fn a_step_without_an_answer_is_sent_again_before_another_look() {
        let (mut watches, start) = (Watches::default(), Instant::now());
        let a = entry("a");
        watches.add(Arc::clone(&a), start);
        watches.end(a.key());
        watches.keep_claim(a.key(), claim());
        let later = start + ACTIVE_FOR;
        assert_eq!(round(&mut watches, later), (Vec::new(), vec!["a".to_owned()]));
        assert_eq!(round(&mut watches, later).1, [""; 0], "once for each time that it is kept");
    }
}
