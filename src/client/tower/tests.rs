//! The rate limit layer around test services, over a limiter in this process.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Bytes, Frame};
use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use tower::{Service, ServiceExt, service_fn};
use tower_layer::Layer;

use super::{
    LayerError, LimitedBody, PeerAddr, RateLimit, RateLimitBuilder, RateLimitLayer, RequestKey,
    WhenUnavailable,
};
use crate::client::{Http, InProcess, Limit, LimitError, Limiter, Rate, RepeatPolicy, escape_segment};

type TestBody = UnsyncBoxBody<Bytes, BodyFailed>;

#[derive(Debug, thiserror::Error)]
#[error("the body failed")]
struct BodyFailed;

#[derive(Debug, thiserror::Error)]
#[error("the service failed")]
struct ServiceFailed;

/// The limits of each user.
fn limits() -> [(&'static str, Limit); 2] {
    let rate = Limit::rolling("http:rate:{user}", 3).per(Duration::from_secs(60));
    let slots = Limit::concurrency("http:slots:{user}", 2).timeout(Duration::from_secs(300));
    [("per-minute", rate), ("at-once", slots)]
}

fn builder() -> RateLimitBuilder {
    let key = RequestKey::header(HeaderName::from_static("x-user"));
    let named = |builder: RateLimitBuilder, (name, limit)| builder.named_limit(name, limit);
    limits().into_iter().fold(RateLimitLayer::builder(key), named)
}

async fn limiter() -> Limiter<InProcess> {
    Limiter::new(InProcess::with_limits(limits().map(|(_, limit)| limit)).await.expect("valid"))
}

fn layer(limiter: &Limiter<InProcess>) -> RateLimitLayer {
    builder().over(limiter.clone()).expect("valid")
}

fn request(user: Option<&str>) -> Request<()> {
    let request = Request::get("/");
    let request = user.into_iter().fold(request, |request, user| request.header("x-user", user));
    request.body(()).expect("valid")
}

/// A body of these frames.
fn body(frames: Vec<Result<&'static str, BodyFailed>>) -> TestBody {
    let frames =
        frames.into_iter().map(|data| data.map(|data| Frame::data(Bytes::from_static(data.as_bytes()))));
    StreamBody::new(stream::iter(frames)).boxed_unsync()
}

/// A service that answers with a body of two frames. The header `x-fail` makes the service or the second frame fail.
async fn answer(request: Request<()>) -> Result<Response<TestBody>, ServiceFailed> {
    match request.headers().get("x-fail").map(HeaderValue::as_bytes) {
        Some(b"service") => Err(ServiceFailed),
        Some(_) => Ok(Response::new(body(vec![Ok("one"), Err(BodyFailed)]))),
        None => Ok(Response::new(body(vec![Ok("one"), Ok("two")]))),
    }
}

fn field<'a, B>(response: &'a Response<B>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

/// The units available, after the releases in the background.
async fn available(limiter: &Limiter<InProcess>, key: &str) -> u128 {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    limiter.available(key).await.expect("answered").expect("defined")
}

async fn call<S, B>(service: &S, request: Request<()>) -> Response<LimitedBody<B>>
where
    S: Service<Request<()>, Response = Response<LimitedBody<B>>> + Clone,
    S::Error: std::fmt::Debug,
{
    service.clone().oneshot(request).await.expect("the service answers")
}

#[tokio::test]
async fn a_request_without_room_is_answered_with_429_and_a_retry_after() {
    let limiter = limiter().await;
    let service = layer(&limiter).layer(service_fn(answer));
    let policy = r#""per-minute";q=3;w=60, "at-once";q=2;qu="concurrent-requests""#;
    for _ in 0..3 {
        let response = call(&service, request(Some("ann"))).await;
        assert_eq!((response.status(), field(&response, "ratelimit-policy")), (StatusCode::OK, policy));
        assert_eq!(field(&response, "ratelimit"), "");
        assert_eq!(response.into_body().collect().await.expect("a body").to_bytes(), "onetwo");
        available(&limiter, "http:slots:ann").await;
    }
    let refused = call(&service, request(Some("ann"))).await;
    assert_eq!(
        (refused.status(), field(&refused, "ratelimit-policy")),
        (StatusCode::TOO_MANY_REQUESTS, policy)
    );
    let seconds: u64 = field(&refused, RETRY_AFTER.as_str()).parse().expect("seconds");
    assert!((1..=60).contains(&seconds));
    assert_eq!(field(&refused, "ratelimit"), format!(r#""per-minute";r=0;t={seconds}"#));
    assert_eq!(field(&refused, "content-type"), "application/problem+json");
    let problem = refused.into_body().collect().await.expect("a body").to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&problem).expect("JSON");
    assert_eq!(problem["violated-policies"], serde_json::json!(["per-minute"]));
    // Another user, and a request without a user, still have room.
    for other in [Some("bob"), None] {
        assert_eq!(call(&service, request(other)).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn the_lease_lasts_until_the_body_has_ended() {
    let limiter = limiter().await;
    let service = layer(&limiter).layer(service_fn(answer));
    let mut body = call(&service, request(Some("ann"))).await.into_body();
    assert_eq!(available(&limiter, "http:slots:ann").await, 1);
    body.frame().await.expect("a frame").expect("no failure");
    body.frame().await.expect("a frame").expect("no failure");
    assert_eq!(available(&limiter, "http:slots:ann").await, 1);
    assert!(body.frame().await.is_none());
    // The lease has ended, although the body is not dropped.
    assert_eq!(available(&limiter, "http:slots:ann").await, 2);
    assert_eq!(available(&limiter, "http:rate:ann").await, 2);
    assert!(!body.is_end_stream());
}

#[tokio::test]
async fn the_lease_ends_when_the_body_fails_or_is_dropped_or_the_service_fails() {
    let limiter = limiter().await;
    let service = layer(&limiter).layer(service_fn(answer));
    let failing = |part| {
        let mut request = request(Some("ann"));
        request.headers_mut().insert("x-fail", HeaderValue::from_static(part));
        request
    };
    let mut failing_body = call(&service, failing("body")).await.into_body();
    failing_body.frame().await.expect("a frame").expect("no failure");
    assert_eq!(available(&limiter, "http:slots:ann").await, 1);
    failing_body.frame().await.expect("a frame").expect_err("it fails");
    assert_eq!(available(&limiter, "http:slots:ann").await, 2);
    let dropped = call(&service, request(Some("ann"))).await;
    assert_eq!(available(&limiter, "http:slots:ann").await, 1);
    drop(dropped);
    assert_eq!(available(&limiter, "http:slots:ann").await, 2);
    let mut service = service;
    service.ready().await.expect("ready").call(failing("service")).await.err().expect("it fails");
    assert_eq!(available(&limiter, "http:slots:ann").await, 2);
}

#[tokio::test]
async fn the_lease_ends_when_the_caller_is_cancelled() {
    let limiter = limiter().await;
    let never = service_fn(async |_request: Request<()>| {
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>().await
    });
    let service = layer(&limiter).layer(never);
    let call_and_check = async || {
        tokio::join!(call(&service, request(Some("ann"))), async {
            assert_eq!(available(&limiter, "http:slots:ann").await, 1);
        })
    };
    let timed_out = tokio::time::timeout(Duration::from_millis(50), call_and_check()).await;
    assert!(timed_out.is_err());
    assert_eq!(available(&limiter, "http:slots:ann").await, 2);
}

#[tokio::test]
async fn responses_have_the_remaining_amount_if_the_option_is_set() {
    let limiter = limiter().await;
    let layer = builder().tells_remaining(true).over(limiter).expect("valid");
    let service = layer.layer(service_fn(answer));
    let first = call(&service, request(Some("ann"))).await;
    assert_eq!(field(&first, "ratelimit"), r#""per-minute";r=2, "at-once";r=1"#);
    let second = call(&service, request(Some("ann"))).await;
    assert_eq!(field(&second, "ratelimit"), r#""per-minute";r=1, "at-once";r=0"#);
    let third = call(&service, request(Some("ann"))).await;
    assert_eq!(third.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(field(&third, "ratelimit").starts_with(r#""at-once";r=0;t="#));
}

#[tokio::test]
async fn a_key_of_any_characters_fills_the_placeholder_of_a_template() {
    let limiter = limiter().await;
    let users = ["2001:db8::1", "user:ann", "auth0|x", "o'brien@example.com"];
    let service = layer(&limiter).layer(service_fn(answer));
    for user in users {
        let response = call(&service, request(Some(user))).await;
        assert_eq!(response.status(), StatusCode::OK, "{user}");
        drop(response);
        assert_eq!(available(&limiter, &format!("http:rate:{}", escape_segment(user))).await, 2, "{user}");
    }
}

async fn detail(response: Response<LimitedBody<TestBody>>) -> String {
    let problem = response.into_body().collect().await.expect("a body").to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&problem).expect("JSON");
    problem["detail"].as_str().expect("text").to_owned()
}

#[tokio::test]
async fn a_request_whose_limit_is_not_defined_is_answered_with_500() {
    let limiter = Limiter::new(InProcess::without_limits().await.expect("it starts"));
    let service = layer(&limiter).layer(service_fn(answer));
    let response = call(&service, request(Some("eve"))).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        detail(response).await,
        "this request can never be let through: there is no limit http:rate:eve"
    );
}

#[tokio::test]
async fn a_client_beyond_the_instances_of_a_template_is_answered_with_503() {
    let [_, (name, slots)] = limits();
    let key = RequestKey::header(HeaderName::from_static("x-user"));
    let layer = RateLimitLayer::builder(key).named_limit(name, slots.instances_max(1));
    let service = layer.in_process().expect("valid").layer(service_fn(answer));
    assert_eq!(call(&service, request(Some("ann"))).await.status(), StatusCode::OK);
    let refused = call(&service, request(Some("bob"))).await;
    assert_eq!((refused.status(), field(&refused, "retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
}

#[tokio::test]
async fn requests_are_refused_or_let_through_while_the_limiter_does_not_answer() {
    // Nothing listens on this port.
    let http = Http::new("http://127.0.0.1:9").expect("valid");
    let policy = RepeatPolicy::default().give_up_after(Duration::ZERO);
    let limiter = Limiter::with_policy(http, policy);
    for (when_unavailable, expected) in [
        (WhenUnavailable::Refuse, StatusCode::SERVICE_UNAVAILABLE),
        (WhenUnavailable::LetThrough, StatusCode::OK),
    ] {
        let layer = builder().when_unavailable(when_unavailable).over(limiter.clone()).expect("valid");
        let service: RateLimit<_, Http> = layer.layer(service_fn(answer));
        let response = call(&service, request(None)).await;
        assert_eq!(response.status(), expected);
        assert_eq!(response.headers().contains_key(RETRY_AFTER), expected != StatusCode::OK);
    }
}

#[test]
fn a_layer_needs_at_least_one_limit_and_each_only_once() {
    let none = || RateLimitLayer::builder(RequestKey::path());
    let twice = limits().into_iter().chain(limits());
    let twice = twice.fold(none(), |builder, (name, limit)| builder.named_limit(name, limit));
    for builder in [none(), twice] {
        assert!(matches!(builder.in_process(), Err(LayerError::Requirements(_))));
    }
    let error = none().limit(Rate::per_second(-1).limit("http:{path}")).in_process().err();
    assert!(matches!(error, Some(LayerError::Limit(LimitError::Rate(_)))), "{error:?}");
    let error = none().limit(Rate::per_second(1).limit("http:all")).in_process().err();
    assert!(matches!(error, Some(LayerError::Key(_))), "{error:?}");
}

fn from_peer(last: u8) -> Request<()> {
    Request::get("/").extension(PeerAddr(([203, 0, 113, last], 4_000).into())).body(()).expect("valid")
}

/// The two lines of the documentation. The layer is built outside of a runtime.
#[test]
fn each_address_has_a_rate_of_its_own() {
    let service = RateLimitLayer::per_ip(Rate::per_second(2).burst(5)).layer(service_fn(answer));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for nth in 0..5 {
            assert_eq!(call(&service, from_peer(1)).await.status(), StatusCode::OK, "request {nth}");
        }
        let refused = call(&service.clone(), from_peer(1)).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS, "clones share the limits");
        assert_eq!(field(&refused, "retry-after"), "1");
        let detail = detail(refused).await;
        assert_eq!(detail, "too many requests: the limit \"http:ip\" has no room; try again in 1 s");
        assert_eq!(call(&service, from_peer(2)).await.status(), StatusCode::OK);
    });
}

#[tokio::test]
async fn a_request_without_the_address_of_its_peer_says_how_to_serve_it() {
    let service = RateLimitLayer::per_ip(Rate::per_second(1)).layer(service_fn(answer));
    let response = call(&service, request(None)).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(detail(response).await.contains("into_make_service_with_connect_info"));
}

#[test]
#[should_panic(expected = "the rate must be a number above 0")]
fn a_rate_of_zero_panics_when_the_layer_is_built() {
    RateLimitLayer::per_ip(Rate::per_second(-1));
}

#[tokio::test]
async fn requests_are_skipped_and_answered_as_the_layer_says() {
    let layer = RateLimitLayer::builder(RequestKey::path())
        .limit(Rate::per_hour(1).limit("http:path:{path*}"))
        .skip(|request| request.headers.contains_key("x-internal"))
        .respond(|refusal| {
            let mut response = Response::new(Full::new(Bytes::from(refusal.to_string())));
            *response.status_mut() = StatusCode::IM_A_TEAPOT;
            response
        });
    let service = layer.in_process().expect("valid").layer(service_fn(answer));
    assert_eq!(call(&service, request(None)).await.status(), StatusCode::OK);
    let refused = call(&service, request(None)).await;
    assert_eq!(refused.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(field(&refused, "ratelimit-policy"), r#""http:path";q=1;w=3600"#);
    let mut internal = request(None);
    internal.headers_mut().insert("x-internal", HeaderValue::from_static("1"));
    let skipped = call(&service, internal).await;
    assert_eq!((skipped.status(), field(&skipped, "ratelimit-policy")), (StatusCode::OK, ""));
}
