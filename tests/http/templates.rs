//! Templates: their instances, `max_instances`, and their deletion.

use super::*;

const TEMPLATE: &str = "tenant:{tenant}:daily";
/// The percent-encoded path of the template.
const PATH: &str = "/v1/admin/limits/tenant:%7Btenant%7D:daily";

fn template(max_instances: u64, capacity: u64) -> Value {
    json!({
        "key": TEMPLATE, "kind": "fixed_window", "capacity": capacity, "window_seconds": 86_400,
        "max_instances": max_instances,
    })
}

/// A service with a template of `max_instances` limits of 10, one of which has 4 reserved.
async fn service_with_instance(max_instances: u64) -> Service {
    let service = Service::new().await;
    assert_eq!(service.put(&template(max_instances, 10)).await.status, StatusCode::OK);
    service.reserve("tenant:acme:daily", 4).await.assert_granted();
    service
}

#[tokio::test]
async fn the_first_reserve_creates_an_instance() {
    let service = service_with_instance(1).await;
    let usage = service.limit("tenant:acme:daily").await["usage"].clone();
    assert_eq!(usage, json!({ "available": 6, "reserved": 4, "debt": 0 }));
    assert_eq!(service.listed_keys().await, ["rpm", "slots", TEMPLATE], "the list holds no instances");
}

#[tokio::test]
async fn a_template_denies_more_instances_than_its_maximum() {
    let service = service_with_instance(1).await;
    let denied = service.reserve("tenant:other:daily", 1).await;
    assert_eq!(denied, denial("tenant:other:daily", "too_many_instances:tenant:other:daily"));
    let limit = service.get(PATH).await.body["limit"].clone();
    assert_eq!(limit["definition"]["max_instances"], json!(1));
    let usage = json!({ "available": 0, "reserved": 1, "debt": 0 });
    assert_eq!(limit["usage"], usage, "the usage of a template counts instances");
}

#[tokio::test]
async fn a_changed_template_changes_its_instances() {
    let service = service_with_instance(1).await;
    assert_eq!(service.put(&template(5, 20)).await.status, StatusCode::OK);
    let usage = service.limit("tenant:acme:daily").await["usage"].clone();
    assert_eq!(usage, json!({ "available": 16, "reserved": 4, "debt": 0 }));
}

#[tokio::test]
async fn max_instances_0_means_the_default() {
    let service = service_with_instance(1).await;
    assert_eq!(service.put(&template(0, 10)).await, Answer::ok(json!({ "ok": true, "status": "active" })));
    let max_instances = service.get(PATH).await.body["limit"]["definition"]["max_instances"].clone();
    assert_eq!(max_instances, json!(100_000));
}

#[tokio::test]
async fn a_reserve_cannot_name_a_template() {
    let service = service_with_instance(1).await;
    let answer = service.reserve(TEMPLATE, 1).await;
    answer.assert_invalid("requirements[0].key must not hold '{'");
}

#[tokio::test]
async fn a_deleted_template_deletes_its_instances() {
    let service = service_with_instance(1).await;
    assert_eq!(service.delete(PATH).await, Answer::ok(json!({ "ok": true })));
    let denied = service.reserve("tenant:acme:daily", 1).await;
    assert_eq!(denied, denial("tenant:acme:daily", "unknown_limit_key:tenant:acme:daily"));
}

#[tokio::test]
async fn the_instances_of_a_template_are_listed_in_pages() {
    let service = Service::new().await;
    assert_eq!(service.put(&template(10, 10)).await.status, StatusCode::OK);
    let more = json!({ "key": "more:{tenant}", "kind": "rolling", "capacity": 5, "window_seconds": 60 });
    assert_eq!(service.put(&more).await.status, StatusCode::OK);
    for (key, amount) in [("tenant:c:daily", 3), ("tenant:a:daily", 1), ("tenant:b:daily", 2), ("more:a", 1)]
    {
        service.reserve(key, amount).await.assert_granted();
    }
    let all = service.get(&format!("/v1/admin/limits?template={TEMPLATE}")).await;
    let reserved: Vec<Value> = all.body["limits"]
        .as_array()
        .expect("limits")
        .iter()
        .map(|limit| json!([limit["definition"]["key"], limit["usage"]["reserved"]]))
        .collect();
    let expected = [json!(["tenant:a:daily", 1]), json!(["tenant:b:daily", 2]), json!(["tenant:c:daily", 3])];
    assert_eq!(reserved, expected);
    assert_eq!(all.body["next_after"], json!(""));

    let first = service.get(&format!("/v1/admin/limits?template={TEMPLATE}&count=2")).await;
    assert_eq!(first.body["next_after"], json!("tenant:b:daily"));
    let rest =
        service.get(&format!("/v1/admin/limits?template={TEMPLATE}&count=2&after=tenant:b:daily")).await;
    assert_eq!(rest.body["limits"], json!([all.body["limits"][2]]));
    let one = service.get(&format!("/v1/admin/limits?template={TEMPLATE}&prefix=tenant:b")).await;
    assert_eq!(one.body["limits"], json!([all.body["limits"][1]]));
}

#[tokio::test]
async fn a_limit_that_is_no_instance_any_more_is_not_listed() {
    let service = Service::new().await;
    assert_eq!(service.put(&template(10, 10)).await.status, StatusCode::OK);
    for key in ["tenant:kept:daily", "tenant:changed:daily", "tenant:deleted:daily"] {
        service.reserve(key, 1).await.assert_granted();
    }
    let mut changed = template(0, 20);
    changed["key"] = json!("tenant:changed:daily");
    changed.as_object_mut().expect("an object").remove("max_instances");
    assert_eq!(service.put(&changed).await.status, StatusCode::OK);
    assert_eq!(service.delete("/v1/admin/limits/tenant:deleted:daily").await.status, StatusCode::OK);
    let listed = service.get(&format!("/v1/admin/limits?template={TEMPLATE}")).await;
    let keys: Vec<&Value> = listed.body["limits"]
        .as_array()
        .expect("limits")
        .iter()
        .map(|limit| &limit["definition"]["key"])
        .collect();
    assert_eq!(keys, [&json!("tenant:kept:daily")]);
}

#[tokio::test]
async fn only_a_template_has_instances_to_list() {
    let service = Service::new().await;
    for unknown in ["nothing:{at_all}", "rpm"] {
        let answer = service.get(&format!("/v1/admin/limits?template={unknown}")).await;
        answer.assert_error(StatusCode::NOT_FOUND, "unknown_limit_key");
    }
}

#[tokio::test]
async fn a_path_decodes_the_escapes_of_a_key_once() {
    let service = Service::new().await;
    let keys = ["user:user%3Aann:rpm", "user:user:ann:rpm", "user:user%253Aann:rpm"];
    for (key, capacity) in keys.into_iter().zip(1_u64..) {
        let limit = json!({ "key": key, "kind": "token_bucket", "capacity": capacity, "refill_amount": 1,
            "refill_interval_ms": 60_000 });
        assert_eq!(service.put(&limit).await.status, StatusCode::OK, "{key}");
    }
    for (path, capacity) in [
        ("user:user%253Aann:rpm", 1),
        ("user:user%3Aann:rpm", 2),
        ("user%3Auser:ann%3Arpm", 2),
        ("user:user%25253Aann:rpm", 3),
    ] {
        assert_eq!(service.limit(path).await["definition"]["capacity"], json!(capacity), "{path}");
        let history = service.get(&format!("/v1/admin/limits/{path}/history")).await.body;
        assert_eq!(history["versions"][0]["definition"]["capacity"], json!(capacity), "{path}");
        let state = service.get(&format!("/v1/objects/{path}/state")).await.body;
        assert_eq!(state["burst"], json!(capacity), "{path}");
    }
    assert_eq!(service.delete("/v1/admin/limits/user:user%253Aann:rpm").await.status, StatusCode::OK);
    assert_eq!(service.listed_keys().await, ["rpm", "slots", "user:user%253Aann:rpm", "user:user:ann:rpm"]);
}

#[tokio::test]
async fn another_spelling_of_a_key_is_refused_with_the_right_one() {
    let service = Service::new().await;
    let right = "key must be spelled \"user%3Aann/x\"";
    service.reserve("user%3aann%2Fx", 1).await.assert_invalid(&format!("requirements[0].{right}"));
    service.get("/v1/admin/limits/user%253aann%252Fx").await.assert_invalid(right);
}
