//! `GET /v1/admin/limits`: a page of the limits and templates, or of the instances of one template.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::Response;

use super::{info, key_text};
use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::protocol::{LimitsAnswer, ListQuery};
use crate::registry::{KeyRange, LimitFilter};
use crate::server::api::answer::answer;
use crate::server::api::guard::{Authorized, ToRead};
use crate::server::api::path::malformed_query;
use crate::server::api::reject::Reject;
use crate::server::metrics::Route;

/// The most limits of a page, and their number unless the query says otherwise.
const PAGE_LIMITS_MAX: usize = 5_000;

pub(crate) async fn list<L: Ledger>(
    authorized: Authorized<L, ToRead>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::Admin);
    let Query(query) = query.map_err(|rejection| malformed_query(&rejection))?;
    let count_max = query.count.unwrap_or(PAGE_LIMITS_MAX);
    if !(1..=PAGE_LIMITS_MAX).contains(&count_max) {
        let message = format!("count must be between 1 and {PAGE_LIMITS_MAX}, not {count_max}");
        return Err(Reject::Invalid(message));
    }
    let filter = filter(&query)?;
    authorized.check_keys(&filter.template)?;
    let contained = key_text(&query.contains);
    let is_wanted = |key: &LimitKey| key.as_str().contains(&contained) && authorized.may_use(key);
    let page = api.in_time(api.engine.admin().page(&filter, count_max, is_wanted)).await?;
    let limits = page.limits.iter().map(|limit| info(api.engine.limiter(), limit)).collect();
    let next_after = page.next_after.map_or_else(String::new, |key| key.to_string());
    Ok(answer(StatusCode::OK, LimitsAnswer { limits, next_after }))
}

fn filter(query: &ListQuery) -> Result<LimitFilter, Reject> {
    let template = query.template.as_deref().map(|text| LimitKey::parse_name(&key_text(text)));
    let template = template.transpose().map_err(|error| Reject::Invalid(format!("template {error}")))?;
    let keys = KeyRange { prefix: key_text(&query.prefix), after: key_text(&query.after) };
    Ok(LimitFilter { keys, template })
}
