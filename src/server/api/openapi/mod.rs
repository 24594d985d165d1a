//! `GET /openapi.json`: the API as an OpenAPI 3.1 document. The program embeds `docs/openapi.json`; only tests make it.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `operations.rs` | the table of operations |
//! | `operation.rs` | the columns of that table |
//! | `document.rs` | the document from the table and the wire types |
//! | `rules.rs` | what holds for the schemas of all types: bounds, `null`, links |
//!
//! To add to the API:
//!
//! 1. A field: nothing, unless it has a bound: `#[cfg_attr(test, schema(maximum = 9))]`.
//! 2. A wire type: `#[cfg_attr(test, derive(utoipa::ToSchema))]`.
//! 3. An operation: one entry in `operations.rs`, and one line in `ROUTES` of `tests/http/access.rs`.
//!
//! Then `UPDATE_OPENAPI=1 cargo test --lib openapi` writes the document again. Without the variable this test fails if
//! the document differs from the types. All tests in `tests/http` check every answer against the document.

#[cfg(test)]
mod document;
#[cfg(test)]
mod operation;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod rules;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

/// The document.
const DOCUMENT: &str = include_str!("../../../../docs/openapi.json");

pub(super) async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_says_what_the_types_say() {
        let document = document::document();
        let text = serde_json::to_string_pretty(&document).expect("JSON") + "\n";
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
            std::fs::write(path, text).expect("the document is written");
            return;
        }
        let differing = text.lines().zip(DOCUMENT.lines()).find(|(made, kept)| made != kept);
        assert_eq!(
            differing, None,
            "UPDATE_OPENAPI=1 cargo test --lib openapi writes docs/openapi.json again"
        );
        assert_eq!(text.len(), DOCUMENT.len(), "the document is cut short, or too long");
    }
}
