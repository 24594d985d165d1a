//! `POST /v1/reserve` with `dry_run`, with `force`, and with an amount of 0.

use super::*;

/// A body for the limits `rpm`, of 3, and `slots`, of 2, with one more field.
fn body(rpm: u64, slots: u64, field: &str) -> Value {
    let requirements = json!([{ "key": "rpm", "amount": rpm }, { "key": "slots", "amount": slots }]);
    let mut body = json!({ "lease_id": lease().to_string(), "requirements": requirements });
    if !field.is_empty() {
        body[field] = json!(true);
    }
    body
}

/// That nothing stands in the way, and nothing is reserved.
fn would_be_granted() -> Answer {
    Answer::ok(json!({ "allowed": true, "retry_after_ms": 0, "reserved_at_unix_ms": 0, "error": "" }))
}

async fn reserved(service: &Service) -> (u64, u64) {
    let of = async |key: &str| service.limit(key).await["usage"]["reserved"].as_u64().expect("a number");
    (of("rpm").await, of("slots").await)
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_takes_nothing() {
    let service = Service::new().await;
    let dry_run = async |rpm, slots| service.post("/v1/reserve", &body(rpm, slots, "dry_run")).await;
    assert_eq!(dry_run(3, 2).await, would_be_granted());
    assert_eq!(dry_run(4, 2).await, denial("rpm", "exceeds_capacity:rpm"));
    service.reserve("slots", 2).await.assert_granted();
    assert!(dry_run(3, 1).await.denied_ms("slots") > 0);
    assert_eq!(reserved(&service).await, (0, 2));
    let batch =
        json!({ "requests": [body(3, 0, "dry_run"), fresh_reserve("rpm", 3), body(1, 0, "dry_run")] });
    let answer = service.post("/v1/reserve/batch", &batch).await;
    let allowed: Vec<_> =
        answer.body["results"].as_array().expect("results").iter().map(|it| &it["allowed"]).collect();
    assert_eq!(allowed, [false, true, false], "dry runs come behind the reserves of a batch");
}

#[tokio::test]
async fn an_amount_of_zero_peeks() {
    let service = Service::new().await;
    let peek = async |rpm, slots| service.post("/v1/reserve", &body(rpm, slots, "")).await;
    assert_eq!(peek(0, 0).await, would_be_granted());
    peek(0, 1).await.assert_granted();
    assert_eq!(reserved(&service).await, (0, 1), "the slot is taken, the request only asked for");
    peek(3, 1).await.assert_granted();
    assert!(peek(0, 0).await.denied_ms("rpm") > 0);
    assert_eq!(service.reserve("nope", 0).await, denial("nope", "unknown_limit_key:nope"));
}

#[tokio::test]
async fn a_forced_reserve_is_granted_and_its_excess_is_debt() {
    let service = Service::new().await;
    let forced = body(5, 1, "force");
    let granted = service.post("/v1/reserve", &forced).await;
    granted.assert_granted();
    assert_eq!(service.post("/v1/reserve", &forced).await, granted, "repeated");
    let usage = json!({ "available": 0, "reserved": 3, "debt": 2 });
    assert_eq!(service.limit("rpm").await["usage"], usage);
    let complete =
        json!({ "lease_id": forced["lease_id"], "actuals": [{ "key": "rpm", "actual_amount": 5 }] });
    assert_eq!(service.post("/v1/complete", &complete).await, Answer::ok(json!({ "ok": true, "error": "" })));
    assert_eq!((service.limit("rpm").await["usage"].clone(), reserved(&service).await.1), (usage, 0));
    let unknown = json!({
        "lease_id": lease().to_string(), "force": true, "requirements": [{ "key": "nope", "amount": 1 }],
    });
    assert_eq!(service.post("/v1/reserve", &unknown).await, denial("nope", "unknown_limit_key:nope"));
}

#[tokio::test]
async fn options_that_exclude_each_other_are_refused() {
    let service = Service::new().await;
    let mut both = body(1, 1, "force");
    both["dry_run"] = json!(true);
    service.post("/v1/reserve", &both).await.assert_invalid("force cannot be combined with dry_run");
    let nothing = body(1, 0, "force");
    let message = "requirements[1].amount must be at least 1 with force";
    service.post("/v1/reserve", &nothing).await.assert_invalid(message);
    assert_eq!(reserved(&service).await, (0, 0));
}

#[tokio::test]
async fn looks_are_counted_apart() {
    let service = Service::new().await;
    service.post("/v1/reserve", &body(0, 0, "")).await;
    service.post("/v1/reserve", &body(9, 1, "dry_run")).await;
    service.post("/v1/reserve", &body(9, 1, "force")).await;
    let metrics = service.send(Method::GET, "/metrics", Body::empty()).await.body;
    for (outcome, count) in [("looked", 2), ("granted", 1), ("exceeds_capacity", 0)] {
        let line = format!("ratelimiterd_reserves_total{{outcome=\"{outcome}\"}} {count}");
        assert!(metrics.lines().any(|actual| actual == line), "{line}:\n{metrics}");
    }
}

#[tokio::test]
async fn a_limit_in_shadow_mode_grants_and_says_that_it_would_deny() {
    let service = Service::new().await;
    let definition =
        json!({ "key": "shadow", "kind": "rolling", "capacity": 3, "window_seconds": 60, "enforce": false });
    service.put(&definition).await;
    assert_eq!(service.limit("shadow").await["definition"]["enforce"], json!(false));
    assert_eq!(service.limit("rpm").await["definition"].get("enforce"), None, "left out if it enforces");
    let granted = service.reserve("shadow", 3).await;
    granted.assert_granted();
    assert_eq!(granted.body.get("would_deny"), None);
    let owed = fresh_reserve("shadow", 2);
    let answer = service.post("/v1/reserve", &owed).await;
    answer.assert_granted();
    assert_eq!(answer.body["would_deny"], json!(["shadow"]));
    assert_eq!(service.post("/v1/reserve", &owed).await, answer, "repeated");
    let mut dry_run = fresh_reserve("shadow", 1);
    dry_run["dry_run"] = json!(true);
    let batch = service.post("/v1/reserve/batch", &json!({ "requests": [dry_run] })).await;
    assert_eq!(batch.body["results"][0]["would_deny"], json!(["shadow"]));
    assert_eq!(service.limit("shadow").await["usage"], json!({ "available": 0, "reserved": 3, "debt": 2 }));
    let metrics = service.send(Method::GET, "/metrics", Body::empty()).await.body;
    for line in
        ["ratelimiterd_reserves_would_deny_total 2", "ratelimiterd_reserves_total{outcome=\"granted\"} 3"]
    {
        assert!(metrics.lines().any(|actual| actual == line), "{line}:\n{metrics}");
    }
}
