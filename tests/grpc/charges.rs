//! Descriptors that are not charged in the usual manner: they peek, give back, or are charged whatever is free.

use ledger_limiter::server::grpc::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use ledger_limiter::server::grpc::proto::kuadrant::service::ratelimit::v1::rate_limit_service_client::RateLimitServiceClient as KuadrantClient;
use ledger_limiter::server::grpc::proto::kuadrant::service::ratelimit::v1::{CommitRequest, ReserveRequest};
use tonic::Code as GrpcCode;

use super::*;

const MORE_RULES: &str = r#"
[[rule]]
domain = "edge"
entries = [{ key = "bucket" }]
limit = "bucket:{bucket}"
factor = 10

[[rule]]
domain = "edge"
entries = [{ key = "bytes" }]
limit = "model:{bytes}:tpm"
factor = 10
force = true
"#;

/// The usual service, with buckets of 100 tokens, and a rule that is charged whatever is free.
async fn service() -> Service {
    let service = Service::with_rules(&format!("{RULES}{MORE_RULES}")).await;
    service.replica.put(token_bucket("bucket:{name}", 100, 1, 3_600_000)).await;
    service
}

fn with_hits(key: &str, value: &str, hits: u64) -> RateLimitDescriptor {
    RateLimitDescriptor { hits_addend: Some(hits), ..descriptor(key, value) }
}

fn back(key: &str, value: &str, hits: u64) -> RateLimitDescriptor {
    RateLimitDescriptor { is_negative_hits: true, ..with_hits(key, value, hits) }
}

async fn code(service: &Service, descriptors: &[RateLimitDescriptor]) -> Code {
    service.ask(descriptors, 1).await.expect("an answer").overall_code()
}

async fn available(service: &Service, key: &str) -> u128 {
    service.replica.usage(key).await.available
}

#[tokio::test]
async fn zero_hits_ask_whether_anything_is_free() {
    let service = service().await;
    let peek = with_hits("model", "gpt", 0);
    assert_eq!(code(&service, std::slice::from_ref(&peek)).await, Code::Ok);
    assert_eq!(code(&service, &[peek.clone(), descriptor("tenant", "acme")]).await, Code::Ok);
    assert_eq!(available(&service, "tenant:acme:rpm").await, 2, "the other descriptor is charged");
    assert_eq!(code(&service, &[with_hits("model", "gpt", 10)]).await, Code::Ok);
    assert_eq!(available(&service, "model:gpt:tpm").await, 0, "the peeks took nothing");
    assert_eq!(code(&service, std::slice::from_ref(&peek)).await, Code::OverLimit);
    let answer = service.ask(&[descriptor("tenant", "acme"), peek], 1).await.expect("an answer");
    assert_eq!(answer.overall_code(), Code::OverLimit);
    assert_eq!(answer.statuses[1].code(), Code::OverLimit, "the peek denies");
    assert_eq!(available(&service, "tenant:acme:rpm").await, 2, "nothing is charged");
}

#[tokio::test]
async fn a_bucket_takes_hits_back_up_to_its_capacity() {
    let service = service().await;
    assert_eq!(code(&service, &[with_hits("bucket", "a", 7)]).await, Code::Ok);
    for (hits, expected) in [(2, 50), (1, 60), (100, 100), (1, 100)] {
        assert_eq!(code(&service, &[back("bucket", "a", hits)]).await, Code::Ok);
        assert_eq!(available(&service, "bucket:a").await, expected, "{hits} hits");
    }
    let answer = service.ask(&[back("bucket", "a", 1)], 1).await.expect("an answer");
    assert_eq!(answer.statuses[0].limit_remaining, 10);
    assert_eq!(code(&service, &[back("bucket", "never_used", 1)]).await, Code::Ok, "it is full");
    assert_eq!(code(&service, &[back("missing", "x", 1)]).await, Code::OverLimit, "there is no such limit");
    assert_eq!(code(&service, &[back("none", "x", 1)]).await, Code::Ok, "there is no rule");
}

#[tokio::test]
async fn other_kinds_take_nothing_back_and_say_so() {
    let service = service().await;
    assert_eq!(code(&service, &[with_hits("bucket", "a", 7)]).await, Code::Ok);
    for descriptors in [
        vec![back("model", "gpt", 1)],
        vec![back("tenant", "acme", 1)],
        vec![back("bucket", "a", 1), back("model", "gpt", 1)],
    ] {
        let status = service.ask(&descriptors, 1).await.expect_err("it is refused");
        assert_eq!(status.code(), GrpcCode::Unimplemented, "{status}");
        assert!(status.message().contains("only a limit of kind token_bucket"), "{status}");
    }
    let mixed = service.ask(&[back("bucket", "a", 1), descriptor("tenant", "acme")], 1).await;
    assert_eq!(mixed.expect_err("it is refused").code(), GrpcCode::InvalidArgument);
    assert_eq!(available(&service, "bucket:a").await, 30, "nothing is given back");
}

#[tokio::test]
async fn a_rule_that_forces_is_charged_whatever_is_free() {
    let service = service().await;
    for (hits, expected) in [
        (7, Usage { available: 30, reserved: 70, debt: 0 }),
        (7, Usage { available: 0, reserved: 100, debt: 40 }),
        (1, Usage { available: 0, reserved: 100, debt: 50 }),
    ] {
        assert_eq!(code(&service, &[with_hits("bytes", "gpt", hits)]).await, Code::Ok);
        assert_eq!(service.replica.usage("model:gpt:tpm").await, expected);
    }
    let denied = [with_hits("bytes", "gpt", 1), with_hits("tenant", "acme", 4)];
    assert_eq!(code(&service, &denied).await, Code::OverLimit);
    assert_eq!(service.replica.usage("model:gpt:tpm").await.debt, 50, "beside a denial it is not charged");
    let granted = [with_hits("bytes", "gpt", 1), with_hits("tenant", "acme", 3)];
    assert_eq!(code(&service, &granted).await, Code::Ok);
    assert_eq!(service.replica.usage("model:gpt:tpm").await.debt, 60);
    assert_eq!(available(&service, "tenant:acme:rpm").await, 0);
}

#[tokio::test]
async fn kuadrants_calls_follow_the_same_manners() {
    let service = service().await;
    let mut kuadrant = KuadrantClient::with_origin(service.transport(), origin());
    let request = |descriptors: &[RateLimitDescriptor]| RateLimitRequest {
        domain: "edge".to_owned(),
        descriptors: descriptors.to_vec(),
        hits_addend: 1,
    };
    let forced = [with_hits("bytes", "gpt", 11)];
    let check = kuadrant.check_rate_limit(request(&forced)).await.expect("an answer").into_inner();
    assert_eq!(check.overall_code(), Code::Ok, "it is not denied for want of room");
    let peek =
        kuadrant.report(request(&[with_hits("model", "gpt", 0)])).await.expect("an answer").into_inner();
    assert_eq!(peek.overall_code(), Code::Ok);
    assert_eq!(code(&service, &[descriptor("model", "gpt")]).await, Code::Ok);
    assert_eq!(available(&service, "model:gpt:tpm").await, 90, "neither of the others charges");
    let check = kuadrant.check_rate_limit(request(&[back("bucket", "a", 1)])).await.expect("an answer");
    assert_eq!(check.into_inner().overall_code(), Code::Ok);

    let (domain, descriptors) = ("edge".to_owned(), vec![descriptor("bytes", "gpt")]);
    let reserve =
        ReserveRequest { domain: domain.clone(), descriptors: descriptors.clone(), amount: 11, ttl: None };
    let denied = kuadrant.reserve(reserve.clone()).await.expect("an answer").into_inner();
    assert_eq!(denied.code(), Code::OverLimit, "an estimate is not forced");
    let reserved =
        kuadrant.reserve(ReserveRequest { amount: 9, ..reserve.clone() }).await.expect("an answer");
    let reservation_id = reserved.into_inner().reservation_id;
    let commit = CommitRequest { domain, descriptors, reservation_id, actual_amount: 12 };
    assert!(kuadrant.commit(commit).await.expect("an answer").into_inner().reservation_released);
    assert_eq!(service.replica.usage("model:gpt:tpm").await, Usage { available: 0, reserved: 100, debt: 30 });
    let negative = ReserveRequest { descriptors: vec![back("bucket", "a", 1)], ..reserve };
    let refused = kuadrant.reserve(negative).await.expect_err("it is refused");
    assert_eq!(refused.code(), GrpcCode::InvalidArgument);
}
