//! Batches: runs the items and answers each in its place.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::Api;
use super::json::answer;
use super::reject::{Reject, unavailable};
use crate::ledger::Ledger;
use crate::limiter::LimiterError;
use crate::protocol::{BatchAnswer, INVALID_REQUEST};
use crate::server::metrics::Metrics;
use crate::telemetry::{Counter, with_sources};

/// The answer to one item of a batch.
pub(super) trait BatchItem: Serialize {
    /// The answer to a malformed item.
    fn invalid(message: &str) -> Self;
    /// The answer to an item whose outcome is unknown.
    fn unknown() -> Self;
    /// Whether this is [`BatchItem::unknown`].
    fn is_unknown(&self) -> bool;
    /// The counter of unknown outcomes.
    fn unknowns(metrics: &Metrics) -> &Counter;
}

impl<L: Ledger> Api<L> {
    /// Runs the well-formed items of a batch with `run`, and answers every item in order. The response is 503 only if the outcome
    /// of every item is unknown.
    pub(super) async fn answer_batch<C, T, A: BatchItem>(
        &self,
        items: Vec<Result<C, String>>,
        run: impl AsyncFnOnce(&[C]) -> Vec<Result<T, LimiterError>>,
        conclude: impl Fn(&C, T) -> A,
    ) -> Response {
        let mut commands = Vec::with_capacity(items.len());
        let well_formed: Vec<Result<(), String>> =
            items.into_iter().map(|item| item.map(|command| commands.push(command))).collect();
        let answers = self.in_time(async { Ok::<_, Reject>(run(&commands).await) }).await;
        let mut answers = answers.unwrap_or_default().into_iter();
        let mut commands = commands.iter();
        let mut next_answer = |()| match (commands.next(), answers.next()) {
            (Some(command), Some(Ok(outcome))) => conclude(command, outcome),
            (_, Some(Err(error))) => {
                tracing::warn!(error = with_sources(&error), "the outcome of a batch item is unknown");
                A::unknown()
            }
            (_, None) | (None, Some(Ok(_))) => A::unknown(),
        };
        let result = |item: Result<(), String>| match item {
            Ok(item) => next_answer(item),
            Err(message) => A::invalid(&format!("{INVALID_REQUEST}: {message}")),
        };
        let results: Vec<A> = well_formed.into_iter().map(result).collect();
        let unknown = results.iter().filter(|result| result.is_unknown()).count();
        A::unknowns(&self.metrics).inc_by(unknown as u64);
        if unknown == results.len() {
            return unavailable(answer(StatusCode::SERVICE_UNAVAILABLE, BatchAnswer { results }));
        }
        answer(StatusCode::OK, BatchAnswer { results })
    }
}
