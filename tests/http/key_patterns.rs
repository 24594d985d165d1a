//! Tokens with patterns: their holders can neither see nor use nor change another limit.

use ledger_limiter::server::auth::Scope;

use super::tokens::TokenFile;
use super::*;

const ALL: &[Scope] = &Scope::ALL;

/// A service with limits of two tenants, called by an operator and by the tenant `acme`.
struct Tenants {
    operator: Service,
    acme: Service,
    _file: TokenFile,
}

fn bucket(key: &str) -> Value {
    json!({
        "key": key, "kind": "token_bucket", "capacity": 10, "refill_amount": 1, "refill_interval_ms": 1000,
    })
}

fn slots(key: &str) -> Value {
    json!({ "key": key, "kind": "concurrency", "capacity": 10, "timeout_seconds": 60 })
}

impl Tenants {
    async fn new() -> Self {
        let file = TokenFile::new();
        let operator = file.add("operator", ALL, &[]);
        let acme = file.add("acme", ALL, &["tenant:acme:*"]);
        let service = file.service().await;
        let (operator, acme) = (service.called_with(operator), service.called_with(acme));
        for tenant in ["acme", "other"] {
            for limit in
                [bucket(&format!("tenant:{tenant}:bucket")), slots(&format!("tenant:{tenant}:slots"))]
            {
                assert_eq!(operator.put(&limit).await.status, StatusCode::OK);
            }
        }
        let template = json!({
            "key": "tenant:{tenant}:daily", "kind": "fixed_window", "capacity": 10, "window_seconds": 86_400,
        });
        assert_eq!(operator.put(&template).await.status, StatusCode::OK);
        Self { operator, acme, _file: file }
    }

    /// What the operator sees of a limit.
    async fn usage(&self, key: &str) -> Value {
        self.operator.limit(key).await["usage"].clone()
    }
}

fn reserve_of(keys: &[&str]) -> Value {
    let requirements: Vec<Value> = keys.iter().map(|key| json!({ "key": key, "amount": 1 })).collect();
    json!({ "lease_id": lease().to_string(), "requirements": requirements })
}

/// A request for one limit on every route: the method, the path and the body, with `KEY` for the key.
fn requests(key: &str) -> Vec<(Method, String, Value)> {
    let id = || lease().to_string();
    let object = |action: &str| format!("/v1/objects/{key}/{action}");
    let limit = format!("/v1/admin/limits/{}", key.replace('{', "%7B").replace('}', "%7D"));
    let (post, get) = (Method::POST, Method::GET);
    vec![
        (post.clone(), "/v1/reserve".to_owned(), reserve_of(&[key])),
        (post.clone(), "/v1/reserve".to_owned(), reserve_of(&["tenant:acme:slots", key])),
        (
            post.clone(),
            "/v1/extend".to_owned(),
            json!({ "lease_id": id(), "extend_id": id(), "key": key, "amount": 1 }),
        ),
        (
            post.clone(),
            "/v1/complete".to_owned(),
            json!({ "lease_id": id(), "actuals": [{ "key": key, "actual_amount": 1 }] }),
        ),
        (post.clone(), format!("/v1/check/{key}"), Value::Null),
        (post.clone(), object("try_reserve"), json!({ "tokens": 1, "lease_id": id() })),
        (post.clone(), object("reserve"), json!({ "tokens": 1, "lease_id": id() })),
        (post.clone(), object("cancel"), json!({ "lease_id": id() })),
        (post.clone(), object("release"), json!({ "tokens": 1, "release_id": id() })),
        (get.clone(), object("available_permits"), Value::Null),
        (get.clone(), object("state"), Value::Null),
        (Method::PUT, object("rate"), json!({ "limit": 5.0, "burst": 10 })),
        (get.clone(), limit.clone(), Value::Null),
        (get, format!("{limit}/history"), Value::Null),
        (post.clone(), format!("{limit}/replenish"), json!({ "replenish_id": id() })),
        (post.clone(), format!("{limit}/reset"), json!({})),
        (
            post,
            "/v1/reserve".to_owned(),
            json!({ "lease_id": id(), "requirements": [{ "key": key, "amount": 0 }] }),
        ),
        (Method::PUT, "/v1/admin/limits".to_owned(), bucket(key)),
        (Method::DELETE, limit, Value::Null),
    ]
}

fn body_of(body: &Value) -> Body {
    if body.is_null() { Body::empty() } else { Body::from(body.to_string()) }
}

#[tokio::test]
async fn every_route_refuses_a_foreign_key_and_takes_an_own_one() {
    let tenants = Tenants::new().await;
    let before = tenants.operator.limit("tenant:other:bucket").await;
    for foreign in ["tenant:other:bucket", "tenant:other:unknown", "tenant:acme", "tenant:acme2:bucket"] {
        for (method, path, body) in requests(foreign) {
            let answer = tenants.acme.call(method.clone(), &path, body_of(&body)).await;
            let message = format!("the token may not use the key {foreign}");
            let expected = json!({ "error": "forbidden", "message": message });
            assert_eq!((answer.status, answer.body), (StatusCode::FORBIDDEN, expected), "{method} {path}");
        }
    }
    assert_eq!(tenants.operator.limit("tenant:other:bucket").await, before);
    let usage = tenants.usage("tenant:acme:slots").await;
    assert_eq!(usage["reserved"], json!(0), "nothing is reserved beside a foreign limit");
    for (method, path, body) in requests("tenant:acme:bucket") {
        let answer = tenants.acme.call(method.clone(), &path, body_of(&body)).await;
        assert!(answer.status != StatusCode::FORBIDDEN, "{method} {path}: {answer:?}");
        assert!(answer.status != StatusCode::BAD_REQUEST, "{method} {path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_template_must_lie_within_the_patterns() {
    let tenants = Tenants::new().await;
    let template = |key: &str| {
        json!({
            "key": key, "kind": "fixed_window", "capacity": 10, "window_seconds": 60, "max_instances": 5,
        })
    };
    for (key, status) in [
        ("tenant:acme:{user}:daily", StatusCode::OK),
        ("tenant:acme:{rest*}", StatusCode::OK),
        ("tenant:{tenant}:daily", StatusCode::FORBIDDEN),
        ("tenant:{rest*}", StatusCode::FORBIDDEN),
        ("{all*}", StatusCode::FORBIDDEN),
    ] {
        assert_eq!(tenants.acme.put(&template(key)).await.status, status, "{key}");
    }
    tenants.acme.reserve("tenant:acme:daily", 1).await.assert_granted();
    let foreign = tenants.acme.reserve("tenant:other:daily", 1).await;
    foreign.assert_error(StatusCode::FORBIDDEN, "forbidden");
}

#[tokio::test]
async fn only_the_foreign_items_of_a_batch_fail() {
    let tenants = Tenants::new().await;
    let own = reserve_of(&["tenant:acme:slots"]);
    let items = json!([
        own,
        reserve_of(&["tenant:other:slots"]),
        reserve_of(&["tenant:acme:slots", "tenant:other:slots"]),
        reserve_of(&["tenant:acme:slots"]),
    ]);
    let answer = tenants.acme.post("/v1/reserve/batch", &json!({ "requests": items })).await;
    assert_eq!(answer.status, StatusCode::OK);
    let forbidden = failed_reserve("forbidden: the token may not use the key tenant:other:slots");
    let results = answer.body["results"].as_array().expect("results");
    let allowed: Vec<_> = results.iter().map(|result| result["allowed"] == json!(true)).collect();
    assert_eq!(allowed, [true, false, false, true]);
    assert_eq!((&results[1], &results[2]), (&forbidden, &forbidden));
    assert_eq!(tenants.usage("tenant:acme:slots").await["reserved"], json!(2));
    assert_eq!(tenants.usage("tenant:other:slots").await["reserved"], json!(0));

    let foreign = reserve_of(&["tenant:other:slots"]);
    tenants.operator.post("/v1/reserve", &foreign).await.assert_granted();
    let actual = json!([{ "key": "tenant:other:slots", "actual_amount": 1 }]);
    let items = json!([
        { "lease_id": own["lease_id"] },
        { "lease_id": foreign["lease_id"] },
        { "lease_id": foreign["lease_id"], "actuals": actual },
        { "lease_id": lease().to_string() },
    ]);
    let answer = tenants.acme.post("/v1/complete/batch", &json!({ "requests": items })).await;
    let expected = json!({ "results": [
        { "ok": true },
        { "ok": false, "error": "forbidden: the lease holds a limit that the token may not use" },
        { "ok": false, "error": "forbidden: the token may not use the key tenant:other:slots" },
        { "ok": true },
    ] });
    assert_eq!((answer.status, without_empty_errors(answer.body)), (StatusCode::OK, expected));
    assert_eq!(tenants.usage("tenant:acme:slots").await["reserved"], json!(1));
    assert_eq!(tenants.usage("tenant:other:slots").await["reserved"], json!(1));
}

/// An `error` of "" says that there is none.
fn without_empty_errors(mut body: Value) -> Value {
    for result in body["results"].as_array_mut().expect("results") {
        let result = result.as_object_mut().expect("an object");
        if result.get("error") == Some(&json!("")) {
            result.remove("error");
        }
    }
    body
}

#[tokio::test]
async fn a_lease_with_a_foreign_limit_cannot_be_touched() {
    let tenants = Tenants::new().await;
    for keys in
        [&["tenant:other:slots"][..], &["tenant:acme:slots", "tenant:other:slots"], &["tenant:other:daily"]]
    {
        let foreign = reserve_of(keys);
        tenants.operator.post("/v1/reserve", &foreign).await.assert_granted();
        let id = &foreign["lease_id"];
        let extend = json!({
            "lease_id": id, "extend_id": lease().to_string(), "key": "tenant:acme:slots", "amount": 1,
        });
        let actuals = json!([{ "key": "tenant:acme:slots", "actual_amount": 1 }]);
        for (path, body) in [
            ("/v1/complete", json!({ "lease_id": id })),
            ("/v1/complete", json!({ "lease_id": id, "actuals": actuals })),
            ("/v1/extend", extend),
        ] {
            let answer = tenants.acme.post(path, &body).await;
            let message = "the lease holds a limit that the token may not use";
            let expected = json!({ "error": "forbidden", "message": message });
            assert_eq!((answer.status, answer.body), (StatusCode::FORBIDDEN, expected), "{keys:?} {body}");
        }
        let cancel = json!({ "lease_id": id });
        let answer = tenants.acme.post("/v1/objects/tenant:acme:bucket/cancel", &cancel).await;
        assert_eq!(answer.body, json!({ "ok": false }), "{keys:?}");
    }
    assert_eq!(tenants.usage("tenant:other:slots").await["reserved"], json!(2));
    assert_eq!(tenants.usage("tenant:acme:slots").await["reserved"], json!(1));
}

#[tokio::test]
async fn a_lease_with_own_limits_can_be_completed_without_naming_them() {
    let tenants = Tenants::new().await;
    let own = reserve_of(&["tenant:acme:slots", "tenant:acme:daily"]);
    tenants.acme.post("/v1/reserve", &own).await.assert_granted();
    let completed = tenants.acme.post("/v1/complete", &json!({ "lease_id": own["lease_id"] })).await;
    assert_eq!(completed.status, StatusCode::OK);
    assert_eq!(tenants.usage("tenant:acme:slots").await["reserved"], json!(0));
    let unknown = tenants.acme.post("/v1/complete", &json!({ "lease_id": lease().to_string() })).await;
    assert_eq!(unknown.status, StatusCode::OK);
}

#[tokio::test]
async fn another_replica_knows_the_limits_of_a_lease() {
    let tenants = Tenants::new().await;
    let leases = ["acme", "other"].map(|tenant| reserve_of(&[&format!("tenant:{tenant}:daily")]));
    for reserve in &leases {
        tenants.operator.post("/v1/reserve", reserve).await.assert_granted();
    }
    // It has not read the instances of the template.
    let backend = &tenants.operator.backend;
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    let is_own = |key: &ledger_limiter::limit::LimitKey| key.as_str().starts_with("tenant:acme:");
    for (reserve, expected) in leases.iter().zip([true, false]) {
        let id = reserve["lease_id"].as_str().and_then(|id| ledger_limiter::limit::LeaseId::parse(id).ok());
        let holds_only = replica.limiter().lease_holds_only(id.expect("an id"), [], is_own).await;
        assert_eq!(holds_only.expect("the ledger answers"), expected, "{reserve}");
    }
}

#[tokio::test]
async fn a_list_holds_allowed_limits_only() {
    let tenants = Tenants::new().await;
    for tenant in ["acme", "other"] {
        tenants.operator.reserve(&format!("tenant:{tenant}:daily"), 1).await.assert_granted();
    }
    assert_eq!(tenants.acme.listed_keys().await, ["tenant:acme:bucket", "tenant:acme:slots"]);
    // A page is filled with allowed limits, and the next one begins behind an allowed limit.
    let page = tenants.acme.get("/v1/admin/limits?count=1").await.body;
    assert_eq!(page["limits"].as_array().map(Vec::len), Some(1));
    assert_eq!(page["next_after"], json!("tenant:acme:bucket"));
    let last = tenants.acme.get("/v1/admin/limits?count=1&after=tenant:acme:bucket").await.body;
    assert_eq!(last["next_after"].as_str().unwrap_or_default(), "", "{last}");
    let others = tenants.acme.get("/v1/admin/limits?prefix=tenant:other").await.body;
    assert_eq!(others["limits"], json!([]));
    let path = "/v1/admin/limits?template=tenant:%7Btenant%7D:daily";
    tenants.acme.get(path).await.assert_error(StatusCode::FORBIDDEN, "forbidden");
    assert_eq!(tenants.operator.get(path).await.body["limits"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn the_history_of_an_exact_key_can_be_read() {
    let file = TokenFile::new();
    let token = file.add("one", &[Scope::Admin, Scope::Read], &["rpm"]);
    let service = file.service().await.called_with(token);
    assert_eq!(service.put(&bucket("rpm")).await.status, StatusCode::OK);
    assert_eq!(service.get("/v1/admin/limits/rpm/history").await.status, StatusCode::OK);
    service.get("/v1/admin/limits/other/history").await.assert_error(StatusCode::FORBIDDEN, "forbidden");
}
