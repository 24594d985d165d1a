//! Definitions as fields, and back through files.

use serde_json::json;

use super::super::fields::{Difference, Fields};
use super::*;

fn of_each_kind() -> Vec<Definition> {
    [
        json!({ "key": "a", "kind": "rolling", "capacity": 5, "window_seconds": 60, "unit": "token",
            "description": "Two lines:\n  the second. ", "overage": "deny" }),
        json!({ "key": "b", "kind": "concurrency", "capacity": 5, "timeout_seconds": 60,
            "on_unavailable": "allow", "emergency": { "capacity_share": 0.25, "seconds": 60 },
            "allotment": { "period_ms": 1_000 } }),
        json!({ "key": "c:{tenant}:{rest*}", "kind": "fixed_window", "capacity": u64::MAX >> 1,
            "window_seconds": 86_400, "align": 3_600, "max_instances": 7 }),
        json!({ "key": "d", "kind": "sliding_window", "capacity": 5, "window_seconds": 60, "segments": 6,
            "unit": "no", "description": "- # : { [ ' \" \u{1b} é" }),
        json!({ "key": "e", "kind": "token_bucket", "capacity": 5, "refill_amount": 1,
            "refill_interval_ms": 1_000, "refills_per_interval": 3, "max_wait_ms": 5 }),
        json!({ "key": "f", "kind": "token_bucket", "capacity": 5, "refill_amount": 1, "refill_interval_ms": 1_000,
            "auto_replenish": false, "unit": "1e3", "description": "null", "enforce": false, "alerts": [80, 100] }),
        json!({ "key": "g", "kind": "calendar", "capacity": 5, "period": "month", "time_zone": "Europe/Berlin",
            "starts_at": 15, "unit": "USD", "unit_micros": 1 }),
        json!({ "key": "h", "kind": "sliding_window", "capacity": 5, "window_ms": 250, "segments": 5,
            "auto_replenish": false }),
    ]
    .into_iter()
    .map(definition)
    .collect()
}

#[test]
fn an_export_holds_the_same_definitions() {
    let definitions = of_each_kind();
    let fields: Vec<Fields> = definitions.iter().map(|it| Fields::of(it).expect("fields")).collect();
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in [
        ("all.yaml", super::super::export::yaml(&fields).expect("YAML")),
        ("all.json", serde_json::to_string_pretty(&fields).expect("JSON")),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, &text).expect("it is written");
        let read = super::super::files::read(&[path]).expect("it is read");
        assert_eq!(read, definitions, "{text}");
    }
}

#[test]
fn fields_stand_in_the_order_of_the_api_without_those_that_may_be_left_out() {
    let fields = Fields::of(&rolling("a", 5)).expect("fields");
    let text = serde_json::to_string(&fields).expect("JSON");
    assert_eq!(text, r#"{"key":"a","kind":"rolling","capacity":5,"window_seconds":60,"overage":"debt"}"#);
}

#[test]
fn differences_name_the_fields_on_both_sides() {
    let before = Fields::of(&rolling("a", 5)).expect("fields");
    let after =
        json!({ "key": "a", "kind": "rolling", "capacity": 6, "window_seconds": 60, "unit": "token" });
    let after = Fields::of(&definition(after)).expect("fields");
    let difference = |name: &str, before: Option<Value>, after: Option<Value>| Difference {
        name: name.to_owned(),
        before,
        after,
    };
    assert_eq!(
        before.differences(&after),
        [
            difference("capacity", Some(json!(5)), Some(json!(6))),
            difference("unit", None, Some(json!("token"))),
        ]
    );
    assert_eq!(after.differences(&before)[1], difference("unit", Some(json!("token")), None));
    assert_eq!(before.differences(&before), []);
}
