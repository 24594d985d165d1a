//! Plans, as tables.

use ledger_limiter::client::ExpectedVersion;
use serde_json::json;

use super::super::plan::{Change, Next, Plan, PlanError, Present, Scope, plan};
use super::*;

fn present(key: &str, capacity: u64) -> Present {
    Present { definition: rolling(key, capacity), version: 3 }
}

fn slots(key: &str) -> Definition {
    definition(json!({ "key": key, "kind": "concurrency", "capacity": 1, "timeout_seconds": 60 }))
}

fn update(key: &str, from: u64, to: u64) -> Change {
    Change::Update { before: present(key, from), after: rolling(key, to) }
}

#[test]
fn a_plan_creates_changes_and_deletes_what_differs() {
    struct Case {
        wanted: Vec<Definition>,
        present: Vec<Present>,
        /// `None` if nothing is deleted.
        prune: Option<&'static str>,
        changes: Vec<Change>,
        unchanged: usize,
    }
    let cases = [
        Case { wanted: vec![], present: vec![], prune: None, changes: vec![], unchanged: 0 },
        Case {
            wanted: vec![rolling("b", 1), rolling("a", 1)],
            present: vec![],
            prune: None,
            changes: vec![Change::Create(rolling("a", 1)), Change::Create(rolling("b", 1))],
            unchanged: 0,
        },
        Case {
            wanted: vec![rolling("a", 1), rolling("b", 2)],
            present: vec![present("a", 1), present("b", 1)],
            prune: None,
            changes: vec![update("b", 1, 2)],
            unchanged: 1,
        },
        // What nobody wants stays.
        Case {
            wanted: vec![rolling("a", 1)],
            present: vec![present("a", 1), present("b", 1)],
            prune: None,
            changes: vec![],
            unchanged: 1,
        },
        // Deletions come last, and touch only the prefix.
        Case {
            wanted: vec![rolling("t:z", 1), rolling("t:b", 1)],
            present: vec![present("other", 1), present("t:a", 1), present("t:b", 5), present("tt", 1)],
            prune: Some("t:"),
            changes: vec![
                update("t:b", 5, 1),
                Change::Create(rolling("t:z", 1)),
                Change::Delete(present("t:a", 1)),
            ],
            unchanged: 0,
        },
        // A template and a limit that it matches are two definitions.
        Case {
            wanted: vec![rolling("t:{tenant}", 1)],
            present: vec![present("t:{tenant}", 1), present("t:acme", 9)],
            prune: None,
            changes: vec![],
            unchanged: 1,
        },
    ];
    for Case { wanted, present, prune, changes, unchanged } in cases {
        let scope = Scope { prefix: prune.unwrap_or_default().to_owned(), prunes: prune.is_some() };
        assert_eq!(plan(&wanted, present, &scope), Ok(Plan { changes, unchanged }));
    }
}

#[test]
fn every_field_of_a_definition_makes_a_difference() {
    let bucket = json!({
        "key": "b:{x}", "kind": "token_bucket", "capacity": 10, "refill_amount": 1, "refill_interval_ms": 100,
        "on_unavailable": "allow", "emergency": { "capacity_share": 0.5, "seconds": 60 },
    });
    let before = definition(bucket.clone());
    for (field, value) in [
        ("capacity", json!(11)),
        ("refill_amount", json!(2)),
        ("refill_interval_ms", json!(200)),
        ("refills_per_interval", json!(2)),
        ("auto_replenish", json!(false)),
        ("max_wait_ms", json!(5)),
        ("enforce", json!(false)),
        ("max_instances", json!(7)),
        ("unit", json!("token")),
        ("description", json!("for tests")),
        ("overage", json!("deny")),
        ("emergency", json!({ "capacity_share": 0.5, "seconds": 61 })),
    ] {
        let mut changed = bucket.clone();
        changed[field] = value;
        let after = definition(changed);
        let before = Present { definition: before.clone(), version: 1 };
        let changes = vec![Change::Update { before: before.clone(), after: after.clone() }];
        let planned = plan(&[after], [before], &Scope::default());
        assert_eq!(planned, Ok(Plan { changes, unchanged: 0 }), "{field}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is_changed() {
    let prune = |prefix: &str| Scope { prefix: prefix.to_owned(), prunes: true };
    let in_prefix = |prefix: &str| Scope { prefix: prefix.to_owned(), prunes: false };
    for (wanted, present, scope, error) in [
        (
            vec![slots("a")],
            vec![present("a", 1)],
            Scope::default(),
            "limit a is of kind rolling, which cannot be changed to concurrency; delete the limit first",
        ),
        (
            vec![rolling("t:a", 1), rolling("u", 1)],
            vec![],
            in_prefix("t:"),
            "limit u does not begin with the prefix \"t:\"; leave it out, or choose another --prefix",
        ),
        (
            vec![],
            vec![present("t:a", 1)],
            prune("t:"),
            "no wanted limit begins with \"t:\", so all limits of that prefix would be deleted; delete them by name",
        ),
    ] {
        let planned = plan(&wanted, present, &scope);
        assert_eq!(planned.map_err(|error| error.to_string()), Err(error.to_owned()));
    }
}

#[test]
fn a_change_expects_the_version_that_the_plan_saw() {
    for (change, expected) in [
        (Change::Create(rolling("a", 1)), ExpectedVersion::Undefined),
        (update("a", 1, 2), ExpectedVersion::Is(3)),
        (Change::Delete(present("a", 1)), ExpectedVersion::Is(3)),
    ] {
        assert_eq!(change.expects(), expected);
        assert_eq!(change.key().as_str(), "a");
    }
}

#[test]
fn after_a_conflict_a_change_goes_on_only_over_what_the_plan_saw() {
    let newer = |capacity| Some(Present { version: 4, ..present("a", capacity) });
    let repeat = |change| Next::Repeat(Box::new(change));
    let create = || Change::Create(rolling("a", 2));
    let delete = || Change::Delete(present("a", 1));
    for (change, found, next) in [
        (create(), None, repeat(create())),
        (create(), newer(2), Next::Done),
        (create(), newer(9), Next::GiveUp),
        (update("a", 1, 2), newer(2), Next::Done),
        (
            update("a", 1, 2),
            newer(1),
            repeat(Change::Update {
                before: Present { version: 4, ..present("a", 1) },
                after: rolling("a", 2),
            }),
        ),
        (update("a", 1, 2), newer(9), Next::GiveUp),
        (update("a", 1, 2), None, Next::GiveUp),
        (delete(), None, Next::Done),
        (delete(), newer(1), repeat(Change::Delete(Present { version: 4, ..present("a", 1) }))),
        (delete(), newer(9), Next::GiveUp),
    ] {
        assert_eq!(change.clone().next(found.clone()), next, "{change:?} {found:?}");
    }
}

#[test]
fn a_plan_that_was_carried_out_has_nothing_left_to_do() {
    let wanted = [rolling("t:a", 1), rolling("t:b", 2), slots("t:c")];
    let scope = Scope { prefix: "t:".to_owned(), prunes: true };
    let mut present = vec![present("t:b", 1), present("t:d", 1)];
    for change in plan(&wanted, present.clone(), &scope).expect("a plan").changes {
        let key = change.key().clone();
        present.retain(|limit| limit.definition.key != key);
        match change {
            Change::Create(definition) | Change::Update { after: definition, .. } => {
                present.push(Present { definition, version: 1 });
            }
            Change::Delete(_) => {}
        }
    }
    assert_eq!(plan(&wanted, present, &scope), Ok(Plan { changes: vec![], unchanged: 3 }));
}

#[test]
fn a_service_that_tells_no_versions_is_refused() {
    use ledger_limiter::protocol::LimitInfo;
    // The answer of a service of an older version has no field `version`.
    let answer = json!({
        "definition": { "key": "a", "kind": "rolling", "capacity": 1, "window_seconds": 60 },
        "status": "active", "pending_decrease_to": 0, "usage": { "available": 1, "reserved": 0, "debt": 0 },
    });
    let limit: LimitInfo = serde_json::from_value(answer).expect("an answer");
    assert_eq!(limit.version, 0);
    assert!(matches!(Present::with_version(rolling("a", 1), limit.version), Err(PlanError::NoVersion)));
}
