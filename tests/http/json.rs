//! How strict the API is about bodies: spellings of JSON, and their content type.

use super::*;

/// A good body for each endpoint that takes one.
fn bodies() -> Vec<(Method, &'static str, Value)> {
    let (id, other) = (lease().to_string(), lease().to_string());
    let definition = json!({ "key": "tpm", "kind": "token_bucket", "capacity": 5, "refill_amount": 1,
        "refill_interval_ms": 1_000 });
    vec![
        (Method::POST, "/v1/reserve", fresh_reserve("rpm", 1)),
        (Method::POST, "/v1/reserve/batch", json!({ "requests": [fresh_reserve("rpm", 1)] })),
        (Method::POST, "/v1/complete", json!({ "lease_id": id, "actuals": [] })),
        (Method::POST, "/v1/complete/batch", json!({ "requests": [{ "lease_id": id }] })),
        (
            Method::POST,
            "/v1/extend",
            json!({ "lease_id": id, "extend_id": other, "key": "rpm", "amount": 1 }),
        ),
        (Method::PUT, "/v1/admin/limits", definition),
        (Method::POST, "/v1/admin/limits/tpm/replenish", json!({ "replenish_id": id })),
        (Method::PUT, "/v1/objects/tpm/rate", json!({ "limit": 1, "burst": 5 })),
        (Method::POST, "/v1/objects/tpm/try_reserve", json!({ "tokens": 1 })),
        (Method::POST, "/v1/objects/tpm/reserve", json!({ "tokens": 1 })),
        (Method::POST, "/v1/objects/tpm/cancel", json!({ "lease_id": id })),
        (Method::POST, "/v1/objects/tpm/release", json!({ "tokens": 1 })),
    ]
}

/// The values of an object, in its order. Serde would read this array as the object.
fn values(body: &Value) -> Value {
    body.as_object().expect("an object").values().cloned().collect()
}

impl Service {
    /// One with the bucket `tpm` too.
    async fn for_bodies() -> Self {
        let service = Self::new().await;
        let (method, path, bucket) = bodies().swap_remove(5);
        assert_eq!(service.call(method, path, bucket.to_string()).await.status, StatusCode::OK);
        service
    }
}

#[tokio::test]
async fn an_array_in_the_place_of_an_object_is_refused_by_every_endpoint() {
    let service = Service::for_bodies().await;
    for (method, path, body) in bodies() {
        let array = service.call(method, path, values(&body).to_string()).await;
        array.assert_invalid("the JSON must be an object, not an array");
    }
    let id = lease().to_string();
    let nested = json!({ "lease_id": id, "requirements": [["rpm", 1]] });
    service
        .post("/v1/reserve", &nested)
        .await
        .assert_invalid("requirements[0] must be an object, not an array");
    let nested = json!({ "lease_id": id, "actuals": [["rpm", 1]] });
    service.post("/v1/complete", &nested).await.assert_invalid("actuals[0] must be an object, not an array");
    let batch = service.post("/v1/reserve/batch", &json!({ "requests": [[id, "", [["rpm", 1]]]] })).await;
    let expected = failed_reserve("invalid_request: the JSON must be an object, not an array");
    assert_eq!(batch, Answer::ok(json!({ "results": [expected] })));
    assert_eq!(service.limit("rpm").await["usage"]["reserved"], json!(0), "a refusal reserves nothing");
}

#[tokio::test]
async fn null_is_an_absent_field_and_not_a_required_one() {
    let service = Service::for_bodies().await;
    for (method, path, fields) in [
        (Method::POST, "/v1/reserve", "job_id dry_run force"),
        (Method::POST, "/v1/complete", "job_id actuals"),
        (
            Method::PUT,
            "/v1/admin/limits",
            "window_seconds window_ms timeout_seconds align segments auto_replenish max_instances unit description overage",
        ),
        (Method::POST, "/v1/admin/limits/tpm/replenish", "replenish_id"),
        (Method::PUT, "/v1/objects/tpm/rate", "burst"),
        (Method::POST, "/v1/objects/tpm/reserve", "lease_id"),
        (Method::POST, "/v1/objects/tpm/release", "release_id"),
    ] {
        let (_, _, mut body) = bodies().into_iter().find(|(_, of, _)| *of == path).expect("a body");
        for field in fields.split(' ') {
            body[field] = Value::Null;
        }
        let answer = service.call(method, path, body.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{body}: {answer:?}");
    }
    for (method, path, field) in [
        (Method::POST, "/v1/reserve", "lease_id"),
        (Method::POST, "/v1/reserve", "requirements"),
        (Method::POST, "/v1/complete", "lease_id"),
        (Method::POST, "/v1/complete/batch", "requests"),
        (Method::POST, "/v1/extend", "extend_id"),
        (Method::PUT, "/v1/admin/limits", "capacity"),
        (Method::POST, "/v1/objects/tpm/cancel", "lease_id"),
    ] {
        let (_, _, mut body) = bodies().into_iter().find(|(_, of, _)| *of == path).expect("a body");
        body[field] = Value::Null;
        let answer = service.call(method, path, body.to_string()).await;
        answer.assert_invalid(&format!("{field} must not be null"));
    }
}

#[tokio::test]
async fn a_whole_number_has_any_spelling() {
    let service = Service::for_bodies().await;
    let reserve = |amount: &str| {
        let requirement = format!(r#"{{ "key": "rpm", "amount": {amount} }}"#);
        format!(r#"{{ "lease_id": "{}", "requirements": [{requirement}] }}"#, lease())
    };
    for amount in ["1", "1.0", "10e-1"] {
        service.call(Method::POST, "/v1/reserve", reserve(amount)).await.assert_granted();
    }
    assert_eq!(service.limit("rpm").await["usage"]["reserved"], json!(3));
    for (amount, message) in [
        ("5.5", "requirements[0].amount must be a whole number, not 5.5"),
        ("-1", "requirements[0].amount must not be negative"),
        ("1e30", "requirements[0].amount must be at most 9223372036854775807"),
    ] {
        service.call(Method::POST, "/v1/reserve", reserve(amount)).await.assert_invalid(message);
    }
    let definition =
        r#"{ "key": "big", "kind": "rolling", "capacity": 9.223372036854775807e18, "window_seconds": 6e1 }"#;
    let put = service.call(Method::PUT, "/v1/admin/limits", definition).await;
    assert_eq!(put, Answer::ok(json!({ "ok": true, "status": "active" })));
    assert_eq!(service.limit("big").await["definition"]["capacity"], json!(i64::MAX));
}

#[tokio::test]
async fn the_name_of_an_unknown_field_is_repeated_once_and_cut() {
    let service = Service::for_bodies().await;
    for (method, path, mut body) in bodies() {
        body["x".repeat(1_000)] = json!(1);
        let answer = service.call(method, path, body.to_string()).await;
        answer.assert_invalid(&format!("unknown field `{}…`; the fields are `", "x".repeat(64)));
        assert_eq!(answer.body["message"].as_str().expect("a message").matches("xxxx").count(), 16, "{path}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_plain_json_is_an_unsupported_media_type() {
    let service = Service::for_bodies().await;
    let json = ("content-type", "application/json");
    for (headers, expected) in [
        (vec![json], Ok(())),
        (vec![("content-type", "Application/JSON; charset=utf-8")], Ok(())),
        (vec![json, ("content-encoding", "identity")], Ok(())),
        (vec![json, ("content-encoding", "gzip")], Err("content-encoding is not supported")),
        (vec![json, ("content-encoding", "br")], Err("content-encoding is not supported")),
        (vec![("content-type", "application/x-www-form-urlencoded")], Err("content-type must be")),
        (vec![("content-type", "application/jsonp")], Err("content-type must be")),
        (vec![], Err("content-type must be application/json")),
    ] {
        for (method, path, body) in bodies() {
            let builder = Request::builder().method(method).uri(path);
            let builder =
                headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
            let request = builder.body(Body::from(body.to_string())).expect("a request");
            let answer = service.send_request(request).await.read();
            match expected {
                Ok(()) => assert_ne!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path} {headers:?}"),
                Err(message) => {
                    answer.assert_error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type");
                    let actual = answer.body["message"].as_str().expect("a message");
                    assert!(actual.starts_with(message), "{path} {headers:?}: {actual}");
                }
            }
        }
    }
    let replenish = Request::post("/v1/admin/limits/tpm/replenish").body(Body::empty()).expect("a request");
    let answer = service.send_request(replenish).await.read();
    assert_eq!(answer.status, StatusCode::OK, "no body needs no type: {answer:?}");
}
