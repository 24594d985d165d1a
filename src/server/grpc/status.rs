//! The statuses of an answer: for each descriptor whether it may pass, and what is left of its limit.

use std::time::Duration;

use super::charge::{Charged, Denial};
use super::counts::Outcome;
use super::plan::{Item, Plan};
use super::proto::envoy::config::core::v3::HeaderValue;
use super::proto::envoy::service::ratelimit::v3::RateLimitResponse;
use super::proto::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use super::proto::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus, RateLimit};
use crate::limit::{Kind, LimitKey, Period};
use crate::limiter::Left;

/// The answer of a plan. `left` tells what is left of its limits, in the order of its charges; it may be empty.
pub(super) fn answer(
    plan: &Plan,
    charged: &Charged,
    left: &[Option<Left>],
    retry_after_header: bool,
) -> RateLimitResponse {
    let statuses = plan.items.iter().map(|item| status(item, plan, charged, left));
    let is_denied = plan.is_denied() || charged.denial.is_some();
    let mut answer = RateLimitResponse {
        overall_code: code(is_denied).into(),
        statuses: statuses.collect(),
        ..RateLimitResponse::default()
    };
    if let Some(denial) = &charged.denial {
        answer.dynamic_metadata = Some(metadata(denial));
        if retry_after_header && denial.retry_after_ms > 0 {
            let seconds = denial.retry_after_ms.div_ceil(1_000).to_string();
            answer.response_headers_to_add =
                vec![HeaderValue { key: "retry-after".to_owned(), value: seconds }];
        }
    }
    answer
}

pub(super) fn code(is_denied: bool) -> Code {
    if is_denied { Code::OverLimit } else { Code::Ok }
}

fn status(item: &Item, plan: &Plan, charged: &Charged, left: &[Option<Left>]) -> DescriptorStatus {
    let (key, factor) = match item {
        Item::NoRule => return DescriptorStatus { code: Code::Ok.into(), ..DescriptorStatus::default() },
        Item::NoKey { enforce } => {
            return DescriptorStatus { code: code(*enforce).into(), ..DescriptorStatus::default() };
        }
        Item::Limit { key, factor } => (key, *factor),
    };
    let outcome = charged.outcome(item);
    let is_denied = matches!(outcome, Outcome::OverLimit | Outcome::NoLimit);
    let mut status = DescriptorStatus { code: code(is_denied).into(), ..DescriptorStatus::default() };
    let index = plan.charges.iter().position(|charge| charge.requirement.key == *key);
    if let Some(Some(left)) = index.and_then(|index| left.get(index)) {
        status.current_limit = Some(current_limit(key, left, factor));
        status.limit_remaining = narrow(left.available / u128::from(factor));
        status.duration_until_reset = left.more_after_ms.map(duration);
    }
    let hint = charged.denial.as_ref().filter(|denial| is_denied && denial.retry_after_ms > 0);
    if let Some(denial) = hint {
        status.duration_until_reset = Some(duration(denial.retry_after_ms));
    }
    status
}

/// The limit in hits, of which each costs `factor` units.
fn current_limit(key: &LimitKey, left: &Left, factor: u64) -> RateLimit {
    RateLimit {
        requests_per_unit: narrow((left.capacity / factor).into()),
        unit: unit(left).into(),
        name: key.as_str().to_owned(),
    }
}

/// The unit in which the whole capacity becomes available again, if it is one.
fn unit(left: &Left) -> Unit {
    if let Kind::Calendar(window) = left.kind {
        return match window.period() {
            Period::Day => Unit::Day,
            Period::Week => Unit::Week,
            Period::Month => Unit::Month,
            Period::Year => Unit::Year,
            Period::Quarter => Unit::Unknown,
        };
    }
    match left.period_ms() {
        Some(1_000) => Unit::Second,
        Some(60_000) => Unit::Minute,
        Some(3_600_000) => Unit::Hour,
        Some(86_400_000) => Unit::Day,
        Some(604_800_000) => Unit::Week,
        Some(_) | None => Unit::Unknown,
    }
}

/// Why a request is denied, for the other filters of a gateway and for its log.
fn metadata(denial: &Denial) -> prost_types::Struct {
    use prost_types::value::Kind::{NumberValue, StringValue};
    let value = |kind| prost_types::Value { kind: Some(kind) };
    let text = |text: &str| value(StringValue(text.to_owned()));
    let fields = [
        ("limiting_key".to_owned(), text(denial.key.as_str())),
        ("retry_after_ms".to_owned(), value(NumberValue(denial.retry_after_ms as f64))),
        ("retry_after_source".to_owned(), text(denial.retry_after_source.name())),
    ];
    prost_types::Struct { fields: fields.into() }
}

/// Envoy writes the seconds into 32 bits.
fn duration(ms: u64) -> prost_types::Duration {
    let longest = Duration::from_secs(u32::MAX.into());
    let duration = Duration::from_millis(ms).min(longest);
    prost_types::Duration { seconds: duration.as_secs() as i64, nanos: duration.subsec_nanos() as i32 }
}

fn narrow(number: u128) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Kind, KindFields, KindName};

    #[test]
    fn the_unit_is_the_time_in_which_the_capacity_becomes_available_again() {
        let window = |window_seconds| KindFields { window_seconds, ..KindFields::default() };
        let bucket = |refill_amount, refill_interval_ms, auto_replenish| KindFields {
            refill_amount,
            refill_interval_ms,
            auto_replenish: Some(auto_replenish),
            ..KindFields::default()
        };
        let slots = KindFields { timeout_seconds: 60, ..KindFields::default() };
        for (name, fields, expected) in [
            (KindName::Rolling, window(1), Unit::Second),
            (KindName::Rolling, window(60), Unit::Minute),
            (KindName::Rolling, window(61), Unit::Unknown),
            (KindName::FixedWindow, window(3_600), Unit::Hour),
            (KindName::FixedWindow, window(7 * 86_400), Unit::Week),
            (KindName::SlidingWindow, KindFields { segments: 24, ..window(86_400) }, Unit::Day),
            // 60 tokens, one in each second.
            (KindName::TokenBucket, bucket(1, 1_000, true), Unit::Minute),
            (KindName::TokenBucket, bucket(60, 1_000, true), Unit::Second),
            (KindName::TokenBucket, bucket(1, 999, true), Unit::Unknown),
            (KindName::TokenBucket, bucket(1, 1_000, false), Unit::Unknown),
            (KindName::Concurrency, slots, Unit::Unknown),
        ] {
            let kind = Kind::from_fields(name, &fields).expect("a kind");
            let left = Left { capacity: 60, available: 60, kind, more_after_ms: None, counts_tokens: false };
            assert_eq!(unit(&left), expected, "{kind:?}");
        }
    }

    #[test]
    fn numbers_fit_the_32_bits_of_envoy() {
        assert_eq!(duration(u64::MAX).seconds, i64::from(u32::MAX));
        assert_eq!(duration(1_500), prost_types::Duration { seconds: 1, nanos: 500_000_000 });
        assert_eq!([narrow(7), narrow(u128::from(u32::MAX) + 1)], [7, u32::MAX]);
    }
}
