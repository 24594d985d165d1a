//! A scripted limiter: it has capacities, takes time for each call, and loses the answers that its script names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use super::key;
use crate::client::{
    AttemptResult, CallError, Complete, Denial, Extend, LeaseId, LimitKey, Renew, Requirement, Reserve,
    RetryAfterSource, Transport, Usage,
};

/// The duration of every call.
pub(super) const CALL: Duration = Duration::from_millis(10);
/// The hint of every denial.
pub(super) const HINT_MS: u64 = 100;

#[derive(Default)]
pub(super) struct LimiterState {
    pub(super) capacities: BTreeMap<LimitKey, u64>,
    /// The indices of the calls whose answer is lost. The calls take effect.
    pub(super) lost: BTreeSet<usize>,
    pub(super) calls: usize,
    pub(super) attempts: Vec<(String, LeaseId)>,
    pub(super) live: BTreeMap<LeaseId, Vec<Requirement>>,
    /// The completes that settled a lease, with their amounts.
    pub(super) settled: Vec<(LeaseId, Vec<(String, u64)>)>,
    pub(super) granted: usize,
}

/// All clones share their state.
#[derive(Clone, Default)]
pub(super) struct ScriptedLimiter(Arc<Mutex<LimiterState>>);

impl ScriptedLimiter {
    pub(super) fn new(capacities: &[(&str, u64)]) -> Self {
        let limiter = Self::default();
        limiter.state().capacities =
            capacities.iter().map(|(name, capacity)| (key(name), *capacity)).collect();
        limiter
    }

    pub(super) fn losing(self, calls: impl IntoIterator<Item = usize>) -> Self {
        self.state().lost = calls.into_iter().collect();
        self
    }

    pub(super) fn state(&self) -> MutexGuard<'_, LimiterState> {
        self.0.lock().expect("not poisoned")
    }

    /// The number of clones of this limiter.
    pub(super) fn clones(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Makes a call. It takes effect halfway, so that a call can take effect and lose its answer.
    async fn call<R>(&self, effect: impl FnOnce(&mut LimiterState) -> R + Send) -> Result<R, CallError> {
        tokio::time::sleep(CALL / 2).await;
        let (answer, is_lost) = {
            let mut state = self.state();
            state.calls += 1;
            let number = state.calls - 1;
            (effect(&mut state), state.lost.contains(&number))
        };
        tokio::time::sleep(CALL / 2).await;
        if is_lost { Err(CallError::unknown(std::fmt::Error)) } else { Ok(answer) }
    }
}

impl LimiterState {
    fn reserve(&mut self, command: &Reserve) -> AttemptResult {
        self.attempts.push((command.job_id.clone(), command.lease));
        if self.live.contains_key(&command.lease) {
            return AttemptResult::Granted { reserved_at: UNIX_EPOCH, would_deny: Box::default() };
        }
        for Requirement { key, amount } in command.requirements() {
            let Some(capacity) = self.capacities.get(key) else {
                return AttemptResult::Denied(Denial::UnknownKey { key: key.clone() });
            };
            let amount_of_key = |other: &Requirement| if other.key == *key { other.amount.get() } else { 0 };
            let reserved: u64 = self.live.values().flatten().map(amount_of_key).sum();
            if reserved + amount.get() > *capacity {
                let retry_after = Duration::from_millis(HINT_MS);
                return AttemptResult::Denied(Denial::NoRoom {
                    key: key.clone(),
                    retry_after,
                    retry_after_source: RetryAfterSource::Estimate,
                });
            }
        }
        self.granted += 1;
        self.live.insert(command.lease, command.requirements().to_vec());
        AttemptResult::Granted { reserved_at: UNIX_EPOCH, would_deny: Box::default() }
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
    async fn reserve(&self, command: &Reserve) -> Result<AttemptResult, CallError> {
        self.call(|state| state.reserve(command)).await
    }

    async fn complete(&self, command: &Complete) -> Result<(), CallError> {
        self.call(|state| state.complete(command)).await
    }

    async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<AttemptResult, CallError>> {
        let answers =
            self.call(|state| commands.iter().map(|command| state.reserve(command)).collect::<Vec<_>>());
        match answers.await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); commands.len()],
        }
    }

    async fn complete_batch(&self, commands: &[Complete]) -> Vec<Result<(), CallError>> {
        let answer = self.call(|state| commands.iter().for_each(|command| state.complete(command))).await;
        vec![answer; commands.len()]
    }

    async fn extend(&self, _command: &Extend) -> Result<AttemptResult, CallError> {
        Err(CallError::Closed)
    }

    async fn renew(&self, _command: &Renew) -> Result<AttemptResult, CallError> {
        Err(CallError::Closed)
    }

    async fn usage(&self, _key: &LimitKey) -> Result<Option<Usage>, CallError> {
        Err(CallError::Closed)
    }
}
