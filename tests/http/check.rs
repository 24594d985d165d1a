//! `/v1/check/{key}`: takes of one limit, and answers by statuses and headers.

use ledger_limiter::server::config::HeaderForm;

use super::*;

/// A check, with these headers.
async fn check(service: &Service, path: &str, headers: &[(&str, &str)]) -> RawAnswer {
    let mut request = Request::builder().method(Method::POST).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    service.send_request(request.body(Body::empty()).expect("a request")).await
}

fn header(answer: &RawAnswer, name: &str) -> String {
    answer.headers.get(name).map_or(String::new(), |value| value.to_str().expect("text").to_owned())
}

#[tokio::test]
async fn a_check_takes_until_nothing_is_left() {
    let service = Service::new().await;
    for (left, path) in [(2, "/v1/check/rpm"), (0, "/v1/check/rpm?amount=2")] {
        let answer = check(&service, path, &[]).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(header(&answer, "ratelimit-policy"), "\"rpm\";q=3;w=60");
        assert_eq!(header(&answer, "ratelimit"), format!("\"rpm\";r={left};t=60"));
        assert_eq!(header(&answer, "retry-after"), "");
        assert_eq!(header(&answer, "cache-control"), "no-store");
        let body = answer.read().body;
        assert_eq!(body["allowed"], json!(true));
        assert_eq!(body["limits"][0]["available"], json!(left));
    }
    let denied = check(&service, "/v1/check/rpm", &[]).await;
    assert_eq!(denied.status, StatusCode::TOO_MANY_REQUESTS);
    let seconds = header(&denied, "retry-after");
    assert!(seconds.parse::<u64>().expect("a number") >= 1);
    assert_eq!(
        header(&denied, "ratelimit"),
        format!("\"rpm\";r=0;t={seconds}"),
        "no time before Retry-After"
    );
    assert_eq!(denied.read().body["limiting_key"], json!("rpm"));
    assert_eq!(service.limit("rpm").await["usage"]["reserved"], json!(3));
}

#[tokio::test]
async fn every_method_takes_and_no_body_is_read() {
    let service = Service::new().await;
    for method in [Method::GET, Method::HEAD, Method::PUT] {
        let answer = service.send(method.clone(), "/v1/check/rpm", "no JSON").await;
        assert_eq!(answer.status, StatusCode::OK, "{method}");
    }
    assert_eq!(service.send(Method::DELETE, "/v1/check/rpm", "").await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn an_amount_of_zero_only_asks() {
    let service = Service::new().await;
    let peek = async || check(&service, "/v1/check/rpm?amount=0", &[]).await;
    let answer = peek().await;
    assert_eq!(
        (answer.status, header(&answer, "ratelimit")),
        (StatusCode::OK, "\"rpm\";r=3;t=60".to_owned())
    );
    service.reserve("rpm", 3).await.assert_granted();
    assert_eq!(peek().await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(service.limit("rpm").await["usage"]["reserved"], json!(3));
}

#[tokio::test]
async fn what_cannot_be_checked_is_refused() {
    let service = Service::new().await;
    for (path, message) in [
        ("/v1/check/slots", "key slots is a concurrency limit: a check has no lease"),
        ("/v1/check/slots?amount=0", "key slots is a concurrency limit: a check has no lease"),
        ("/v1/check/%20", "key must begin with a letter or a digit"),
        ("/v1/check/rpm?amount=-1", "query: amount: invalid digit found in string"),
        ("/v1/check/rpm?amount=9223372036854775808", "amount must be at most 9223372036854775807"),
        ("/v1/check/rpm?amount=1&amount=2", "query: duplicate field `amount`"),
        ("/v1/check/rpm?status=200", "status must be 429 or 403, not 200"),
        ("/v1/check/rpm?amuont=1", "query: amuont: unknown field `amuont`"),
    ] {
        check(&service, path, &[]).await.read().assert_invalid(message);
    }
    let unknown = check(&service, "/v1/check/nope", &[]).await;
    assert_eq!((unknown.status, header(&unknown, "ratelimit")), (StatusCode::NOT_FOUND, String::new()));
    let never = check(&service, "/v1/check/rpm?amount=4", &[]).await;
    assert_eq!((never.status, header(&never, "retry-after")), (StatusCode::TOO_MANY_REQUESTS, String::new()));
    assert_eq!(service.limit("rpm").await["usage"]["reserved"], json!(0));
    assert_eq!(service.limit("slots").await["usage"]["reserved"], json!(0));
}

#[tokio::test]
async fn a_template_of_slots_is_refused_before_it_makes_one() {
    let service = Service::new().await;
    for (name, kind) in [
        ("slots:{user}", json!({ "kind": "concurrency", "timeout_seconds": 60 })),
        ("rpm:{user}", json!({ "kind": "rolling", "window_seconds": 60 })),
    ] {
        let mut template = kind;
        template["key"] = json!(name);
        template["capacity"] = json!(1);
        assert_eq!(service.put(&template).await.status, StatusCode::OK);
    }
    let refused = check(&service, "/v1/check/slots:ann", &[]).await.read();
    refused.assert_invalid("key slots:ann is a concurrency limit");
    assert_eq!(service.get("/v1/admin/limits/slots:ann").await.status, StatusCode::NOT_FOUND);
    for status in [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS] {
        assert_eq!(check(&service, "/v1/check/rpm:ann", &[]).await.status, status);
    }
}

#[tokio::test]
async fn a_denial_may_have_the_status_that_a_proxy_passes_on() {
    let service = Service::new().await;
    service.reserve("rpm", 3).await.assert_granted();
    let denied = check(&service, "/v1/check/rpm?status=403", &[]).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN);
    assert!(!header(&denied, "retry-after").is_empty());
    assert!(!header(&denied, "ratelimit").is_empty());
}

#[tokio::test]
async fn the_settings_choose_the_headers() {
    let service = Service::new().await;
    let tokens =
        json!({ "key": "tpm", "kind": "rolling", "capacity": 90, "window_seconds": 60, "unit": "tokens" });
    assert_eq!(service.put(&tokens).await.status, StatusCode::OK);
    let headers = vec![HeaderForm::OpenAi, HeaderForm::Anthropic];
    let service = service.that_answers(AnswersSettings { headers, ..AnswersSettings::default() });
    let answer = check(&service, "/v1/check/tpm?amount=30", &[]).await;
    for (name, value) in [
        ("x-ratelimit-limit-tokens", "90"),
        ("x-ratelimit-remaining-tokens", "60"),
        ("x-ratelimit-reset-tokens", "1m0s"),
        ("anthropic-ratelimit-tokens-limit", "90"),
        ("anthropic-ratelimit-tokens-remaining", "60"),
        ("x-ratelimit-limit-requests", ""),
        ("ratelimit", ""),
    ] {
        assert_eq!(header(&answer, name), value, "{name}");
    }
    // Limits have no other unit than requests for these headers.
    let answer = check(&service, "/v1/check/rpm", &[]).await;
    assert_eq!(header(&answer, "anthropic-ratelimit-requests-remaining"), "2");
}

#[tokio::test]
async fn problems_have_the_types_of_the_draft() {
    let service = Service::new().await;
    let accept = [("accept", "application/problem+json")];
    let problem = async |path: &str| {
        let answer = check(&service, path, &accept).await;
        assert_eq!(header(&answer, "content-type"), "application/problem+json", "{path}");
        let body: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(body["status"], json!(answer.status.as_u16()), "{path}");
        (
            answer.status.as_u16(),
            body["type"].as_str().expect("a type").to_owned(),
            body["violated-policies"].clone(),
        )
    };
    let exceeded = "https://iana.org/assignments/http-problem-types#quota-exceeded".to_owned();
    let granted = check(&service, "/v1/check/rpm?amount=3", &accept).await;
    assert_eq!(header(&granted, "content-type"), "application/json", "it is no problem");
    assert_eq!(problem("/v1/check/rpm").await, (429, exceeded.clone(), json!(["rpm"])));
    assert_eq!(problem("/v1/check/rpm?amount=4").await, (429, exceeded, json!(["rpm"])));
    assert_eq!(problem("/v1/check/slots").await, (400, "about:blank".to_owned(), Value::Null));
    // A decrease that waits for room.
    let lower = json!({ "key": "rpm", "kind": "rolling", "capacity": 1, "window_seconds": 60 });
    service.put(&lower).await;
    let reduced = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity".to_owned();
    assert_eq!(problem("/v1/check/rpm").await, (429, reduced, json!(["rpm"])));
}

#[tokio::test(start_paused = true)]
async fn without_the_ledger_a_check_answers_503() {
    let service = Service::not_ready().await;
    let answer = check(&service, "/v1/check/rpm", &[]).await;
    assert_eq!(
        (answer.status, header(&answer, "retry-after")),
        (StatusCode::SERVICE_UNAVAILABLE, "1".to_owned())
    );
    let service = Service::not_ready().await;
    let answer = check(&service, "/v1/check/rpm", &[("accept", "application/problem+json")]).await;
    assert_eq!(
        (answer.status, header(&answer, "retry-after")),
        (StatusCode::SERVICE_UNAVAILABLE, "1".to_owned())
    );
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(
        body["type"],
        json!("https://iana.org/assignments/http-problem-types#temporary-reduced-capacity")
    );
}

#[tokio::test]
async fn a_page_of_another_site_cannot_check() {
    let hosts = ledger_limiter::server::AllowedHosts::new(&[]).expect("no names");
    let service = Service::behind(Gate { allowed_hosts: hosts, ..Gate::open() }, true).await;
    let limit = json!({ "key": "rpm", "kind": "rolling", "capacity": 3, "window_seconds": 60 });
    assert_eq!(service.put(&limit).await.status, StatusCode::OK);
    for header in [
        ("origin", "https://elsewhere.example"),
        // As for an image, for which a browser sends GET without an origin.
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let answer = check(&service, "/v1/check/rpm", &[header]).await;
        answer.read().assert_error(StatusCode::FORBIDDEN, "origin_not_allowed");
    }
    assert_eq!(service.limit("rpm").await["usage"]["reserved"], json!(0));
    // Over plain HTTP to an address, a browser says neither.
    let browser = ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0");
    check(&service, "/v1/check/rpm", &[browser])
        .await
        .read()
        .assert_error(StatusCode::FORBIDDEN, "origin_not_allowed");
    assert_eq!(service.limit("rpm").await["usage"]["reserved"], json!(0));
    let of_proxy = check(&service, "/v1/check/rpm", &[browser, ("x-forwarded-uri", "/")]).await;
    assert_eq!(of_proxy.status, StatusCode::OK);
    for own in ["none", "same-origin"] {
        let answer = check(&service, "/v1/check/rpm", &[("sec-fetch-site", own)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{own}");
    }
}
