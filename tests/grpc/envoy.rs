//! `ShouldRateLimit`.

use ledger_limiter::server::grpc::proto::envoy::config::core::v3::HeaderValue;
use ledger_limiter::server::grpc::proto::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use ledger_limiter::server::grpc::proto::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus,
};
use tonic::Code as GrpcCode;

use super::*;

/// Code, capacity, unit and rest of a status.
fn brief(status: &DescriptorStatus) -> (Code, u32, Unit, u32) {
    let limit = status.current_limit.clone().unwrap_or_default();
    (status.code(), limit.requests_per_unit, limit.unit(), status.limit_remaining)
}

fn seconds_until_reset(status: &DescriptorStatus) -> i64 {
    status.duration_until_reset.as_ref().expect("a duration").seconds
}

#[tokio::test]
async fn requests_pass_until_the_limit_has_no_room() {
    let service = Service::new().await;
    for left in [2, 1, 0] {
        let answer = service.ask(&[descriptor("tenant", "acme")], 0).await.expect("an answer");
        assert_eq!(answer.overall_code(), Code::Ok);
        assert_eq!(brief(&answer.statuses[0]), (Code::Ok, 3, Unit::Minute, left));
        assert_eq!(seconds_until_reset(&answer.statuses[0]), 60);
        assert_eq!((answer.response_headers_to_add, answer.dynamic_metadata), (Vec::new(), None));
    }
    let answer = service.ask(&[descriptor("tenant", "acme")], 0).await.expect("an answer");
    assert_eq!(answer.overall_code(), Code::OverLimit);
    assert_eq!(brief(&answer.statuses[0]), (Code::OverLimit, 3, Unit::Minute, 0));
    let name = answer.statuses[0].current_limit.as_ref().map(|limit| limit.name.as_str());
    assert_eq!(name, Some("tenant:acme:rpm"));
    let other = service.ask(&[descriptor("tenant", "other")], 0).await.expect("an answer");
    assert_eq!(other.overall_code(), Code::Ok, "each tenant has a limit of its own");
    service.backend.pass(Duration::from_secs(60)).await;
    let answer = service.ask(&[descriptor("tenant", "acme")], 0).await.expect("an answer");
    assert_eq!(answer.overall_code(), Code::Ok);
}

#[tokio::test]
async fn several_descriptors_are_charged_together_or_not_at_all() {
    let service = Service::new().await;
    let both = [descriptor("tenant", "acme"), descriptor("none", "x"), descriptor("model", "gpt")];
    let answer = service.ask(&both, 2).await.expect("an answer");
    let expected = [
        (Code::Ok, 3, Unit::Minute, 1),
        (Code::Ok, 0, Unit::Unknown, 0),
        // A hit costs 10 of the 100 tokens.
        (Code::Ok, 10, Unit::Hour, 8),
    ];
    assert_eq!(answer.statuses.iter().map(brief).collect::<Vec<_>>(), expected);
    let answer = service.ask(&both, 2).await.expect("an answer");
    assert_eq!(answer.overall_code(), Code::OverLimit);
    let expected = [
        (Code::OverLimit, 3, Unit::Minute, 1),
        (Code::Ok, 0, Unit::Unknown, 0),
        (Code::Ok, 10, Unit::Hour, 8),
    ];
    assert_eq!(answer.statuses.iter().map(brief).collect::<Vec<_>>(), expected);
    let usage = service.replica.usage("model:gpt:tpm").await;
    assert_eq!(usage, Usage { available: 80, reserved: 20, debt: 0 });
}

#[tokio::test]
async fn a_descriptor_may_have_hits_of_its_own() {
    let service = Service::new().await;
    let own = RateLimitDescriptor { hits_addend: Some(3), ..descriptor("model", "gpt") };
    let answer = service.ask(&[descriptor("tenant", "acme"), own], 1).await.expect("an answer");
    assert_eq!(answer.statuses.iter().map(|status| status.limit_remaining).collect::<Vec<_>>(), [2, 7]);
    let status = service.ask(&[], 1).await.expect_err("it is refused");
    assert_eq!(status.code(), GrpcCode::InvalidArgument, "{status}");
    assert_eq!(service.replica.usage("model:gpt:tpm").await.reserved, 30, "nothing else was charged");
}

#[tokio::test]
async fn a_denial_tells_the_limit_and_the_wait() {
    let service = Service::new().await;
    let answer = service.ask(&[descriptor("model", "gpt")], 10).await.expect("an answer");
    assert_eq!(answer.overall_code(), Code::Ok);
    let answer = service.ask(&[descriptor("model", "gpt")], 1).await.expect("an answer");
    let fields = answer.dynamic_metadata.as_ref().expect("metadata").fields.clone();
    let key = fields["limiting_key"].kind.clone();
    assert_eq!(key, Some(prost_types::value::Kind::StringValue("model:gpt:tpm".to_owned())));
    let Some(prost_types::value::Kind::NumberValue(wait_ms)) = fields["retry_after_ms"].kind else {
        panic!("no number: {fields:?}");
    };
    let source = fields["retry_after_source"].kind.clone();
    assert_eq!(source, Some(prost_types::value::Kind::StringValue("estimate".to_owned())));
    assert!((1.0..=3_600_100.0).contains(&wait_ms), "the window is an hour: {wait_ms}");
    let seconds = (wait_ms / 1_000.0).ceil().to_string();
    let header = HeaderValue { key: "retry-after".to_owned(), value: seconds };
    assert_eq!(answer.response_headers_to_add, [header]);
    assert_eq!(seconds_until_reset(&answer.statuses[0]), (wait_ms / 1_000.0) as i64);
}

#[tokio::test]
async fn clients_cannot_choose_a_value_that_lets_them_pass() {
    let service = Service::new().await;
    let long = "x".repeat(300);
    for value in ["", &long] {
        let answer = service.ask(&[descriptor("tenant", value)], 1).await.expect("an answer");
        assert_eq!(answer.overall_code(), Code::OverLimit, "{value:?}");
    }
    let answer = service.ask(&[descriptor("missing", "x")], 1).await.expect("an answer");
    assert_eq!(answer.overall_code(), Code::OverLimit, "the rule names a limit that is not defined");
    let answer = service.ask(&[descriptor("tenant", "acme")], u32::MAX).await.expect("an answer");
    assert_eq!(answer.overall_code(), Code::OverLimit, "more than the capacity");
}

#[tokio::test]
async fn a_rule_that_does_not_enforce_counts_and_never_denies() {
    let service = Service::new().await;
    let both = [descriptor("shadow", "x"), descriptor("tenant", "acme")];
    for left in [2, 1, 0] {
        let answer = service.ask(&both, 1).await.expect("an answer");
        assert_eq!(answer.overall_code(), Code::Ok);
        assert_eq!(brief(&answer.statuses[1]), (Code::Ok, 3, Unit::Minute, left));
        assert_eq!(brief(&answer.statuses[0]), (Code::Ok, 1, Unit::Day, 0));
    }
    let answer = service.ask(&both, 1).await.expect("an answer");
    assert_eq!(answer.overall_code(), Code::OverLimit);
    assert_eq!(answer.statuses[0].code(), Code::Ok);
}

#[tokio::test]
async fn a_limit_in_shadow_mode_is_charged_and_never_denies() {
    let service = Service::new().await;
    let definition = rolling("tenant:acme:rpm", 1, 60);
    service.replica.put(ledger_limiter::limit::Definition { enforce: false, ..definition }).await;
    for _ in 0..3 {
        let answer = service.ask(&[descriptor("tenant", "acme")], 0).await.expect("an answer");
        assert_eq!((answer.overall_code(), brief(&answer.statuses[0]).0), (Code::Ok, Code::Ok));
    }
    assert_eq!(service.replica.usage("tenant:acme:rpm").await, Usage { available: 0, reserved: 1, debt: 2 });
    let line = "ratelimiterd_gateway_descriptors_total{outcome=\"would_deny\"}";
    assert_eq!(service.metrics(line), [format!("{line} 2")]);
}

#[tokio::test]
async fn descriptors_are_counted_by_their_outcome() {
    let service = Service::new().await;
    let asked = ["tenant", "none", "shadow", "shadow", "missing"];
    for key in asked {
        service.ask(&[descriptor(key, "x")], 1).await.expect("an answer");
    }
    service.ask(&[descriptor("tenant", "x")], 3).await.expect("an answer");
    service.ask(&[descriptor("tenant", "")], 3).await.expect("an answer");
    let mut lines = service.metrics("ratelimiterd_gateway_descriptors_total");
    lines.sort();
    let expected =
        [("no_key", 1), ("no_limit", 1), ("no_rule", 1), ("ok", 2), ("over_limit", 1), ("would_deny", 1)];
    let line =
        |(outcome, count)| format!("ratelimiterd_gateway_descriptors_total{{outcome=\"{outcome}\"}} {count}");
    assert_eq!(lines, expected.map(line));
    let route = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
    let count = format!("ratelimiterd_request_seconds_count{{route=\"{route}\"}}");
    assert_eq!(service.metrics(&count), [format!("{count} 7")]);
}
