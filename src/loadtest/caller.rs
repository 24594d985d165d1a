//! One caller: a call, its answer, and what follows from it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::measure::Measured;
use crate::pace::{Pace, Window};
use crate::settings::Complete;
use crate::target::{Ask, Completed, Connection, Reserved};
use crate::workload::{Workload, new_lease};

/// How long an unknown outcome is left alone before it is asked for again: what the service says with its 503.
const UNKNOWN_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the callers of a run share.
pub(crate) struct Shared {
    pub(crate) pace: Pace,
    pub(crate) window: Window,
    pub(crate) workload: Arc<Workload>,
    pub(crate) measured: Measured,
    pub(crate) batch: usize,
    pub(crate) complete: Complete,
    pub(crate) retry: bool,
}

/// A caller with its connection.
pub(crate) struct Caller<C> {
    number: usize,
    connection: C,
    shared: Arc<Shared>,
    /// How many asks it made; each caller begins at another limit.
    asks: usize,
}

/// What to do about the items of a call that were not granted.
#[derive(Debug, PartialEq, Eq)]
struct Retry {
    asks: Vec<Ask>,
    after: Duration,
}

impl<C: Connection> Caller<C> {
    pub(crate) fn new(number: usize, connection: C, shared: Arc<Shared>) -> Self {
        Self { number, connection, shared, asks: number }
    }

    /// Calls until there is no next call.
    pub(crate) async fn run(mut self) {
        while let Some(start) = self.shared.pace.next().await {
            let first = self.asks;
            self.asks += self.shared.batch;
            let asks = (first..self.asks).map(|nth| self.shared.workload.ask(nth)).collect();
            self.see_through(asks, start).await;
        }
    }

    /// Reserves, completes what was granted, and comes back for the rest if it is to.
    async fn see_through(&mut self, mut asks: Vec<Ask>, mut start: Instant) {
        loop {
            let answers = self.reserve(&asks, start).await;
            let granted = answers.iter().zip(&asks).filter(|(answer, _)| **answer == Reserved::Granted);
            let granted: Vec<Ask> = granted.map(|(_, ask)| *ask).collect();
            if self.shared.complete != Complete::None && !granted.is_empty() {
                self.complete(granted).await;
            }
            let retry = if self.shared.retry { Retry::of_reserves(&answers, &asks) } else { None };
            let Some(again) = self.shared.wait_for(retry).await else { return };
            (asks, start) = (again, Instant::now());
        }
    }

    async fn reserve(&mut self, asks: &[Ask], start: Instant) -> Vec<Reserved> {
        let answers = self.connection.reserve(asks).await;
        let answered = Instant::now();
        self.shared.measured.answered(answers.len());
        if self.shared.pace.counts(self.shared.window, start, answered) {
            self.shared.measured.record(self.number, answered, |tally| {
                tally.reserved(&answers, answered.saturating_duration_since(start));
            });
        }
        answers
    }

    async fn complete(&mut self, mut asks: Vec<Ask>) {
        loop {
            let start = Instant::now();
            let answers = self.connection.complete(&asks).await;
            let answered = Instant::now();
            if self.shared.pace.counts(self.shared.window, start, answered) {
                self.shared.measured.record(self.number, answered, |tally| {
                    tally.completed(&answers, answered - start);
                });
            }
            let retry = if self.shared.retry { Retry::of_completes(&answers, &asks) } else { None };
            let Some(again) = self.shared.wait_for(retry).await else { return };
            asks = again;
        }
    }
}

impl Shared {
    /// Waits until it is time to come back; `None` when there is nothing to come back for, or the run is over by then.
    async fn wait_for(&self, retry: Option<Retry>) -> Option<Vec<Ask>> {
        let Retry { asks, after } = retry?;
        let left = self.window.end.saturating_duration_since(Instant::now());
        tokio::time::sleep(after.min(left)).await;
        (after < left).then_some(asks)
    }
}

impl Retry {
    /// A denied lease stays denied, so its next attempt has a new one; what is unknown is found out with the same. The
    /// items of a batch come back together, after the longest of their hints.
    fn of_reserves(answers: &[Reserved], asks: &[Ask]) -> Option<Self> {
        let mut after = Duration::ZERO;
        let mut again = Vec::new();
        for (answer, ask) in answers.iter().zip(asks) {
            let (lease, hint) = match answer {
                // Without a hint no waiting helps.
                Reserved::Denied { retry_after } if !retry_after.is_zero() => (new_lease(), *retry_after),
                Reserved::Unknown | Reserved::Failed(_) => (ask.lease, UNKNOWN_RETRY_AFTER),
                Reserved::Granted | Reserved::Denied { .. } | Reserved::Conflict => continue,
            };
            after = after.max(hint);
            again.push(Ask { lease, first: ask.first });
        }
        (!again.is_empty()).then_some(Self { asks: again, after })
    }

    fn of_completes(answers: &[Completed], asks: &[Ask]) -> Option<Self> {
        let open = |answer: &Completed| match answer {
            Completed::Settled => false,
            Completed::Unknown | Completed::Failed(_) => true,
        };
        let again: Vec<Ask> =
            answers.iter().zip(asks).filter(|(answer, _)| open(answer)).map(|(_, ask)| *ask).collect();
        (!again.is_empty()).then_some(Self { asks: again, after: UNKNOWN_RETRY_AFTER })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_lease_is_replaced_and_an_unknown_one_kept() {
        let asks: Vec<Ask> = (0..5).map(|first| Ask { lease: new_lease(), first }).collect();
        let denied = |millis| Reserved::Denied { retry_after: Duration::from_millis(millis) };
        let answers = [Reserved::Granted, denied(1_500), Reserved::Unknown, denied(0), Reserved::Conflict];
        let retry = Retry::of_reserves(&answers, &asks).expect("two come back");
        assert_eq!(retry.after, Duration::from_millis(1_500));
        assert_eq!(retry.asks.iter().map(|ask| ask.first).collect::<Vec<_>>(), [1, 2]);
        assert_ne!(retry.asks[0].lease, asks[1].lease);
        assert_eq!(retry.asks[1], asks[2]);
        assert_eq!(Retry::of_reserves(&answers[3..], &asks[3..]), None);
    }

    #[test]
    fn a_complete_is_repeated_as_it_was() {
        let asks: Vec<Ask> = (0..2).map(|first| Ask { lease: new_lease(), first }).collect();
        let retry = Retry::of_completes(&[Completed::Settled, Completed::Unknown], &asks);
        assert_eq!(retry, Some(Retry { asks: vec![asks[1]], after: UNKNOWN_RETRY_AFTER }));
        assert_eq!(Retry::of_completes(&[Completed::Settled], &asks), None);
    }
}
