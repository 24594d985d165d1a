//! The commands that read.

use super::*;

fn world() -> World {
    let world = World::start();
    let limits = json!([
        { "key": "bucket", "kind": "token_bucket", "capacity": 10, "refill_amount": 2, "refill_interval_ms": 500 },
        { "key": "day:{tenant}", "kind": "fixed_window", "capacity": 1000, "window_seconds": 86400, "max_instances": 9 },
        { "key": "rpm", "kind": "rolling", "capacity": 60, "window_seconds": 60, "unit": "request" },
        { "key": "slots", "kind": "concurrency", "capacity": 4, "timeout_seconds": 300 },
    ]);
    world.write("limits.json", limits.to_string());
    world.run("apply -f limits.json").exits_with(0);
    world
}

#[tokio::test]
async fn list_shows_a_table_without_colours() {
    let world = world();
    let wants = json!([{ "key": "slots", "amount": 4 }, { "key": "rpm", "amount": 1 }, { "key": "day:acme", "amount": 1 }]);
    let body = json!({ "lease_id": lease().to_string(), "requirements": wants });
    let client = reqwest::Client::new();
    let answer = client.post(world.server.url("/v1/reserve")).json(&body).send().await.expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer["allowed"], json!(true), "{answer}");
    assert_eq!(
        world.run("list").exits_with(0),
        "\
KEY           KIND          CAPACITY  UNIT     TIME           AVAILABLE  RESERVED  DEBT  STATUS
bucket        token_bucket        10           +2 in 500 ms          10         0     0  active
day:{tenant}  fixed_window      1000           86400 s                                   template, 1 of 9 instances
rpm           rolling             60  request  60 s                  59         1     0  active
slots         concurrency          4           at most 300 s          0         4     0  active
"
    );
    let instances = world.run("list --template day:{tenant}").exits_with(0);
    assert!(
        instances.lines().nth(1).is_some_and(|line| line.starts_with("day:acme  fixed_window")),
        "{instances}"
    );
    let some = world.run("list --prefix s").exits_with(0);
    assert_eq!(some.lines().count(), 2, "{some}");
}

#[test]
fn json_is_what_the_api_answers() {
    let world = world();
    let one = world.run("get rpm --json").json(0);
    assert_eq!(
        one,
        json!({
            "definition": {
                "key": "rpm", "kind": "rolling", "capacity": 60, "window_seconds": 60, "timeout_seconds": 0,
                "unit": "request", "description": "", "overage": "debt",
            },
            "status": "active", "pending_decrease_to": 0,
            "usage": { "available": 60, "reserved": 0, "debt": 0 }, "version": 1,
        })
    );
    assert_eq!(world.run("list --prefix rpm --json").json(0), json!([one]));
    assert_eq!(world.run("list --prefix nope --json").json(0), json!([]));
}

#[test]
fn get_shows_the_fields_and_the_usage() {
    let world = world();
    assert_eq!(
        world.run("get rpm").exits_with(0),
        "\
FIELD           VALUE
key             rpm
kind            rolling
capacity        60
window_seconds  60
unit            request
overage         debt
status          active
version         1
available       60
reserved        0
debt            0
"
    );
    let unknown = world.run("get nope");
    assert_eq!(unknown.stderr, "error: there is no limit nope\n");
    unknown.exits_with(1);
}

#[test]
fn history_shows_what_each_version_changed() {
    let world = world();
    world.run("put rpm --capacity 90").exits_with(0);
    world.run("delete rpm").exits_with(0);
    let history = world.run("history rpm").exits_with(0);
    let lines: Vec<Vec<&str>> = history.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["VERSION", "AT", "STATUS", "CHANGE"]);
    assert_eq!(lines[2][0], "2");
    assert!(lines[2][1].ends_with('Z'), "{history}");
    assert_eq!(lines[2][2..], ["active", "capacity=90"]);
    assert_eq!(lines[3][2..], ["deleted"]);
    let versions = world.run("history rpm --json").json(0);
    assert_eq!(versions.as_array().map(Vec::len), Some(3));
    assert_eq!(versions[2]["status"], json!("deleted"));
    world.run("history nope").exits_with(1);
}

#[test]
fn texts_of_other_people_do_not_reach_the_terminal_as_they_are() {
    let world = World::start();
    let unit = "\u{1b}[2J";
    let limit = json!({ "key": "a", "kind": "rolling", "capacity": 1, "window_seconds": 60, "unit": unit });
    world.write("a.json", limit.to_string());
    for command in ["apply -f a.json", "list", "get a", "history a", "export"] {
        let shown = world.run(command).exits_with(0);
        assert!(shown.contains("1b") || shown.contains("\\e"), "{command}: {shown}");
        assert!(!shown.contains('\u{1b}'), "{command}: {shown}");
    }
}

#[test]
fn watch_shows_limits_now_and_then_what_changes() {
    let world = world();
    let mut child = world.command("watch --interval-ms 100 --json").spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut next =
        || -> Value { serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON") };
    let keys: Vec<Value> = (0..4).map(|_| next()["limit"]["definition"]["key"].clone()).collect();
    assert_eq!(keys, ["bucket", "day:{tenant}", "rpm", "slots"]);
    world.run("put rpm --capacity 90").exits_with(0);
    let changed = next();
    assert_eq!(changed["limit"]["definition"]["capacity"], json!(90), "{changed}");
    world.run("delete rpm").exits_with(0);
    assert_eq!(next()["gone"], json!("rpm"));
    child.kill().expect("it runs");
    child.wait().expect("it ends");

    let twice = world.run("watch --interval-ms 100 --looks 2 --prefix slots").exits_with(0);
    assert_eq!(twice.lines().count(), 3, "the second look sees nothing new: {twice}");
}

/// `| head` is no reason for a message.
#[test]
fn a_closed_standard_output_ends_the_program_quietly() {
    let world = world();
    let mut child = world.command("watch --interval-ms 100 --json").spawn().expect("it starts");
    drop(child.stdout.take());
    let mut told = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut told).expect("text");
    assert_eq!((child.wait().expect("it ends").code(), told.as_str()), (Some(1), ""));
}
