//! Runs the well-formed items of a batch, and answers every item in its position.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Api;
use super::answer::answer;
use super::json::{Body, parse_batch};
use super::refusal::Forbidden;
use super::reject::{Reject, unavailable};
use crate::ledger::Ledger;
use crate::limiter::LimiterError;
use crate::protocol::{BatchAnswer, FORBIDDEN, INVALID_REQUEST};
use crate::server::Metrics;
use crate::telemetry::Counter;

/// The answer to one item of a batch.
pub(super) trait BatchItem: Serialize + Sized {
    /// The item failed with this error.
    fn failed(error: &str) -> Self;
    /// The item is malformed.
    fn invalid(message: &str) -> Self {
        Self::failed(&format!("{INVALID_REQUEST}: {message}"))
    }
    /// The caller may not do what the item asks for.
    fn forbidden(message: &str) -> Self {
        Self::failed(&format!("{FORBIDDEN}: {message}"))
    }
    /// The outcome of the item is unknown. The answer says when to repeat it.
    fn unknown() -> Self;
    /// Whether the answer is [`BatchItem::unknown`].
    fn is_unknown(&self) -> bool;
    /// The counter of unknown outcomes.
    fn unknown_counter(metrics: &Metrics) -> &Counter;
}

/// Why an item of a batch is not run.
#[derive(Debug)]
pub(super) enum ItemError {
    /// It is malformed.
    Invalid(String),
    /// The caller may not do what it asks for.
    Forbidden(Forbidden),
}

impl From<Forbidden> for ItemError {
    fn from(forbidden: Forbidden) -> Self {
        Self::Forbidden(forbidden)
    }
}

/// Reads the commands of a batch, each by itself: one that is malformed, or that `check` forbids, is an error in its position.
///
/// # Errors
///
/// The body is not a batch, or has no items, or more than `requests_max`.
pub(super) fn commands<B: DeserializeOwned, C>(
    body: Body,
    requests_max: usize,
    into_command: impl Fn(B) -> Result<C, String>,
    check: impl Fn(&C) -> Result<(), Forbidden>,
) -> Result<Vec<Result<C, ItemError>>, Reject> {
    let command = |item: Result<B, String>| {
        let command = item.and_then(&into_command).map_err(ItemError::Invalid)?;
        check(&command)?;
        Ok(command)
    };
    Ok(parse_batch(body, requests_max)?.into_iter().map(command).collect())
}

impl<L: Ledger> Api<L> {
    /// Runs the commands of a batch with `run`, and answers each item in its position: an outcome as `conclude` says, another
    /// item as its error says. If the ledger gave no answer, `without_ledger` may give one. An item may wait for
    /// room for at most `wait`.
    pub(super) async fn answer_items<C, T, A: BatchItem>(
        &self,
        wait: Duration,
        items: Vec<Result<C, ItemError>>,
        run: impl AsyncFnOnce(&[C]) -> Vec<Result<T, Reject>>,
        conclude: impl Fn(&C, T) -> A,
        without_ledger: impl Fn(&C, &Reject) -> Option<A>,
    ) -> Vec<A> {
        let mut commands = Vec::with_capacity(items.len());
        // `Ok` stands for the next command, in the order of the items.
        let items: Vec<Result<(), ItemError>> =
            items.into_iter().map(|item| item.map(|command| commands.push(command))).collect();
        // Without a command nothing is asked of the ledger, and nothing is learned about it.
        let outcomes = match commands.is_empty() {
            true => Ok(Vec::new()),
            false => self.in_time_after(wait, async { unless_all_failed(run(&commands).await) }).await,
        };
        let (outcomes, no_answer) = match outcomes.inspect_err(Reject::log) {
            Ok(outcomes) => (outcomes, None),
            Err(reject) => (Vec::new(), Some(reject)),
        };
        let mut outcomes = outcomes.into_iter();
        let mut commands = commands.iter();
        let mut next_answer = || {
            let Some(command) = commands.next() else { return A::unknown() };
            match outcomes.next() {
                Some(Ok(outcome)) => conclude(command, outcome),
                Some(Err(reject)) => without_ledger(command, &reject).unwrap_or_else(|| {
                    reject.log();
                    A::unknown()
                }),
                None => {
                    let answer = no_answer.as_ref().and_then(|reject| without_ledger(command, reject));
                    answer.unwrap_or_else(A::unknown)
                }
            }
        };
        let answer = |item| match item {
            Ok(()) => next_answer(),
            Err(ItemError::Invalid(message)) => A::invalid(&message),
            Err(ItemError::Forbidden(forbidden)) => A::forbidden(&forbidden.to_string()),
        };
        items.into_iter().map(answer).collect()
    }

    /// The answer to a batch. If an outcome is unknown, it says when to repeat, as a whole and in the item. The status is 503
    /// only if the outcome of every item is unknown.
    pub(super) fn answer_batch<A: BatchItem>(&self, results: Vec<A>) -> Response {
        let unknown = results.iter().filter(|result| result.is_unknown()).count();
        A::unknown_counter(&self.metrics).inc_by(unknown as u64);
        let all_unknown = unknown == results.len();
        let status = if all_unknown { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        let response = answer(status, BatchAnswer { results });
        if unknown == 0 { response } else { unavailable(response) }
    }
}

/// The errors as rejects.
pub(super) fn rejects<T>(outcomes: Vec<Result<T, LimiterError>>) -> Vec<Result<T, Reject>> {
    outcomes.into_iter().map(|outcome| outcome.map_err(Reject::from)).collect()
}

/// The outcomes; an error if there is nothing else. One that tells about the ledger comes before a caller that hung up.
fn unless_all_failed<T>(mut outcomes: Vec<Result<T, Reject>>) -> Result<Vec<Result<T, Reject>>, Reject> {
    if !outcomes.is_empty() && outcomes.iter().all(Result::is_err) {
        let tells = |outcome: &Result<T, Reject>| !matches!(outcome, Err(Reject::HungUp));
        outcomes.swap_remove(outcomes.iter().position(tells).unwrap_or(0))?;
    }
    Ok(outcomes)
}
