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

/// How the items of a batch are answered.
pub(super) trait BatchItem: Serialize {
    /// The item is malformed.
    fn invalid(message: &str) -> Self;
    /// The outcome of the item is unknown.
    fn unknown() -> Self;
    /// Whether this is [`BatchItem::unknown`].
    fn is_unknown(&self) -> bool;
    /// Where unknown outcomes are counted.
    fn unknowns(metrics: &Metrics) -> &Counter;
}

impl<L: Ledger> Api<L> {
    /// Carries out the good items of a batch with `run`, and answers every item in its place. Only where nothing at all
    /// is known is the whole batch unavailable.
    pub(super) async fn answer_batch<C, T, A: BatchItem>(
        &self,
        items: Vec<Result<C, String>>,
        run: impl AsyncFnOnce(&[C]) -> Vec<Result<T, LimiterError>>,
        conclude: impl Fn(&C, T) -> A,
    ) -> Response {
        let mut commands = Vec::with_capacity(items.len());
        let places: Vec<Result<(), String>> =
            items.into_iter().map(|item| item.map(|command| commands.push(command))).collect();
        let answers = self.in_time(async { Ok::<_, Reject>(run(&commands).await) }).await;
        let mut answers = answers.unwrap_or_default().into_iter();
        let mut commands = commands.iter();
        let mut in_place = |()| match (commands.next(), answers.next()) {
            (Some(command), Some(Ok(outcome))) => conclude(command, outcome),
            (_, Some(Err(error))) => {
                tracing::warn!(error = with_sources(&error), "an item of a batch has no answer");
                A::unknown()
            }
            (_, None) | (None, Some(Ok(_))) => A::unknown(),
        };
        let result = |place: Result<(), String>| match place {
            Ok(place) => in_place(place),
            Err(message) => A::invalid(&format!("{INVALID_REQUEST}: {message}")),
        };
        let results: Vec<A> = places.into_iter().map(result).collect();
        let unknown = results.iter().filter(|result| result.is_unknown()).count();
        A::unknowns(&self.metrics).inc_by(unknown as u64);
        if unknown == results.len() {
            return unavailable(answer(StatusCode::SERVICE_UNAVAILABLE, BatchAnswer { results }));
        }
        answer(StatusCode::OK, BatchAnswer { results })
    }
}
