//! What the query of a check says.

use axum::extract::Query;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;

use crate::limit::Amount;
use crate::server::api::path::malformed_query;

/// The query of a check; every part may be left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Fields {
    amount: u64,
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
    pub(crate) denied: StatusCode,
}

impl CheckQuery {
    /// Reads the query of an address; the error begins with the name of the first bad part.
    pub(crate) fn parse(uri: &Uri) -> Result<Self, String> {
        let Query(fields) =
            Query::<Fields>::try_from_uri(uri).map_err(|rejection| malformed_query(&rejection).message())?;
        let amount = (fields.amount > 0).then(|| Amount::new(fields.amount)).transpose();
        let denied = match fields.status {
            429 => StatusCode::TOO_MANY_REQUESTS,
            403 => StatusCode::FORBIDDEN,
            other => return Err(format!("status must be 429 or 403, not {other}")),
        };
        Ok(Self { amount: amount.map_err(|error| format!("amount {error}"))?, denied })
    }
}
