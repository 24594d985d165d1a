//! One caller: reserves, completes what was granted, and retries what was denied or has an unknown outcome.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use crate::measure::Measurements;
use crate::pace::{Pace, Window};
use crate::settings::Complete;
use crate::target::{Completed, Connection, Item, Reserved};
use crate::workload::{Workload, new_lease};

/// How long a caller waits before it repeats a call with an unknown outcome: the retry-after of the service's 503.
const UNKNOWN_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the callers of a run share.
pub(crate) struct Shared {
    pub(crate) pace: Pace,
    pub(crate) window: Window,
    pub(crate) workload: Arc<Workload>,
    pub(crate) measured: Measurements,
    pub(crate) batch: usize,
    pub(crate) complete: Complete,
    pub(crate) retry: bool,
}

/// A caller with its connection.
pub(crate) struct Caller<C> {
    number: usize,
    connection: C,
    shared: Arc<Shared>,
    /// How many items it made, counted from its own number, so that each caller begins at another limit.
    items_made: usize,
    /// The retries, ordered by the time to make them. The number keeps retries of the same time apart.
    retries: BTreeMap<(Instant, u64), Vec<RetryItem>>,
    retries_queued: u64,
}

/// The items of a call to send again, and when.
#[derive(Debug, PartialEq, Eq)]
struct Retry {
    items: Vec<RetryItem>,
    after: Duration,
}

/// An item to send again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RetryItem {
    /// With the same lease, because its outcome is unknown.
    SameLease(Item),
    /// With a new lease, because a denied lease stays denied. The lease is made when the item is sent.
    NewLease { first_limit: usize },
}

impl From<RetryItem> for Item {
    fn from(retry: RetryItem) -> Self {
        match retry {
            RetryItem::SameLease(item) => item,
            RetryItem::NewLease { first_limit } => Self { lease: new_lease(), first_limit },
        }
    }
}

impl<C: Connection> Caller<C> {
    pub(crate) fn new(number: usize, connection: C, shared: Arc<Shared>) -> Self {
        Self { number, connection, shared, items_made: number, retries: BTreeMap::new(), retries_queued: 0 }
    }

    /// Calls until there is no next call.
    pub(crate) async fn run(mut self) {
        while let Some((items, start)) = self.next_call().await {
            self.make_call(items, start).await;
        }
    }

    /// The items of the next call, and its intended start; `None` when the caller is finished.
    ///
    /// In a closed loop a caller with a retry waits for it. In an open loop it makes other calls meanwhile, because
    /// denials must not lower the offered rate.
    async fn next_call(&mut self) -> Option<(Vec<Item>, Instant)> {
        let Some(((retry_at, _), _)) = self.retries.first_key_value() else {
            return self.next_paced_call().await;
        };
        let retry_at = *retry_at;
        match &self.shared.pace {
            Pace::Closed(window) if window.end <= retry_at => return None,
            Pace::Closed(_) => sleep_until(retry_at.into()).await,
            Pace::Open(_) => tokio::select! {
                biased;
                () = sleep_until(retry_at.into()) => {}
                call = self.next_paced_call() => return call,
            },
        }
        let (_, items) = self.retries.pop_first()?;
        Some((items.into_iter().map(Item::from).collect(), Instant::now()))
    }

    async fn next_paced_call(&mut self) -> Option<(Vec<Item>, Instant)> {
        let start = self.shared.pace.next().await?;
        let first = self.items_made;
        self.items_made += self.shared.batch;
        Some(((first..self.items_made).map(|nth| self.shared.workload.item(nth)).collect(), start))
    }

    /// Reserves, completes what was granted, and queues the retry.
    async fn make_call(&mut self, items: Vec<Item>, start: Instant) {
        let answers = self.reserve(&items, start).await;
        if self.shared.retry
            && let Some(retry) = Retry::after_reserves(&answers, &items)
        {
            self.retries_queued += 1;
            self.retries.insert((Instant::now() + retry.after, self.retries_queued), retry.items);
        }
        let granted = answers.iter().zip(&items).filter(|(answer, _)| **answer == Reserved::Granted);
        let granted: Vec<Item> = granted.map(|(_, item)| *item).collect();
        if self.shared.complete != Complete::None && !granted.is_empty() {
            self.complete(granted).await;
        }
    }

    async fn reserve(&mut self, items: &[Item], start: Instant) -> Vec<Reserved> {
        let answers = self.connection.reserve(items).await;
        let answered_at = Instant::now();
        self.shared.measured.count_answered(answers.len());
        if self.shared.pace.counts(self.shared.window, start, answered_at) {
            self.shared.measured.record_call(self.number, answered_at, |tally| {
                tally.record_reserves(&answers, answered_at.saturating_duration_since(start));
            });
        }
        answers
    }

    async fn complete(&mut self, mut items: Vec<Item>) {
        loop {
            let start = Instant::now();
            let answers = self.connection.complete(&items).await;
            let answered_at = Instant::now();
            if self.shared.pace.counts(self.shared.window, start, answered_at) {
                self.shared.measured.record_call(self.number, answered_at, |tally| {
                    tally.record_completes(&answers, answered_at - start);
                });
            }
            items = unsettled(&answers, &items);
            let next_attempt = Instant::now() + UNKNOWN_RETRY_AFTER;
            if items.is_empty() || !self.shared.retry || self.shared.window.end <= next_attempt {
                return;
            }
            sleep_until(next_attempt.into()).await;
        }
    }
}

/// The completes to repeat, unchanged, because they are not known to be settled.
fn unsettled(answers: &[Completed], items: &[Item]) -> Vec<Item> {
    let is_open = |answer: &Completed| match answer {
        Completed::Settled => false,
        Completed::Unknown | Completed::Failed(_) => true,
    };
    answers.iter().zip(items).filter(|(answer, _)| is_open(answer)).map(|(_, item)| *item).collect()
}

impl Retry {
    /// The items of a batch are retried together, after the longest of their hints. `None` if there is nothing to
    /// retry.
    fn after_reserves(answers: &[Reserved], items: &[Item]) -> Option<Self> {
        let mut after = Duration::ZERO;
        let mut retries = Vec::new();
        for (answer, item) in answers.iter().zip(items) {
            let (item, hint) = match answer {
                // A denial without a hint is final.
                Reserved::Denied { retry_after } if !retry_after.is_zero() => {
                    (RetryItem::NewLease { first_limit: item.first_limit }, *retry_after)
                }
                Reserved::Unknown | Reserved::Failed(_) => (RetryItem::SameLease(*item), UNKNOWN_RETRY_AFTER),
                Reserved::Granted | Reserved::Denied { .. } | Reserved::Conflict => continue,
            };
            after = after.max(hint);
            retries.push(item);
        }
        (!retries.is_empty()).then_some(Self { items: retries, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_replaces_a_denied_lease_and_keeps_a_lease_with_an_unknown_outcome() {
        let items: Vec<Item> = (0..5).map(|first_limit| Item { lease: new_lease(), first_limit }).collect();
        let denied = |millis| Reserved::Denied { retry_after: Duration::from_millis(millis) };
        let answers = [Reserved::Granted, denied(1_500), Reserved::Unknown, denied(0), Reserved::Conflict];
        let retry = Retry::after_reserves(&answers, &items).expect("two items to retry");
        assert_eq!(retry.after, Duration::from_millis(1_500));
        assert_eq!(retry.items, [RetryItem::NewLease { first_limit: 1 }, RetryItem::SameLease(items[2])]);
        assert_ne!(Item::from(retry.items[0]).lease, items[1].lease);
        assert_eq!(Retry::after_reserves(&answers[3..], &items[3..]), None);
    }

    #[test]
    fn a_complete_with_an_unknown_outcome_is_repeated_with_the_same_lease() {
        let items: Vec<Item> = (0..2).map(|first_limit| Item { lease: new_lease(), first_limit }).collect();
        assert_eq!(unsettled(&[Completed::Settled, Completed::Unknown], &items), items[1..]);
        assert_eq!(unsettled(&[Completed::Settled, Completed::Settled], &items), []);
    }
}
