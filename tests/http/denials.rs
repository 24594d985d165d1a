//! `GET /v1/admin/denials`, and the search of the list of limits.

use super::tokens::TokenFile;
use super::*;
use ledger_limiter::server::auth::Scope;

/// The keys and totals of an answer, in its order.
fn totals(answer: &Answer) -> Vec<(String, u64)> {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let limits = answer.body["limits"].as_array().expect("limits");
    let total = |limit: &Value| {
        let counts = limit["per_minute"].as_array().expect("counts").iter();
        let sum = counts.map(|count| count.as_u64().expect("a count")).sum::<u64>();
        assert_eq!(limit["total"], json!(sum), "{limit}");
        (limit["key"].as_str().expect("a key").to_owned(), sum)
    };
    limits.iter().map(total).collect()
}

#[tokio::test]
async fn denials_are_counted_by_the_limit_that_denied() {
    let service = Service::new().await;
    for (key, amount) in [("slots", 2), ("rpm", 3), ("rpm", 1), ("slots", 1), ("slots", 3), ("nowhere", 1)] {
        service.reserve(key, amount).await;
    }
    let requests = [fresh_reserve("rpm", 1), fresh_reserve("slots", 1)];
    service.post("/v1/reserve/batch", &json!({ "requests": requests })).await;
    let all = service.get("/v1/admin/denials").await;
    assert_eq!(totals(&all), [("slots".to_owned(), 3), ("rpm".to_owned(), 2)]);
    assert_eq!(all.body["minutes"], json!(60));
    assert_eq!(all.body["limits"][0]["per_minute"].as_array().map(Vec::len), Some(60));
    let first = service.get("/v1/admin/denials?count=1&minutes=3").await;
    assert_eq!(totals(&first), [("slots".to_owned(), 3)]);
    assert_eq!(first.body["limits"][0]["per_minute"].as_array().map(Vec::len), Some(3));
    let one = service.get("/v1/admin/denials?key=rpm").await;
    assert_eq!(totals(&one), [("rpm".to_owned(), 2)]);
    assert_eq!(totals(&service.get("/v1/admin/denials?key=unused").await), []);
}

#[tokio::test]
async fn a_limit_that_was_never_made_is_counted_under_its_template() {
    let service = Service::new().await;
    let template = json!({ "key": "user:{user}", "kind": "rolling", "capacity": 2, "window_seconds": 60 });
    assert_eq!(service.put(&template).await.status, StatusCode::OK);
    for number in 0..5 {
        service.reserve(&format!("user:made-up-{number}"), 3).await;
    }
    service.reserve("user:ann", 2).await.assert_granted();
    service.reserve("user:ann", 1).await.denied_ms("user:ann");
    service.reserve("user:ann", 3).await;
    let all = service.get("/v1/admin/denials").await;
    assert_eq!(totals(&all), [("user:{user}".to_owned(), 5), ("user:ann".to_owned(), 2)]);
    let of_template = service.get("/v1/admin/denials?key=user:%7Buser%7D").await;
    assert_eq!(totals(&of_template), [("user:{user}".to_owned(), 5)]);
}

#[tokio::test]
async fn made_up_keys_displace_no_limit_that_denies() {
    let service = Service::new().await;
    let template = json!({ "key": "user:{user}", "kind": "rolling", "capacity": 2, "window_seconds": 60 });
    assert_eq!(service.put(&template).await.status, StatusCode::OK);
    service.reserve("slots", 3).await;
    // More than are remembered, four in a batch.
    for batch in 0..550 {
        let requests: Vec<Value> =
            (0..4).map(|number| fresh_reserve(&format!("user:{batch}-{number}"), 3)).collect();
        let answer = service.post("/v1/reserve/batch", &json!({ "requests": requests })).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    let all = service.get("/v1/admin/denials?count=2048").await;
    assert_eq!(totals(&all), [("user:{user}".to_owned(), 550 * 4), ("slots".to_owned(), 1)]);
}

#[tokio::test]
async fn a_dry_run_is_no_denial() {
    let service = Service::new().await;
    service.reserve("slots", 2).await.assert_granted();
    let mut look = fresh_reserve("slots", 1);
    look["dry_run"] = json!(true);
    assert_eq!(service.post("/v1/reserve", &look).await.status, StatusCode::OK);
    assert_eq!(totals(&service.get("/v1/admin/denials").await), []);
}

#[tokio::test]
async fn a_query_out_of_range_is_refused() {
    let service = Service::new().await;
    for (query, message) in [
        ("minutes=0", "minutes must be between 1 and 180, not 0"),
        ("minutes=181", "minutes must be between 1 and 180, not 181"),
        ("count=0", "count must be between 1 and 2048, not 0"),
        ("count=2049", "count must be between 1 and 2048, not 2049"),
        ("key=%20", "key must begin with a letter or a digit"),
        ("hours=1", "query: hours: unknown field `hours`"),
    ] {
        service.get(&format!("/v1/admin/denials?{query}")).await.assert_invalid(message);
    }
}

#[tokio::test]
async fn a_caller_sees_the_denials_of_its_own_limits_only() {
    let file = TokenFile::new();
    let all = file.add("all", &[Scope::Read, Scope::Admin, Scope::Reserve], &[]);
    let own = file.add("own", &[Scope::Read], &["tenant:acme:*"]);
    let service = file.service().await;
    let operator = service.called_with(&all);
    for key in ["tenant:acme:slots", "tenant:globex:slots"] {
        let limit = json!({ "key": key, "kind": "concurrency", "capacity": 1, "timeout_seconds": 60 });
        assert_eq!(operator.put(&limit).await.status, StatusCode::OK);
        operator.reserve(key, 1).await.assert_granted();
        operator.reserve(key, 1).await.denied_ms(key);
    }
    assert_eq!(totals(&operator.get("/v1/admin/denials").await).len(), 2);
    let tenant = service.called_with(&own);
    let seen = totals(&tenant.get("/v1/admin/denials").await);
    assert_eq!(seen, [("tenant:acme:slots".to_owned(), 1)]);
    let foreign = tenant.get("/v1/admin/denials?key=tenant:globex:slots").await;
    foreign.assert_error(StatusCode::FORBIDDEN, "forbidden");
}

#[tokio::test]
async fn a_list_can_be_searched_by_any_part_of_the_key() {
    let service = Service::without_limits(true).await;
    for key in ["tenant:acme:rpm", "tenant:acme:tpm", "tenant:globex:rpm", "a+b"] {
        let limit = json!({ "key": key, "kind": "rolling", "capacity": 1, "window_seconds": 60 });
        assert_eq!(service.put(&limit).await.status, StatusCode::OK);
    }
    for (query, keys, next_after) in [
        ("contains=acme", vec!["tenant:acme:rpm", "tenant:acme:tpm"], ""),
        ("contains=rpm", vec!["tenant:acme:rpm", "tenant:globex:rpm"], ""),
        ("contains=rpm&count=1", vec!["tenant:acme:rpm"], "tenant:acme:rpm"),
        ("contains=rpm&after=tenant:acme:rpm", vec!["tenant:globex:rpm"], ""),
        ("contains=rpm&prefix=tenant:g", vec!["tenant:globex:rpm"], ""),
        ("contains=a+b", vec!["a+b"], ""),
        ("contains=RPM", vec![], ""),
    ] {
        let answer = service.get(&format!("/v1/admin/limits?{query}")).await;
        let limits = answer.body["limits"].as_array().expect("limits").clone();
        let found: Vec<Value> = limits.iter().map(|limit| limit["definition"]["key"].clone()).collect();
        assert_eq!(found, keys, "{query}");
        assert_eq!(answer.body["next_after"], json!(next_after), "{query}");
    }
}
