//! The steps of the features.

use std::time::Duration;

use cucumber::gherkin::Step;
use cucumber::{given, then, when};
use futures_util::future::join_all;
use ledger_limiter::limit::{Capacity, Definition};

use super::scenario::Scenario;
use super::words::{self, Amounts, number, seconds, table};
use crate::fixtures;

/// The index of the replica that features call the second one.
const SECOND: usize = 1;

#[given("the limits:")]
async fn the_limits(scenario: &mut Scenario, step: &Step) {
    for [limit, kind, capacity, held_for] in table(step, ["limit", "kind", "capacity", "held for"]) {
        let (capacity, seconds) = (number(&capacity), seconds(&held_for));
        let definition = match kind.as_str() {
            "rolling" => fixtures::rolling(&limit, capacity, seconds),
            "concurrency" => fixtures::concurrency(&limit, capacity, seconds),
            other => panic!("{other:?} is not a kind of these steps"),
        };
        scenario.replica().put(definition).await;
    }
}

#[given(expr = "the overage policy of {word} is {word}")]
async fn the_overage_policy(scenario: &mut Scenario, limit: String, policy: String) {
    let definition = definition(scenario, &limit).await;
    scenario.replica().put(Definition { overage: words::overage(&policy), ..definition }).await;
}

#[given("a second replica")]
async fn a_second_replica(scenario: &mut Scenario) {
    scenario.start_replica().await;
}

#[given(expr = "call {word} holds {amounts}")]
async fn a_call_holds(scenario: &mut Scenario, call: String, amounts: Amounts) {
    scenario.reserve(0, &[(call, amounts)]).await;
    assert_eq!(scenario.batch[0][1], "granted");
}

#[when(expr = "call {word} reserves {amounts}")]
async fn a_call_reserves(scenario: &mut Scenario, call: String, amounts: Amounts) {
    scenario.reserve(0, &[(call, amounts)]).await;
}

#[when(expr = "at the second replica, call {word} reserves {amounts}")]
async fn a_call_reserves_at_the_second(scenario: &mut Scenario, call: String, amounts: Amounts) {
    scenario.reserve(SECOND, &[(call, amounts)]).await;
}

#[when(expr = "call {word} reserves:")]
async fn a_call_reserves_of_a_table(scenario: &mut Scenario, call: String, step: &Step) {
    let rows = table(step, ["limit", "amount"]);
    let amounts = rows.into_iter().map(|[limit, amount]| (limit, number(&amount))).collect();
    scenario.reserve(0, &[(call, amounts)]).await;
}

#[when("a batch reserves:")]
async fn a_batch_reserves(scenario: &mut Scenario, step: &Step) {
    scenario.reserve(0, &batch(step)).await;
}

#[when(expr = "{int} calls reserve {amounts} at once")]
async fn calls_reserve_at_once(scenario: &mut Scenario, count: usize, amounts: Amounts) {
    let amounts = amounts.of_limits();
    let requests: Vec<_> = (0..count).map(|_| [fixtures::reserve(fixtures::lease(), &amounts)]).collect();
    let replicas = scenario.replicas();
    let turns = requests.iter().zip(replicas.iter().cycle());
    let answers = join_all(turns.map(|(request, replica)| replica.reserve(request))).await;
    let in_words = |(index, answer)| [format!("{}", index + 1), words::of_reservation(answer)];
    scenario.batch = answers.iter().flatten().enumerate().map(in_words).collect();
    assert_eq!(scenario.batch.len(), count, "one outcome per call");
}

#[when(expr = "call {word} completes")]
async fn a_call_completes(scenario: &mut Scenario, call: String) {
    scenario.complete(0, &[(call, Amounts::default())]).await;
}

#[when(expr = "call {word} completes with {amounts}")]
async fn a_call_completes_with(scenario: &mut Scenario, call: String, amounts: Amounts) {
    scenario.complete(0, &[(call, amounts)]).await;
}

#[when(expr = "at the second replica, call {word} completes with {amounts}")]
async fn a_call_completes_at_the_second(scenario: &mut Scenario, call: String, amounts: Amounts) {
    scenario.complete(SECOND, &[(call, amounts)]).await;
}

#[when("a batch completes:")]
async fn a_batch_completes(scenario: &mut Scenario, step: &Step) {
    scenario.complete(0, &batch(step)).await;
}

#[when(expr = "{int} s pass(es)")]
async fn time_passes(scenario: &mut Scenario, seconds: u64) {
    scenario.pass(Duration::from_secs(seconds)).await;
}

#[when(expr = "the capacity of {word} is set to {int}")]
async fn the_capacity_is_set(scenario: &mut Scenario, limit: String, capacity: u64) {
    let capacity = Capacity::new(capacity).expect("a valid capacity");
    let definition = definition(scenario, &limit).await;
    scenario.replica().put(Definition { capacity, ..definition }).await;
}

#[when("decreases that fit are applied")]
async fn decreases_are_applied(scenario: &mut Scenario) {
    scenario.replica().apply_decreases().await;
}

#[when("at the second replica, decreases that fit are applied")]
async fn decreases_are_applied_at_the_second(scenario: &mut Scenario) {
    scenario.replica_at(SECOND).apply_decreases().await;
}

#[then(regex = r"^call (\S+) is ((?:granted|denied: |refused: ).*)$")]
async fn a_call_is_answered(scenario: &mut Scenario, call: String, answer: String) {
    let reservation = scenario.call(&call).reservation.as_ref().expect("it reserved");
    assert_eq!(words::of_reservation(reservation), answer);
}

#[then(expr = "call {word} is told to retry after {int} to {int} ms")]
async fn a_call_is_told_to_retry_after(scenario: &mut Scenario, call: String, min: u64, max: u64) {
    let reservation = scenario.call(&call).reservation.as_ref().expect("it reserved");
    let hint_ms = words::retry_after_ms(reservation);
    assert!(hint_ms.is_some_and(|ms| (min..=max).contains(&ms)), "{reservation:?}");
}

#[then(regex = r"^completing call (\S+) (.+)$")]
async fn a_completion_is_answered(scenario: &mut Scenario, call: String, answer: String) {
    let completion = scenario.call(&call).completion.as_ref().expect("it completed");
    assert_eq!(words::of_completion(completion), answer);
}

#[then("the batch answers, in this order:")]
async fn the_batch_answers(scenario: &mut Scenario, step: &Step) {
    assert_eq!(scenario.batch, table(step, ["call", "answer"]));
}

#[then(expr = "{int} of them are granted")]
async fn that_many_are_granted(scenario: &mut Scenario, count: usize) {
    let granted = scenario.batch.iter().filter(|[_, answer]| answer == "granted").count();
    assert_eq!(granted, count, "{:?}", scenario.batch);
}

#[then(regex = r"^the others are (denied: .*)$")]
async fn the_others_are_denied(scenario: &mut Scenario, expected: String) {
    let others = || scenario.batch.iter().filter(|[_, answer]| answer != "granted");
    assert!(others().count() > 0, "every call was granted");
    for [call, answer] in others() {
        assert_eq!(*answer, expected, "call {call}");
    }
}

/// The table may leave out columns, but not the first one.
#[then("the limits show:")]
async fn the_limits_show(scenario: &mut Scenario, step: &Step) {
    let expected = &step.table.as_ref().expect("the step has a table").rows;
    let (columns, limits) = expected.split_first().expect("the table has a header");
    assert!(columns.len() > 1 && !limits.is_empty(), "the table has cells to compare");
    let mut actual = vec![columns.clone()];
    for expected in limits {
        let limit = expected.first().expect("the first column names the limit");
        let info = scenario.replica().info(limit).await;
        let state = &info.state();
        let cell = |column: &String| match column.as_str() {
            "limit" => state.definition.key.to_string(),
            "status" => words::of_status(state.status),
            "capacity" => state.definition.capacity.get().to_string(),
            "available" => info.available.to_string(),
            "reserved" => info.reserved.to_string(),
            "debt" => info.debt.to_string(),
            other => panic!("{other:?} is not a column of these steps"),
        };
        actual.push(columns.iter().map(cell).collect());
    }
    assert_eq!(&actual, expected);
}

async fn definition(scenario: &Scenario, limit: &str) -> Definition {
    scenario.replica().info(limit).await.state().definition.clone()
}

/// The items of a batch, one in each row.
fn batch(step: &Step) -> Vec<(String, Amounts)> {
    let amounts = |text: String| text.parse().unwrap_or_else(|error| panic!("{error}"));
    let rows = table(step, ["call", "amounts"]);
    rows.into_iter().map(|[call, text]| (call, amounts(text))).collect()
}
