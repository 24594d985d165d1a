//! What the tests of the files here share, and tables of plans and files.

mod fields;
mod files;
mod plan;

use ledger_limiter::client::Definition;
use ledger_limiter::limit::json::DefinitionJson;
use serde_json::{Value, json};

pub(super) fn definition(json: Value) -> Definition {
    let json: DefinitionJson = serde_json::from_value(json).expect("a definition");
    json.into_definition().expect("a valid definition")
}

pub(super) fn rolling(key: &str, capacity: u64) -> Definition {
    definition(json!({ "key": key, "kind": "rolling", "capacity": capacity, "window_seconds": 60 }))
}
