//! What is left of the limits, in the answers to reserves; and denials with a status of their own.

use super::*;

/// A body for the limits `rpm`, of 3, and `slots`, of 2, that asks what is left.
fn body(rpm: u64, slots: u64) -> Value {
    let requirements = json!([{ "key": "slots", "amount": slots }, { "key": "rpm", "amount": rpm }]);
    json!({ "lease_id": lease().to_string(), "report": true, "requirements": requirements })
}

/// What is left of both limits.
fn left(rpm: u64, slots: u64) -> Value {
    json!([
        { "key": "rpm", "capacity": 3, "available": rpm, "reset_ms": 60_000 },
        { "key": "slots", "capacity": 2, "available": slots, "reset_ms": 60_000 },
    ])
}

async fn with_setting() -> Service {
    Service::new().await.that_answers(AnswersSettings { report: true, ..AnswersSettings::default() })
}

#[tokio::test]
async fn a_grant_and_a_denial_tell_what_is_left() {
    let service = Service::new().await;
    let granted = service.post("/v1/reserve", &body(1, 2)).await;
    granted.assert_granted();
    assert_eq!(granted.body["limits"], left(2, 0));
    let denied = service.post("/v1/reserve", &body(2, 1)).await;
    assert_eq!(denied.body["limiting_key"], json!("slots"));
    assert_eq!(denied.body["limits"], left(2, 0), "as much as before: nothing was reserved");
}

#[tokio::test]
async fn an_answer_tells_nothing_unless_it_is_asked() {
    let service = Service::new().await;
    let mut silent = body(1, 1);
    silent["report"] = json!(false);
    let answer = service.post("/v1/reserve", &silent).await;
    answer.assert_granted();
    assert_eq!(answer.body.get("limits"), None);
    let answer = service.reserve("rpm", 1).await;
    assert_eq!(answer.body.get("limits"), None);
}

#[tokio::test]
async fn the_setting_asks_for_every_request() {
    let service = with_setting().await;
    let one = service.reserve("rpm", 1).await;
    assert_eq!(one.body["limits"], json!([left(2, 2)[0]]));
    let batch = json!({ "requests": [fresh_reserve("rpm", 1)] });
    let answer = service.post("/v1/reserve/batch", &batch).await;
    assert_eq!(answer.body["results"][0]["limits"], json!([left(1, 2)[0]]));
}

#[tokio::test]
async fn the_items_of_a_batch_tell_what_is_left_behind_all_of_them() {
    let service = Service::new().await;
    let batch =
        json!({ "requests": [body(1, 1), fresh_reserve("rpm", 1), { "bad": 1 }, body(1, 1), body(1, 1)] });
    let service = service.that_answers(AnswersSettings::default());
    let answer = service.post("/v1/reserve/batch", &batch).await;
    let results = answer.body["results"].as_array().expect("results");
    let limits: Vec<_> = results.iter().map(|result| result.get("limits").cloned()).collect();
    let both = Some(left(0, 0));
    assert_eq!(limits, [both.clone(), None, None, both.clone(), both]);
    assert_eq!(results[4]["allowed"], json!(false));
}

#[tokio::test]
async fn looks_and_forced_reserves_tell_it_too() {
    let service = Service::new().await;
    for (option, expected) in [("dry_run", left(3, 2)), ("force", left(0, 1))] {
        let mut asked = body(4, 1);
        asked[option] = json!(true);
        let answer = service.post("/v1/reserve", &asked).await;
        assert_eq!(answer.body["limits"], expected, "{option}");
    }
    let peek = service.post("/v1/reserve", &body(0, 0)).await;
    assert_eq!((&peek.body["allowed"], &peek.body["limits"]), (&json!(false), &left(0, 1)));
}

#[tokio::test]
async fn only_limits_that_exist_are_told_of() {
    let service = Service::new().await;
    let template = json!({
        "key": "tenant:{tenant}:daily", "kind": "fixed_window", "capacity": 9, "window_seconds": 86_400,
    });
    assert_eq!(service.put(&template).await.status, StatusCode::OK);
    let by_hand = json!({
        "key": "by_hand", "kind": "token_bucket", "capacity": 5, "refill_amount": 1, "refill_interval_ms": 1000,
        "auto_replenish": false,
    });
    assert_eq!(service.put(&by_hand).await.status, StatusCode::OK);
    let requirements = |names: &[&str]| -> Vec<Value> {
        names.iter().map(|name| json!({ "key": name, "amount": 1 })).collect()
    };
    let asked = |names: &[&str]| json!({ "lease_id": lease().to_string(), "report": true, "requirements": requirements(names) });
    let answer = service.post("/v1/reserve", &asked(&["tenant:acme:daily", "by_hand", "nope"])).await;
    assert_eq!(answer.body["error"], json!("unknown_limit_key:nope"));
    let day_ms = json!(86_400_000);
    let told = json!([
        { "key": "by_hand", "capacity": 5, "available": 5 },
        { "key": "tenant:acme:daily", "capacity": 9, "available": 9, "reset_ms": day_ms },
    ]);
    let mut limits = answer.body["limits"].clone();
    // The template's schedule has no steps before an instance is made, or they began a moment ago.
    limits[1]["reset_ms"] = day_ms;
    assert_eq!(limits, told);
}

#[tokio::test]
async fn a_denial_has_status_429_where_the_query_asks_for_it() {
    let service = Service::new().await;
    let send = async |path: &str, rpm| {
        service.send(Method::POST, path, reserve_body(&lease().to_string(), "rpm", rpm).to_string()).await
    };
    let asked = "/v1/reserve?status=429";
    assert_eq!(send(asked, 3).await.status, StatusCode::OK);
    let denied = send(asked, 1).await;
    assert_eq!(denied.status, StatusCode::TOO_MANY_REQUESTS);
    let seconds: u64 = denied.headers["retry-after"].to_str().expect("text").parse().expect("a number");
    let answer = denied.read();
    assert_eq!(seconds, answer.body["retry_after_ms"].as_u64().expect("a hint").div_ceil(1_000));
    assert_eq!(answer.body["limiting_key"], json!("rpm"));
    let never = send(asked, 4).await;
    assert_eq!(never.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(never.headers.get("retry-after"), None, "a wait does not help");
    let unasked = send("/v1/reserve", 1).await;
    assert_eq!((unasked.status, unasked.headers.get("retry-after")), (StatusCode::OK, None));
    let unknown = service.send(Method::POST, asked, fresh_reserve("nope", 1).to_string()).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let mut dry_run: Value = fresh_reserve("rpm", 1);
    dry_run["dry_run"] = json!(true);
    let looked = service.send(Method::POST, asked, dry_run.to_string()).await;
    assert_eq!(looked.status, StatusCode::TOO_MANY_REQUESTS);
    for (path, message) in [
        ("/v1/reserve?status=200", "status must be 429, not 200"),
        ("/v1/reserve?stauts=429", "query: stauts: unknown field `stauts`"),
    ] {
        send(path, 1).await.read().assert_invalid(message);
    }
}
