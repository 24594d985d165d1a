//! What a request to reserve wants beside the decision: what is left of its limits, and a status of its own for denials.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;

use super::Api;
use super::batch::{BatchItem, ItemError};
use super::path::malformed_query;
use super::reject::Reject;
use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::protocol::{LimitReport, ReserveAnswer, ReserveBody, ReserveCommand};

/// What a body asks for.
pub(super) struct Asked {
    pub(super) command: ReserveCommand,
    /// Whether the answer tells what is left of the limits.
    pub(super) report: bool,
}

/// The query of `POST /v1/reserve`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct ReserveQuery {
    /// The status of a denial: 429, or 200 if left out.
    #[cfg_attr(test, schema(minimum = 429, maximum = 429))]
    status: Option<u16>,
}

/// The limits whose rest each item of a batch tells; none for an item that does not.
pub(super) struct ReportedKeys(Vec<Vec<LimitKey>>);

impl Asked {
    /// Checks every field; the error begins with the name of the first bad one.
    pub(super) fn new(body: ReserveBody) -> Result<Self, String> {
        let report = body.report;
        Ok(Self { command: body.into_command()?, report })
    }
}

/// The status of a denial: 200 unless the query says 429.
///
/// It stands in the query, because the answer depends on it: a service may ignore the header `Prefer`.
pub(super) fn denied_status(uri: &Uri) -> Result<StatusCode, Reject> {
    if uri.query().is_none() {
        return Ok(StatusCode::OK);
    }
    let Query(query) =
        Query::<ReserveQuery>::try_from_uri(uri).map_err(|rejection| malformed_query(&rejection))?;
    match query.status {
        None => Ok(StatusCode::OK),
        Some(429) => Ok(StatusCode::TOO_MANY_REQUESTS),
        Some(other) => Err(Reject::Invalid(format!("status must be 429, not {other}"))),
    }
}

impl ReportedKeys {
    /// The keys of the items that ask for it, or of all items.
    pub(super) fn of(items: &[Result<Asked, ItemError>], all: bool) -> Self {
        let keys_of = |item: &Result<Asked, ItemError>| match item {
            Ok(asked) if asked.report || all => asked.command.keys().cloned().collect(),
            Ok(_) | Err(_) => Vec::new(),
        };
        Self(items.iter().map(keys_of).collect())
    }

    /// Adds to the answers what is left of their limits. One look-up reads all of them.
    pub(super) async fn report<L: Ledger>(&self, api: &Api<L>, results: &mut [ReserveAnswer]) {
        let is_of_ledger = |answer: &ReserveAnswer| !answer.is_unknown() && !answer.emergency;
        let told = self.0.iter().zip(&*results).filter(|(_, answer)| is_of_ledger(answer));
        let mut keys: Vec<&LimitKey> = told.flat_map(|(keys, _)| keys).collect();
        keys.sort_unstable();
        keys.dedup();
        let Some(reports) = api.report(&keys).await else { return };
        let by_key: BTreeMap<&str, &LimitReport> =
            reports.iter().map(|report| (report.key.as_str(), report)).collect();
        for (keys, answer) in self.0.iter().zip(results) {
            if !keys.is_empty() && is_of_ledger(answer) {
                let reports = keys.iter().filter_map(|key| by_key.get(key.as_str()).copied().cloned());
                answer.limits = Some(reports.collect());
            }
        }
    }
}
