//! The commands that change limits, or show what would change.

use super::*;

const LIMITS: &str = "\
- key: tenant:acme:rpm
  kind: rolling
  capacity: 60
  window_seconds: 60
- key: tenant:{tenant}:slots
  kind: concurrency
  capacity: 4
  timeout_seconds: 300
";

#[test]
fn apply_makes_the_limits_of_a_file_and_then_has_nothing_to_do() {
    let world = World::start();
    world.write("limits.yaml", LIMITS);

    let diff = world.run("diff -f limits.yaml").exits_with(2);
    assert_eq!(
        diff,
        "\
+ tenant:acme:rpm
    kind: rolling
    capacity: 60
    window_seconds: 60
    overage: debt
+ tenant:{tenant}:slots
    kind: concurrency
    capacity: 4
    timeout_seconds: 300
    max_instances: 100000
    overage: debt
2 to create, 0 to change, 0 to delete, 0 unchanged
"
    );
    assert_eq!(world.run("apply -f limits.yaml --dry-run").exits_with(2), diff);
    assert_eq!(world.capacities(), [], "neither of them changes anything");

    let applied = world.run("apply -f limits.yaml").exits_with(0);
    assert_eq!(applied, format!("{diff}2 of 2 changes made\n"));
    let expected = [("tenant:acme:rpm".to_owned(), 60), ("tenant:{tenant}:slots".to_owned(), 4)];
    assert_eq!(world.capacities(), expected);

    for command in ["apply -f limits.yaml", "apply -f limits.yaml --dry-run", "diff -f limits.yaml"] {
        assert_eq!(world.run(command).exits_with(0), "nothing to do: 2 unchanged\n", "{command}");
    }
    // No version was made for nothing.
    assert_eq!(world.run("get tenant:acme:rpm --json").json(0)["version"], json!(1));
}

#[test]
fn a_change_shows_both_values() {
    let world = World::start();
    world.write("a.json", rolling("rpm", 60).to_string());
    world.run("apply -f a.json").exits_with(0);
    world.write("a.json", rolling("rpm", 90).to_string());
    assert_eq!(
        world.run("apply -f a.json").exits_with(0),
        "\
~ rpm
    capacity: 60 -> 90
0 to create, 1 to change, 0 to delete, 0 unchanged
1 of 1 changes made
"
    );
    assert_eq!(world.capacities(), [("rpm".to_owned(), 90)]);
}

#[test]
fn only_prune_deletes_and_only_below_its_prefix() {
    let world = World::start();
    let all = json!([rolling("a:1", 1), rolling("a:2", 1), rolling("b:1", 1)]);
    world.write("all.json", all.to_string());
    world.run("apply -f all.json").exits_with(0);
    world.write("some/a.json", json!([rolling("a:2", 1)]).to_string());

    assert_eq!(world.run("apply -f some").exits_with(0), "nothing to do: 1 unchanged\n");
    let without_prefix = world.run("apply -f some --prune");
    assert!(without_prefix.stderr.contains("--prefix"), "{without_prefix:?}");
    without_prefix.exits_with(1);
    assert_eq!(world.capacities().len(), 3);

    let expected = "\
- a:1
    kind: rolling
    capacity: 1
    window_seconds: 60
    overage: debt
0 to create, 0 to change, 1 to delete, 1 unchanged
";
    assert_eq!(world.run("diff -f some --prune --prefix a:").exits_with(2), expected);
    let applied = world.run("apply -f some --prune --prefix a:").exits_with(0);
    assert_eq!(applied, format!("{expected}1 of 1 changes made\n"));
    assert_eq!(world.capacities(), [("a:2".to_owned(), 1), ("b:1".to_owned(), 1)]);

    world.write("none.yaml", "# nothing\n");
    let all = world.run("apply -f none.yaml --prune --prefix a:");
    assert!(all.stderr.contains("all limits of that prefix would be deleted"), "{all:?}");
    all.exits_with(1);
    assert_eq!(world.capacities().len(), 2);
}

#[test]
fn an_export_applied_again_changes_nothing() {
    let world = World::start();
    world.write("limits.yaml", LIMITS);
    world.run("apply -f limits.yaml").exits_with(0);
    for format in ["yaml", "json"] {
        let exported = world.run(&format!("export --format {format}")).exits_with(0);
        world.write(&format!("export.{format}"), exported);
        let again = world.run(&format!("apply -f export.{format} --prune --prefix t")).exits_with(0);
        assert_eq!(again, "nothing to do: 2 unchanged\n", "{format}");
    }
    let one = world.run("export --prefix tenant:acme").exits_with(0);
    assert!(one.contains("tenant:acme:rpm") && !one.contains("slots"), "{one}");
}

#[test]
fn definitions_come_from_standard_input_too() {
    let world = World::start();
    let mut command = world.command("apply -f -");
    let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(LIMITS.as_bytes()).expect("it reads");
    drop(stdin);
    Ended::of(child.wait_with_output().expect("it ends")).exits_with(0);
    assert_eq!(world.capacities().len(), 2);
}

#[test]
fn json_tells_scripts_what_became_of_each_change() {
    let world = World::start();
    world.write("a.json", json!([rolling("a", 1)]).to_string());
    let planned = world.run("apply -f a.json --dry-run --json").json(2);
    let change = |outcome: &str| {
        json!({
            "key": "a", "action": "create", "outcome": outcome,
            "fields": [
                { "name": "kind", "before": null, "after": "rolling" },
                { "name": "capacity", "before": null, "after": 1 },
                { "name": "window_seconds", "before": null, "after": 60 },
                { "name": "overage", "before": null, "after": "debt" },
            ],
        })
    };
    assert_eq!(planned, json!({ "changes": [change("planned")], "unchanged": 0 }));
    assert_eq!(world.run("apply -f a.json --json").json(0)["changes"], json!([change("done")]));
    assert_eq!(world.run("apply -f a.json --json").json(0), json!({ "changes": [], "unchanged": 1 }));
}

#[tokio::test]
async fn a_lower_capacity_that_must_wait_is_told_and_counts_as_done() {
    let world = World::start();
    world.write("a.json", json!([rolling("a", 10)]).to_string());
    world.run("apply -f a.json").exits_with(0);
    let body = json!({ "lease_id": lease().to_string(), "requirements": [{ "key": "a", "amount": 8 }] });
    let client = reqwest::Client::new();
    let answer = client.post(world.server.url("/v1/reserve")).json(&body).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);

    world.write("a.json", json!([rolling("a", 5)]).to_string());
    let lowered = world.run("apply -f a.json");
    assert!(lowered.stderr.starts_with("limit a: the lower capacity takes effect when"), "{lowered:?}");
    lowered.exits_with(0);
    assert!(world.run("list").exits_with(0).contains("decreasing to 5"));
    assert_eq!(world.run("apply -f a.json").exits_with(0), "nothing to do: 1 unchanged\n");
    assert!(world.run("export").exits_with(0).contains("capacity: 5\n"));
}

#[test]
fn put_creates_a_limit_and_then_changes_only_what_is_given() {
    let world = World::start();
    let made = world.run("put rpm --kind rolling --capacity 60 --window-seconds 60 --unit request");
    assert!(made.exits_with(0).starts_with("+ rpm\n"));
    let raised = world.run("put rpm --capacity 90").exits_with(0);
    assert!(raised.starts_with("~ rpm\n    capacity: 60 -> 90\n0 to create, 1 to change"), "{raised}");
    assert_eq!(world.run("put rpm --capacity 90").exits_with(0), "nothing to do: 1 unchanged\n");
    let shown = world.run("get rpm --json").json(0);
    assert_eq!(shown["definition"]["unit"], json!("request"));
    assert_eq!(shown["version"], json!(2));

    for (arguments, told) in [
        ("put tpm --capacity 90", "error: limit tpm: missing field `kind`\n"),
        (
            "put tpm --kind rolling --capacity 9223372036854775808 --window-seconds 60",
            "error: limit tpm: capacity must be at most 9223372036854775807",
        ),
        ("put tpm --kind leaky --capacity 1", "error: limit tpm: unknown variant `leaky`"),
        ("put rpm --kind concurrency", "error: limit rpm: window_seconds must be left out"),
        ("put a%b --capacity 1", "error: key \"a%b\": "),
    ] {
        let refused = world.run(arguments);
        assert!(refused.stderr.starts_with(told), "{refused:?}");
        refused.exits_with(1);
    }
    assert_eq!(world.capacities(), [("rpm".to_owned(), 90)]);
}

#[test]
fn delete_deletes_and_a_key_without_a_limit_is_nothing_to_do() {
    let world = World::start();
    world.write("all.json", json!([rolling("a", 1), rolling("b", 1)]).to_string());
    world.run("apply -f all.json").exits_with(0);
    world.run("delete a b --dry-run").exits_with(2);
    assert_eq!(world.capacities().len(), 2);
    let deleted = world.run("delete a nope a");
    assert_eq!(deleted.stderr, "there is no limit nope\n");
    assert!(deleted.exits_with(0).ends_with("1 to delete, 0 unchanged\n1 of 1 changes made\n"));
    assert_eq!(world.run("delete a").exits_with(0), "nothing to do: 0 unchanged\n");
    assert_eq!(world.capacities(), [("b".to_owned(), 1)]);
    // A deleted limit can be made again.
    world.run("apply -f all.json").exits_with(0);
    assert_eq!(world.capacities().len(), 2);
}

/// Runs of the same files at the same time all succeed; of different files, each limit is as one of them says, and a run that
/// was overtaken says so.
#[test]
fn two_runs_at_once_do_not_overwrite_each_other() {
    let world = World::start();
    let limits = |capacity: u64| (0..40).map(|n| rolling(&format!("k:{n}"), capacity)).collect::<Vec<_>>();
    let start = |arguments: &str| world.command(arguments).spawn().expect("it starts");
    let end = |child: Child| Ended::of(child.wait_with_output().expect("it ends"));

    world.write("one.json", json!(limits(1)).to_string());
    let both = [start("apply -f one.json"), start("apply -f one.json")];
    for child in both {
        end(child).exits_with(0);
    }
    assert_eq!(world.capacities().len(), 40);

    world.write("two.json", json!(limits(2)).to_string());
    world.write("three.json", json!(limits(3)).to_string());
    let both = [start("apply -f two.json --json"), start("apply -f three.json --json")];
    let ended = both.map(end);
    for (index, ended) in ended.iter().enumerate() {
        let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        let changes = report["changes"].as_array().expect("changes");
        let failed = changes.iter().any(|change| change["outcome"] == "failed");
        assert_eq!(ended.code, i32::from(failed), "{index}: {ended:?}");
    }
    // Each change that a run reports as done was made over the capacity that the run had shown.
    for ended in &ended {
        let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        for change in report["changes"].as_array().expect("changes") {
            if change["outcome"] == "done" {
                let key = change["key"].as_str().expect("a key");
                let (before, after) = (&change["fields"][0]["before"], &change["fields"][0]["after"]);
                let history = world.run(&format!("history {key} --json")).json(0);
                let capacities: Vec<&Value> = history
                    .as_array()
                    .expect("versions")
                    .iter()
                    .map(|version| &version["definition"]["capacity"])
                    .collect();
                assert!(capacities.windows(2).any(|pair| pair == [before, after]), "{change} {history}");
            }
        }
    }
}
