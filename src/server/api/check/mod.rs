//! `/v1/check/{key}`: takes an amount of one limit for good, and answers as proxies and scripts read it, by the status and by
//! headers.
//!
//! Every method does the same. nginx, Caddy and Traefik ask with GET, Traefik and Envoy also with the method of the request
//! that they have, and scripts with POST. A body is not read.
//!
//! | file | what it is |
//! | --- | --- |
//! | `query.rs` | amount, and the status of a denial |
//! | `headers.rs` | what is left, as headers |
//! | `pages.rs` | refuses web pages of other sites |
//! | `problem.rs` | answers as `application/problem+json` |

mod headers;
mod pages;
mod problem;
mod query;

use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::answer::answer;
use super::denied_status::{retry_after_seconds, status_of, with_retry_after};
use super::guard::{Authorized, ToReserve};
use super::left::report_of;
use super::path::{KeyPath, parse_key};
use super::refusal::Refusal;
use super::reject::Reject;
use super::reserve::{Decided, decide};
use crate::ledger::Ledger;
use crate::limit::{Amount, Kind, LeaseId, LimitKey};
use crate::limiter::Left;
use crate::protocol::{CommandOutcome, Requirement, Reserve, ReserveAnswer, ReserveCommand};
use crate::server::metrics::Route;
use crate::time::unix_ms;
use headers::Told;
#[cfg(test)]
pub(crate) use problem::{Problem, is_accepted as accepts_problems};
pub(crate) use query::CheckQuery;
#[cfg(test)]
pub(crate) use query::Fields as CheckFields;

/// What a check found.
struct Checked {
    key: LimitKey,
    decided: Decided,
    denied: StatusCode,
    /// `None` if the ledger does not tell.
    left: Option<Left>,
}

pub(super) async fn check<L: Ledger>(
    authorized: Authorized<L, ToReserve>,
    path: KeyPath,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::Check);
    let as_problem = problem::is_accepted(&headers);
    let decided = match pages::refuse_pages(&headers).map_err(Refusal::from) {
        Ok(()) => checked(&authorized, path, &uri).await,
        Err(refusal) => Err(refusal.into()),
    };
    match decided {
        Ok(checked) => checked.respond(api, as_problem),
        Err(reject) if as_problem => problem::of_reject(reject),
        Err(reject) => reject.into_response(),
    }
}

async fn checked<L: Ledger>(
    authorized: &Authorized<L, ToReserve>,
    path: KeyPath,
    uri: &Uri,
) -> Result<Checked, Reject> {
    let (api, key) = (authorized.api(), parse_key(&path?.0)?);
    let CheckQuery { amount, denied } = CheckQuery::parse(uri)?;
    authorized.check_keys([&key])?;
    refuse_slots(api, &key).await?;
    let requirement = Requirement { key: key.clone(), amount: amount.unwrap_or(Amount::ONE) };
    let reserve = Reserve::of_one(LeaseId::generate(), requirement);
    let command = match amount {
        Some(_) => ReserveCommand::Take(reserve),
        None => ReserveCommand::Look(reserve),
    };
    let decided = decide(api, &command).await?;
    let left = if decided.without_ledger { Vec::new() } else { api.left(&[&key]).await };
    Ok(Checked { key, decided, denied, left: left.into_iter().flatten().next() })
}

/// Refuses a concurrency limit: nobody would release the slot.
async fn refuse_slots<L: Ledger>(api: &Api<L>, key: &LimitKey) -> Result<(), Reject> {
    let limiter = api.engine.limiter();
    let kind = match limiter.known_kind(key) {
        Some(kind) => Some(kind),
        None => api.in_time(limiter.kind_of(key)).await?,
    };
    match kind {
        Some(Kind::Concurrency(_)) => Err(Reject::Invalid(format!(
            "key {key} is a concurrency limit: a check has no lease, so nothing could release its slot; use /v1/reserve \
             and /v1/complete"
        ))),
        Some(
            Kind::Rolling(_)
            | Kind::TokenBucket(_)
            | Kind::FixedWindow(_)
            | Kind::SlidingWindow(_)
            | Kind::Calendar(_),
        )
        | None => Ok(()),
    }
}

impl Checked {
    fn respond<L: Ledger>(self, api: &Api<L>, as_problem: bool) -> Response {
        let denial = match &self.decided.outcome {
            CommandOutcome::Reserved(outcome) | CommandOutcome::Looked(outcome) => Some(outcome),
            CommandOutcome::LookedFree { .. } => None,
        };
        let status = denial.map_or(StatusCode::OK, |outcome| status_of(outcome, self.denied));
        let problem = denial.filter(|_| as_problem).and_then(|outcome| problem::of_denial(outcome, status));
        let mut response = problem.unwrap_or_else(|| answer(status, self.body()));
        if let Some(left) = self.left {
            let told = Told {
                key: &self.key,
                left,
                retry_after_seconds: denial.and_then(retry_after_seconds),
                now_ms: unix_ms(api.engine.limiter().now_ns()),
            };
            told.add_to(response.headers_mut(), &api.answers.headers);
        }
        match denial {
            Some(outcome) => with_retry_after(response, outcome),
            None => response,
        }
    }

    fn body(&self) -> ReserveAnswer {
        let limits = self.left.as_ref().map(|left| vec![report_of(&self.key, left)]);
        let answer = ReserveAnswer::from(self.decided.outcome.clone());
        ReserveAnswer { limits, emergency: answer.allowed && self.decided.without_ledger, ..answer }
    }
}
