//! `POST /v1/reserve/batch` and `POST /v1/complete/batch`.

use super::*;

#[tokio::test]
async fn a_bad_item_of_a_reserve_batch_fails_alone_and_in_its_position() {
    let service = Service::new().await;
    let items = json!([fresh_reserve("rpm", 1), fresh_reserve("rpm", 1 << 63), 7, fresh_reserve("nope", 1)]);
    let answer = service.post("/v1/reserve/batch", &json!({ "requests": items })).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let results = answer.body["results"].as_array().expect("results");
    let [granted, too_large, number, unknown] = results.as_slice() else { panic!("{answer:?}") };
    assert_eq!(granted["allowed"], json!(true));
    assert_eq!(
        *too_large,
        failed_reserve("invalid_request: requirements[0].amount must be at most 9223372036854775807")
    );
    let error = number["error"].as_str().expect("an error");
    assert!(error.starts_with("invalid_request: the JSON must be an object, not 7"), "{error}");
    assert_eq!(*unknown, denial("nope", "unknown_limit_key:nope").body);
}

#[tokio::test]
async fn a_bad_item_of_a_complete_batch_fails_alone_and_in_its_position() {
    let service = Service::new().await;
    let (id, other) = (lease().to_string(), lease().to_string());
    for lease in [&id, &other] {
        service.post("/v1/reserve", &reserve_body(lease, "slots", 1)).await.assert_granted();
    }
    let items = json!([
        { "lease_id": id },
        { "lease_id": "x" },
        { "lease_id": lease().to_string() },
        { "lease_id": other, "actuals": [{ "key": "rpm", "actual_amount": 1 }] },
    ]);
    let answer = service.post("/v1/complete/batch", &json!({ "requests": items })).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let results = answer.body["results"].as_array().expect("results");
    let [settled, malformed, unknown, outside_key] = results.as_slice() else { panic!("{answer:?}") };
    assert_eq!(*settled, json!({ "ok": true, "error": "" }));
    assert_eq!(malformed["ok"], json!(false));
    let error = malformed["error"].as_str().expect("an error");
    assert!(error.starts_with("invalid_request: lease_id must be a ULID"), "{error}");
    assert_eq!(*unknown, json!({ "ok": true, "error": "" }));
    let error = "invalid_request: actuals[0].key is not in the lease";
    assert_eq!(*outside_key, json!({ "ok": false, "error": error }));
    assert_eq!(
        service.limit("slots").await["usage"]["reserved"],
        json!(1),
        "only the first lease is settled"
    );
}

#[tokio::test]
async fn a_body_that_is_not_a_batch_is_refused_as_a_whole() {
    let service = Service::new().await;
    let five: Vec<Value> = (0..5).map(|_| fresh_reserve("rpm", 1)).collect();
    for (body, message) in [
        (json!({}), "missing field `requests`"),
        (json!({ "requests": [] }), "requests must be between 1 and 4 long, not 0"),
        (json!({ "requests": five }), "requests must be between 1 and 4 long, not 5"),
        (json!([fresh_reserve("rpm", 1)]), "the JSON must be an object, not an array"),
    ] {
        for path in ["/v1/reserve/batch", "/v1/complete/batch"] {
            service.post(path, &body).await.assert_invalid(message);
        }
    }
    assert_eq!(service.limit("rpm").await["usage"]["reserved"], json!(0), "a refusal reserves nothing");
}
