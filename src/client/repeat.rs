use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::{CallError, Complete, Extend, LimitKey, Reserve, ReserveOutcome, Transport, Usage};

/// When a call whose outcome is unknown is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepeatPolicy {
    /// The first pause. Each further one is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// No repetition begins later than this after the first attempt.
    pub give_up_after: Duration,
}

impl Default for RepeatPolicy {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(50),
            pause_max: Duration::from_secs(2),
            give_up_after: Duration::from_secs(30),
        }
    }
}

/// A transport whose calls are repeated, with the same ids, while their outcome is unknown. What is unknown in the end
/// is so after the last repetition.
pub struct Repeating<T> {
    transport: T,
    policy: RepeatPolicy,
}

/// The pauses of one call.
pub(super) struct Pauses {
    next: Duration,
    pause_max: Duration,
    deadline: Instant,
}

impl<T: Transport> Repeating<T> {
    /// Repeats the calls of `transport`.
    pub fn new(transport: T, policy: RepeatPolicy) -> Self {
        Self { transport, policy }
    }

    /// What makes the attempts.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// [`Transport::reserve`], but no repetition begins after `deadline` either.
    pub async fn reserve_until(
        &self,
        command: &Reserve,
        deadline: Instant,
    ) -> Result<ReserveOutcome, CallError> {
        let mut pauses = Pauses::new(self.policy, Instant::now());
        pauses.deadline = pauses.deadline.min(deadline);
        repeat(pauses, || self.transport.reserve(command)).await
    }
}

impl<T: Transport> Transport for Repeating<T> {
    async fn reserve(&self, command: &Reserve) -> Result<ReserveOutcome, CallError> {
        repeat(Pauses::new(self.policy, Instant::now()), || self.transport.reserve(command)).await
    }

    async fn complete(&self, command: &Complete) -> Result<(), CallError> {
        repeat(Pauses::new(self.policy, Instant::now()), || self.transport.complete(command)).await
    }

    async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<ReserveOutcome, CallError>> {
        let attempt = |commands: Vec<Reserve>| async move { self.transport.reserve_batch(&commands).await };
        repeat_batch(Pauses::new(self.policy, Instant::now()), commands.to_vec(), attempt).await
    }

    async fn complete_batch(&self, commands: &[Complete]) -> Vec<Result<(), CallError>> {
        let attempt = |commands: Vec<Complete>| async move { self.transport.complete_batch(&commands).await };
        repeat_batch(Pauses::new(self.policy, Instant::now()), commands.to_vec(), attempt).await
    }

    async fn extend(&self, command: &Extend) -> Result<ReserveOutcome, CallError> {
        repeat(Pauses::new(self.policy, Instant::now()), || self.transport.extend(command)).await
    }

    async fn usage(&self, key: &LimitKey) -> Result<Option<Usage>, CallError> {
        repeat(Pauses::new(self.policy, Instant::now()), || self.transport.usage(key)).await
    }
}

/// Makes a call until its outcome is known.
pub(super) async fn repeat<R, F>(mut pauses: Pauses, attempt: impl Fn() -> F) -> Result<R, CallError>
where
    F: Future<Output = Result<R, CallError>>,
{
    loop {
        let result = attempt().await;
        if !result.as_ref().is_err_and(CallError::is_unknown) || !pauses.pause().await {
            return result;
        }
    }
}

/// Repeats those items of a batch whose outcome is unknown, until none is.
async fn repeat_batch<C: Clone, R, F>(
    mut pauses: Pauses,
    commands: Vec<C>,
    attempt: impl Fn(Vec<C>) -> F,
) -> Vec<Result<R, CallError>>
where
    F: Future<Output = Vec<Result<R, CallError>>>,
{
    let mut results = attempt(commands.clone()).await;
    loop {
        let is_unknown = |result: &Result<R, CallError>| result.as_ref().is_err_and(CallError::is_unknown);
        let places: Vec<usize> =
            (0..results.len()).filter(|&place| results.get(place).is_some_and(is_unknown)).collect();
        if places.is_empty() || !pauses.pause().await {
            return results;
        }
        let again: Vec<C> = places.iter().filter_map(|&place| commands.get(place)).cloned().collect();
        for (place, result) in places.into_iter().zip(attempt(again).await) {
            if let Some(slot) = results.get_mut(place) {
                *slot = result;
            }
        }
    }
}

impl Pauses {
    /// For a call whose first attempt is made now.
    pub(super) fn new(policy: RepeatPolicy, now: Instant) -> Self {
        let RepeatPolicy { first_pause, pause_max, give_up_after } = policy;
        Self { next: first_pause, pause_max, deadline: now + give_up_after }
    }

    /// How long to wait until the call should be made again; `None` if it should not. `fraction` is fresh_ulid by chance from
    /// 0 to 1.
    pub(super) fn next(&mut self, now: Instant, fraction: f64) -> Option<Duration> {
        // Up to a half shorter, so that callers who failed together do not come back together.
        let pause = self.next.mul_f64(1.0 - fraction / 2.0);
        if now + pause > self.deadline {
            return None;
        }
        self.next = (self.next * 2).min(self.pause_max);
        Some(pause)
    }

    /// Waits until the call should be made again, or answers that it should not.
    async fn pause(&mut self) -> bool {
        let Some(pause) = self.next(Instant::now(), rand::random()) else { return false };
        tokio::time::sleep(pause).await;
        true
    }
}
