//! `GET /v1/admin/denials`: how often limits denied reserves in the last minutes, as this replica saw it.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::Response;

use crate::ledger::Ledger;
use crate::protocol::{DenialsAnswer, DenialsQuery, DeniedBody};
use crate::server::api::answer::answer;
use crate::server::api::guard::{Authorized, ToRead};
use crate::server::api::path::{malformed_query, parse_name};
use crate::server::api::reject::Reject;
use crate::server::metrics::Route;
use crate::server::recent_denials::{Denied, LIMITS_MAX, MINUTES_MAX, minute_now, unix_ms_of_minute};

/// The minutes and the limits of an answer, unless the query says otherwise.
const MINUTES: u64 = 60;
const LIMITS: usize = 100;

pub(crate) async fn denials<L: Ledger>(
    authorized: Authorized<L, ToRead>,
    query: Result<Query<DenialsQuery>, QueryRejection>,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::Admin);
    let Query(query) = query.map_err(|rejection| malformed_query(&rejection))?;
    let minutes = query.minutes.unwrap_or(MINUTES);
    if !(1..=MINUTES_MAX).contains(&minutes) {
        let message = format!("minutes must be between 1 and {MINUTES_MAX}, not {minutes}");
        return Err(Reject::Invalid(message));
    }
    let count_max = query.count.unwrap_or(LIMITS);
    if !(1..=LIMITS_MAX).contains(&count_max) {
        return Err(Reject::Invalid(format!("count must be between 1 and {LIMITS_MAX}, not {count_max}")));
    }
    let key = query.key.as_deref().map(|text| parse_name(&super::key_text(text))).transpose()?;
    authorized.check_keys(&key)?;
    let now = minute_now();
    let denials = &api.metrics.reserves.recent_denials;
    let mut denied = denials
        .read(now, minutes, |limit| key.as_ref().is_none_or(|key| key == limit) && authorized.may_use(limit));
    denied.truncate(count_max);
    let from_unix_ms = unix_ms_of_minute((now + 1).saturating_sub(minutes));
    let limits = denied.into_iter().map(DeniedBody::from).collect();
    Ok(answer(StatusCode::OK, DenialsAnswer { from_unix_ms, minutes, limits }))
}

impl From<Denied> for DeniedBody {
    fn from(denied: Denied) -> Self {
        Self { total: denied.total(), key: denied.key.to_string(), per_minute: denied.per_minute }
    }
}
