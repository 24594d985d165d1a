//! What the query of a check says.

use axum::extract::Query;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;

use crate::limit::Amount;
use crate::server::api::path::malformed_query;
use crate::server::api::reject::Reject;

/// The query of a check; every part may be left out.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Fields {
    /// The amount to take: 1 to 2^63-1, or 0 to ask whether anything is free; 1 if left out.
    #[cfg_attr(test, schema(maximum = 9_223_372_036_854_775_807_i64))]
    amount: u64,
    /// The status of a denial: 429, or 403 for proxies that pass on no other; 429 if left out.
    #[cfg_attr(test, schema(minimum = 403, maximum = 429))]
    status: u16,
}

impl Default for Fields {
    fn default() -> Self {
        Self { amount: 1, status: StatusCode::TOO_MANY_REQUESTS.as_u16() }
    }
}

/// What a check asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CheckQuery {
    /// What it takes. `None` only asks whether anything is free.
    pub(super) amount: Option<Amount>,
    /// The status of a denial: 429, or 403 for proxies that pass on no other.
    pub(super) denied: StatusCode,
}

impl CheckQuery {
    /// Reads the query of an address.
    pub(super) fn parse(uri: &Uri) -> Result<Self, Reject> {
        let Query(fields) =
            Query::<Fields>::try_from_uri(uri).map_err(|rejection| malformed_query(&rejection))?;
        let amount = (fields.amount > 0).then(|| Amount::new(fields.amount)).transpose();
        let denied = match fields.status {
            429 => StatusCode::TOO_MANY_REQUESTS,
            403 => StatusCode::FORBIDDEN,
            other => return Err(Reject::Invalid(format!("status must be 429 or 403, not {other}"))),
        };
        Ok(Self { amount: amount.map_err(|error| Reject::Invalid(format!("amount {error}")))?, denied })
    }

    /// The status of a denial, for the fuzz target.
    #[cfg(test)]
    pub(crate) fn denied_in(uri: &Uri) -> Option<StatusCode> {
        Self::parse(uri).ok().map(|query| query.denied)
    }
}
