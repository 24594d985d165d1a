//! One caller: a call, its answer, and what follows from it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

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
    /// What it is to come back for, by the time; the number tells those of one time apart.
    waiting: BTreeMap<(Instant, u64), Vec<Again>>,
    waits: u64,
}

/// What to do about the items of a call that were not granted.
#[derive(Debug, PartialEq, Eq)]
struct Retry {
    asks: Vec<Again>,
    after: Duration,
}

/// An item that is asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// Under the same lease: its outcome is unknown.
    Same(Ask),
    /// Under a new lease, made when the time has come: a denied one stays denied.
    Anew { first: usize },
}

impl From<Again> for Ask {
    fn from(again: Again) -> Self {
        match again {
            Again::Same(ask) => ask,
            Again::Anew { first } => Self { lease: new_lease(), first },
        }
    }
}

impl<C: Connection> Caller<C> {
    pub(crate) fn new(number: usize, connection: C, shared: Arc<Shared>) -> Self {
        Self { number, connection, shared, asks: number, waiting: BTreeMap::new(), waits: 0 }
    }

    /// Calls until there is no next call.
    pub(crate) async fn run(mut self) {
        while let Some((asks, start)) = self.next().await {
            self.see_through(asks, start).await;
        }
    }

    /// What to ask for next, and since when that was to be asked for. In a closed loop a caller that is to come back
    /// waits for that; in an open loop it is free for other calls meanwhile, or denials would lower the rate.
    async fn next(&mut self) -> Option<(Vec<Ask>, Instant)> {
        let Some(((due, _), _)) = self.waiting.first_key_value() else { return self.next_of_pace().await };
        let due = *due;
        match &self.shared.pace {
            Pace::Closed(window) if window.end <= due => return None,
            Pace::Closed(_) => sleep_until(due.into()).await,
            Pace::Open(_) => tokio::select! {
                biased;
                () = sleep_until(due.into()) => {}
                next = self.next_of_pace() => return next,
            },
        }
        let (_, asks) = self.waiting.pop_first()?;
        Some((asks.into_iter().map(Ask::from).collect(), Instant::now()))
    }

    async fn next_of_pace(&mut self) -> Option<(Vec<Ask>, Instant)> {
        let start = self.shared.pace.next().await?;
        let first = self.asks;
        self.asks += self.shared.batch;
        Some(((first..self.asks).map(|nth| self.shared.workload.ask(nth)).collect(), start))
    }

    /// Reserves, completes what was granted, and notes what to come back for.
    async fn see_through(&mut self, asks: Vec<Ask>, start: Instant) {
        let answers = self.reserve(&asks, start).await;
        if self.shared.retry
            && let Some(retry) = Retry::of_reserves(&answers, &asks)
        {
            self.waits += 1;
            self.waiting.insert((Instant::now() + retry.after, self.waits), retry.asks);
        }
        let granted = answers.iter().zip(&asks).filter(|(answer, _)| **answer == Reserved::Granted);
        let granted: Vec<Ask> = granted.map(|(_, ask)| *ask).collect();
        if self.shared.complete != Complete::None && !granted.is_empty() {
            self.complete(granted).await;
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
            asks = open_completes(&answers, &asks);
            let again = Instant::now() + UNKNOWN_RETRY_AFTER;
            if asks.is_empty() || !self.shared.retry || self.shared.window.end <= again {
                return;
            }
            sleep_until(again.into()).await;
        }
    }
}

/// What is to be completed once more: a complete is repeated as it was until it is known to be done.
fn open_completes(answers: &[Completed], asks: &[Ask]) -> Vec<Ask> {
    let is_open = |answer: &Completed| match answer {
        Completed::Settled => false,
        Completed::Unknown | Completed::Failed(_) => true,
    };
    answers.iter().zip(asks).filter(|(answer, _)| is_open(answer)).map(|(_, ask)| *ask).collect()
}

impl Retry {
    /// The items of a batch come back together, after the longest of their hints.
    fn of_reserves(answers: &[Reserved], asks: &[Ask]) -> Option<Self> {
        let mut after = Duration::ZERO;
        let mut again = Vec::new();
        for (answer, ask) in answers.iter().zip(asks) {
            let (item, hint) = match answer {
                // Without a hint no waiting helps.
                Reserved::Denied { retry_after } if !retry_after.is_zero() => {
                    (Again::Anew { first: ask.first }, *retry_after)
                }
                Reserved::Unknown | Reserved::Failed(_) => (Again::Same(*ask), UNKNOWN_RETRY_AFTER),
                Reserved::Granted | Reserved::Denied { .. } | Reserved::Conflict => continue,
            };
            after = after.max(hint);
            again.push(item);
        }
        (!again.is_empty()).then_some(Self { asks: again, after })
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
        assert_eq!(retry.asks, [Again::Anew { first: 1 }, Again::Same(asks[2])]);
        assert_ne!(Ask::from(retry.asks[0]).lease, asks[1].lease);
        assert_eq!(Retry::of_reserves(&answers[3..], &asks[3..]), None);
    }

    #[test]
    fn a_complete_is_repeated_as_it_was() {
        let asks: Vec<Ask> = (0..2).map(|first| Ask { lease: new_lease(), first }).collect();
        assert_eq!(open_completes(&[Completed::Settled, Completed::Unknown], &asks), asks[1..]);
        assert_eq!(open_completes(&[Completed::Settled, Completed::Settled], &asks), []);
    }
}
