//! Limit keys in the path of a request, and faults of its query. A key may hold slashes, so a suffix of the path names the
//! action.

use axum::extract::Path;
use axum::extract::rejection::{PathRejection, QueryRejection};

use super::reject::Reject;
use crate::limit::LimitKey;

/// The part of the path after the prefix of the route. It is an error if its `%XX` escapes are not UTF-8.
pub(super) type KeyPath = Result<Path<String>, PathRejection>;

/// The key of a limit.
pub(super) fn parse_key(text: &str) -> Result<LimitKey, Reject> {
    LimitKey::parse(text).map_err(|error| Reject::Invalid(format!("key {error}")))
}

/// The key of a limit or of a template.
pub(super) fn parse_name(text: &str) -> Result<LimitKey, Reject> {
    LimitKey::parse_name(text).map_err(|error| Reject::Invalid(format!("key {error}")))
}

/// Says what is wrong with the query. The outer errors only say that the query is wrong.
pub(super) fn malformed_query(rejection: &QueryRejection) -> Reject {
    let mut cause: &dyn std::error::Error = rejection;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Reject::Invalid(format!("query: {cause}"))
}
