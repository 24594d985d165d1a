//! Repeats calls of unknown outcome, under the same ids.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::{AttemptResult, CallError, Complete, Extend, LimitKey, Renew, Reserve, Transport, Usage};

/// Longer times of a policy count as this, so that adding them to a moment cannot overflow.
const TIME_MAX: Duration = Duration::from_secs(366 * 86_400);

/// When a call of unknown outcome is repeated.
///
/// Each pause is shortened at random by up to a half, so that callers that failed together do not repeat together.
///
/// ```
/// use std::time::Duration;
///
/// use ledger_limiter::client::RepeatPolicy;
///
/// let policy = RepeatPolicy::default().first_pause(Duration::from_millis(10)).give_up_after(Duration::from_secs(5));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepeatPolicy {
    pub(super) first_pause: Duration,
    pub(super) pause_max: Duration,
    pub(super) give_up_after: Duration,
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

impl RepeatPolicy {
    /// Sets the first pause. Each further pause is twice as long. 50 ms by default.
    #[must_use]
    pub fn first_pause(self, first_pause: Duration) -> Self {
        Self { first_pause, ..self }
    }

    /// Sets the longest pause. 2 s by default.
    #[must_use]
    pub fn pause_max(self, pause_max: Duration) -> Self {
        Self { pause_max, ..self }
    }

    /// Sets for how long after the first attempt repetitions may begin. 30 s by default; zero means no repetition.
    #[must_use]
    pub fn give_up_after(self, give_up_after: Duration) -> Self {
        Self { give_up_after, ..self }
    }
}

/// A transport that repeats calls while their outcome is unknown.
///
/// If the outcome stays unknown, the error is that of the last repetition.
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

    /// The transport that makes the attempts.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// [`Transport::reserve`], with no repetition that begins after `deadline`.
    pub async fn reserve_until(
        &self,
        command: &Reserve,
        deadline: Instant,
    ) -> Result<AttemptResult, CallError> {
        let mut pauses = Pauses::new(self.policy, Instant::now());
        pauses.deadline = pauses.deadline.min(deadline);
        repeat(pauses, || self.transport.reserve(command)).await
    }
}

impl<T: Transport> Transport for Repeating<T> {
    fn wait_max(&self) -> Duration {
        self.transport.wait_max()
    }

    async fn reserve(&self, command: &Reserve) -> Result<AttemptResult, CallError> {
        repeat(Pauses::new(self.policy, Instant::now()), || self.transport.reserve(command)).await
    }

    async fn complete(&self, command: &Complete) -> Result<(), CallError> {
        repeat(Pauses::new(self.policy, Instant::now()), || self.transport.complete(command)).await
    }

    async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<AttemptResult, CallError>> {
        let attempt = |commands: Vec<Reserve>| async move { self.transport.reserve_batch(&commands).await };
        repeat_batch(Pauses::new(self.policy, Instant::now()), commands.to_vec(), attempt).await
    }

    async fn complete_batch(&self, commands: &[Complete]) -> Vec<Result<(), CallError>> {
        let attempt = |commands: Vec<Complete>| async move { self.transport.complete_batch(&commands).await };
        repeat_batch(Pauses::new(self.policy, Instant::now()), commands.to_vec(), attempt).await
    }

    async fn extend(&self, command: &Extend) -> Result<AttemptResult, CallError> {
        repeat(Pauses::new(self.policy, Instant::now()), || self.transport.extend(command)).await
    }

    async fn renew(&self, command: &Renew) -> Result<AttemptResult, CallError> {
        repeat(Pauses::new(self.policy, Instant::now()), || self.transport.renew(command)).await
    }

    async fn usage(&self, key: &LimitKey) -> Result<Option<Usage>, CallError> {
        repeat(Pauses::new(self.policy, Instant::now()), || self.transport.usage(key)).await
    }
}

/// Makes a call until its outcome is known or the pauses are over.
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

/// Repeats the items of a batch whose outcome is unknown, until none is left or the pauses are over.
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
        let indexes: Vec<usize> =
            (0..results.len()).filter(|&index| results.get(index).is_some_and(is_unknown)).collect();
        if indexes.is_empty() || !pauses.pause().await {
            return results;
        }
        let again: Vec<C> = indexes.iter().filter_map(|&index| commands.get(index)).cloned().collect();
        for (index, repeated) in indexes.into_iter().zip(attempt(again).await) {
            if let Some(result) = results.get_mut(index) {
                *result = repeated;
            }
        }
    }
}

impl Pauses {
    /// The pauses of a call whose first attempt is made now.
    pub(super) fn new(policy: RepeatPolicy, now: Instant) -> Self {
        let RepeatPolicy { first_pause, pause_max, give_up_after } = policy;
        let next = first_pause.min(TIME_MAX);
        Self { next, pause_max: pause_max.min(TIME_MAX), deadline: now + give_up_after.min(TIME_MAX) }
    }

    /// The pause before the next repetition; `None` if there is none. `fraction` is random, from 0 to 1.
    pub(super) fn next(&mut self, now: Instant, fraction: f64) -> Option<Duration> {
        let pause = self.next.mul_f64(1.0 - fraction / 2.0);
        if now + pause > self.deadline {
            return None;
        }
        self.next = (self.next * 2).min(self.pause_max);
        Some(pause)
    }

    /// Waits for the next repetition. Returns false if there is none.
    async fn pause(&mut self) -> bool {
        let Some(pause) = self.next(Instant::now(), rand::random()) else { return false };
        tokio::time::sleep(pause).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_until_the_policy_gives_up() {
        let ms = Duration::from_millis;
        let policy = RepeatPolicy::default().first_pause(ms(100)).pause_max(ms(300)).give_up_after(ms(1_000));
        let now = Instant::now();
        let mut pauses = Pauses::new(policy, now);
        let all: Vec<_> = (0..3).map(|_| pauses.next(now, 0.0)).collect();
        assert_eq!(all, [Some(ms(100)), Some(ms(200)), Some(ms(300))]);
        assert_eq!(pauses.next(now, 1.0), Some(ms(150)), "chance shortens a pause by up to a half");
        assert_eq!(pauses.next(now + ms(701), 0.0), None);
    }

    #[test]
    fn the_longest_times_do_not_overflow() {
        let longest = Duration::MAX;
        let policy = RepeatPolicy::default().first_pause(longest).pause_max(longest).give_up_after(longest);
        let now = Instant::now();
        let mut pauses = Pauses::new(policy, now);
        assert_eq!(pauses.next(now, 0.0), Some(TIME_MAX));
        assert_eq!(pauses.next(now, 0.0), Some(TIME_MAX));
    }
}
