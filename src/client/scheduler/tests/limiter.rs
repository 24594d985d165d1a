//! A limiter to make calls to: it has its capacities, takes its time, and loses answers when it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::key;
use crate::client::{
    CallError, Complete, Extend, LeaseId, LimitKey, Requirement, Reserve, ReserveOutcome, Transport, Usage,
};

/// How long every call takes, and the hint of every denial.
pub(super) const CALL: Duration = Duration::from_millis(10);
pub(super) const HINT_MS: u64 = 100;

#[derive(Default)]
pub(super) struct Books {
    pub(super) capacities: BTreeMap<LimitKey, u64>,
    /// The calls, counted from 0, that are carried out and whose answer is lost.
    pub(super) lost: BTreeSet<usize>,
    pub(super) calls: usize,
    pub(super) attempts: Vec<(String, LeaseId)>,
    pub(super) live: BTreeMap<LeaseId, Vec<Requirement>>,
    /// The completes that settled a lease, and with what.
    pub(super) settled: Vec<(LeaseId, Vec<(String, u64)>)>,
    pub(super) granted: usize,
}

/// Cloned, it is the same.
#[derive(Clone, Default)]
pub(super) struct ScriptedLimiter(Arc<Mutex<Books>>);

impl ScriptedLimiter {
    pub(super) fn new(capacities: &[(&str, u64)]) -> Self {
        let limiter = Self::default();
        limiter.books().capacities =
            capacities.iter().map(|(name, capacity)| (key(name), *capacity)).collect();
        limiter
    }

    pub(super) fn losing(self, calls: impl IntoIterator<Item = usize>) -> Self {
        self.books().lost = calls.into_iter().collect();
        self
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().expect("no test panics with the lock")
    }

    /// How many hold it.
    pub(super) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Makes a call: it takes effect half-way, so that it may do so and nobody hear of it.
    async fn call<R>(&self, effect: impl FnOnce(&mut Books) -> R + Send) -> Result<R, CallError> {
        tokio::time::sleep(CALL / 2).await;
        let (answer, is_lost) = {
            let mut books = self.books();
            books.calls += 1;
            let number = books.calls - 1;
            (effect(&mut books), books.lost.contains(&number))
        };
        tokio::time::sleep(CALL / 2).await;
        if is_lost { Err(CallError::unknown(std::fmt::Error)) } else { Ok(answer) }
    }
}

impl Books {
    fn reserve(&mut self, command: &Reserve) -> ReserveOutcome {
        self.attempts.push((command.job_id.clone(), command.lease));
        if self.live.contains_key(&command.lease) {
            return ReserveOutcome::Granted { reserved_at_unix_ms: 1 };
        }
        for Requirement { key, amount } in command.requirements() {
            let Some(capacity) = self.capacities.get(key) else {
                return ReserveOutcome::UnknownKey { key: key.clone() };
            };
            let held = |other: &Requirement| if other.key == *key { other.amount.get() } else { 0 };
            let reserved: u64 = self.live.values().flatten().map(held).sum();
            if reserved + amount.get() > *capacity {
                return ReserveOutcome::NoRoom { key: key.clone(), retry_after_ms: HINT_MS };
            }
        }
        self.granted += 1;
        self.live.insert(command.lease, command.requirements().to_vec());
        ReserveOutcome::Granted { reserved_at_unix_ms: 1 }
    }

    fn complete(&mut self, command: &Complete) {
        if self.live.remove(&command.lease).is_some() {
            let actuals =
                command.actuals().iter().map(|actual| (actual.key.to_string(), actual.amount)).collect();
            self.settled.push((command.lease, actuals));
        }
    }
}

impl Transport for ScriptedLimiter {
    async fn reserve(&self, command: &Reserve) -> Result<ReserveOutcome, CallError> {
        self.call(|books| books.reserve(command)).await
    }

    async fn complete(&self, command: &Complete) -> Result<(), CallError> {
        self.call(|books| books.complete(command)).await
    }

    async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<ReserveOutcome, CallError>> {
        let answers =
            self.call(|books| commands.iter().map(|command| books.reserve(command)).collect::<Vec<_>>());
        match answers.await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); commands.len()],
        }
    }

    async fn complete_batch(&self, commands: &[Complete]) -> Vec<Result<(), CallError>> {
        let answer = self.call(|books| commands.iter().for_each(|command| books.complete(command))).await;
        vec![answer; commands.len()]
    }

    async fn extend(&self, _command: &Extend) -> Result<ReserveOutcome, CallError> {
        Err(CallError::Closed)
    }

    async fn usage(&self, _key: &LimitKey) -> Result<Option<Usage>, CallError> {
        Err(CallError::Closed)
    }
}
