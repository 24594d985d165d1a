//! Schemas of texts that have a form, for `docs/openapi.json`.

use std::borrow::Cow;

use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A ULID that is not zero.
pub(crate) struct Ulid;
/// The key of a limit.
pub(crate) struct Key;
/// The key of a limit or of a template.
pub(crate) struct Name;

macro_rules! text_schema {
    ($name:ident, $component:literal, $schema:expr) => {
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                serde_json::from_value($schema).expect("a schema")
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                $component.into()
            }
        }
    };
}

text_schema!(Ulid, "Ulid", ulid());
text_schema!(Key, "LimitKey", key());
text_schema!(Name, "LimitName", name());

fn ulid() -> Value {
    json!({
        "type": "string",
        "description": "A ULID that is not zero; letters may be in either case.",
        "pattern": "^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$",
        "example": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    })
}

fn key() -> Value {
    json!({
        "type": "string",
        "description": "The name of a limit. `%XX` escapes the bytes that a key cannot hold.",
        "minLength": 1,
        "maxLength": 256,
        "pattern": "^[A-Za-z0-9]([A-Za-z0-9:._/@+=-]|%[0-9A-F]{2})*$",
        "example": "tenant:acme:llm:daily_tokens",
    })
}

fn name() -> Value {
    json!({
        "type": "string",
        "description": "The name of a limit, or of a template: `{name}` fills one segment, `{name*}` at the end the rest.",
        "minLength": 1,
        "maxLength": 256,
        "pattern": "^[A-Za-z0-9{]([A-Za-z0-9:._/@+=*{}-]|%[0-9A-F]{2})*$",
        "example": "tenant:{tenant}:llm:daily_tokens",
    })
}
