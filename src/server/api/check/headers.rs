//! The headers in which the answer to a check tells what is left of its limit.

use std::time::{Duration, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::limit::LimitKey;
use crate::limiter::Left;
use crate::server::config::HeaderForm;

/// The largest integer of a structured field (RFC 9651).
const FIELD_INTEGER_MAX: u128 = 999_999_999_999_999;

/// What the headers tell.
pub(super) struct Told<'a> {
    pub(super) key: &'a LimitKey,
    pub(super) left: Left,
    /// The hint of a denial, in seconds. `RateLimit` must not name an earlier time than `Retry-After`.
    pub(super) retry_after_seconds: Option<u64>,
    /// The ledger's time, in milliseconds since the Unix epoch.
    pub(super) now_ms: u64,
}

impl Told<'_> {
    /// The headers of these forms.
    pub(super) fn add_to(&self, headers: &mut HeaderMap, forms: &[HeaderForm]) {
        for form in forms {
            match form {
                HeaderForm::Ietf => self.add_ietf(headers),
                HeaderForm::OpenAi => self.add_openai(headers),
                HeaderForm::Anthropic => self.add_anthropic(headers),
            }
        }
    }

    /// The key stands for the policy: its characters need no escapes in a string of a structured field.
    fn add_ietf(&self, headers: &mut HeaderMap) {
        let (key, left) = (self.key, &self.left);
        let mut policy = format!("\"{key}\";q={}", field_integer(left.capacity.into()));
        if let Some(period_ms) = left.period_ms() {
            policy.push_str(&format!(";w={}", field_integer(period_ms.div_ceil(1_000).max(1).into())));
        }
        let mut limit = format!("\"{key}\";r={}", field_integer(left.available));
        let effective = self.retry_after_seconds.or(left.more_after_ms.map(|ms| ms.div_ceil(1_000)));
        if let Some(seconds) = effective {
            limit.push_str(&format!(";t={}", field_integer(seconds.into())));
        }
        insert(headers, "ratelimit-policy", policy);
        insert(headers, "ratelimit", limit);
    }

    /// OpenAI's reset is the time until the limit is at its initial state, in the form of Go's durations.
    fn add_openai(&self, headers: &mut HeaderMap) {
        let unit = self.unit();
        insert(headers, &format!("x-ratelimit-limit-{unit}"), self.left.capacity.to_string());
        insert(headers, &format!("x-ratelimit-remaining-{unit}"), self.left.available.to_string());
        if let Some(ms) = self.left.full_after_ms() {
            insert(headers, &format!("x-ratelimit-reset-{unit}"), go_duration(ms));
        }
    }

    /// Anthropic's reset is the moment at which the limit is full again, in the form of RFC 3339.
    fn add_anthropic(&self, headers: &mut HeaderMap) {
        let unit = self.unit();
        let name = |what: &str| format!("anthropic-ratelimit-{unit}-{what}");
        insert(headers, &name("limit"), self.left.capacity.to_string());
        insert(headers, &name("remaining"), self.left.available.to_string());
        if let Some(ms) = self.left.full_after_ms() {
            let seconds = self.now_ms.saturating_add(ms).div_ceil(1_000);
            let at = UNIX_EPOCH + Duration::from_secs(seconds);
            insert(headers, &name("reset"), humantime::format_rfc3339_seconds(at).to_string());
        }
    }

    fn unit(&self) -> &'static str {
        if self.left.counts_tokens { "tokens" } else { "requests" }
    }
}

fn field_integer(number: u128) -> u128 {
    number.min(FIELD_INTEGER_MAX)
}

/// Names and values are ASCII: of fixed names, of numbers, and of a key, which has no other characters.
fn insert(headers: &mut HeaderMap, name: &str, value: String) {
    match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        (Ok(name), Ok(value)) => {
            headers.insert(name, value);
        }
        (Err(_), _) | (_, Err(_)) => tracing::error!(name, "a header about a limit could not be written"),
    }
}

/// A duration as Go writes it: `120ms`, `1.5s`, `6m0s`, `1h0m0s`.
fn go_duration(ms: u64) -> String {
    let (seconds, rest_ms) = (ms / 1_000, ms % 1_000);
    if seconds == 0 && rest_ms > 0 {
        return format!("{rest_ms}ms");
    }
    let fraction = match rest_ms {
        0 => String::new(),
        rest_ms => format!(".{rest_ms:03}").trim_end_matches('0').to_owned(),
    };
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}{fraction}s"),
        (0, minutes) => format!("{minutes}m{seconds}{fraction}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Kind, KindFields, KindName};

    #[test]
    fn a_duration_is_written_as_go_writes_it() {
        for (ms, expected) in [
            (0, "0s"),
            (120, "120ms"),
            (1_000, "1s"),
            (8_640, "8.64s"),
            (60_000, "1m0s"),
            (360_001, "6m0.001s"),
            (3_600_000, "1h0m0s"),
            (90_061_500, "25h1m1.5s"),
        ] {
            assert_eq!(go_duration(ms), expected);
        }
    }

    fn told(kind: KindName, fields: KindFields, change: impl Fn(&mut Told<'_>)) -> Vec<String> {
        let key = LimitKey::parse("tenant:a%20b:tpm").expect("valid");
        let kind = Kind::from_fields(kind, &fields).expect("valid");
        let left = Left { capacity: 60, available: 45, kind, more_after_ms: Some(900), counts_tokens: false };
        // 2026-01-01T00:00:00Z.
        let mut told = Told { key: &key, left, retry_after_seconds: None, now_ms: 1_767_225_600_000 };
        change(&mut told);
        let mut headers = HeaderMap::new();
        told.add_to(&mut headers, &[HeaderForm::Ietf, HeaderForm::OpenAi, HeaderForm::Anthropic]);
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().expect("ASCII"))
        };
        let mut lines: Vec<String> = headers.iter().map(line).collect();
        lines.sort();
        lines
    }

    #[test]
    fn each_convention_has_its_own_names_and_its_own_reset() {
        let fields = KindFields { refill_amount: 1, refill_interval_ms: 1_000, ..KindFields::default() };
        let lines = told(KindName::TokenBucket, fields, |told| told.left.counts_tokens = true);
        assert_eq!(
            lines,
            [
                "anthropic-ratelimit-tokens-limit: 60",
                "anthropic-ratelimit-tokens-remaining: 45",
                "anthropic-ratelimit-tokens-reset: 2026-01-01T00:00:15Z",
                "ratelimit-policy: \"tenant:a%20b:tpm\";q=60;w=60",
                "ratelimit: \"tenant:a%20b:tpm\";r=45;t=1",
                "x-ratelimit-limit-tokens: 60",
                "x-ratelimit-remaining-tokens: 45",
                "x-ratelimit-reset-tokens: 15s",
            ]
        );
    }

    #[test]
    fn a_denial_names_no_earlier_time_than_its_hint() {
        let fields = KindFields { window_seconds: 60, ..KindFields::default() };
        let lines = told(KindName::Rolling, fields, |told| told.retry_after_seconds = Some(7));
        assert!(lines.contains(&"ratelimit: \"tenant:a%20b:tpm\";r=45;t=7".to_owned()), "{lines:?}");
    }

    #[test]
    fn what_time_does_not_bring_back_has_no_window_and_no_reset() {
        let by_hand = KindFields {
            refill_amount: 1,
            refill_interval_ms: 1_000,
            auto_replenish: Some(false),
            ..KindFields::default()
        };
        let lines = told(KindName::TokenBucket, by_hand, |told| {
            told.left.more_after_ms = None;
            told.left.capacity = u64::MAX;
        });
        assert!(!lines.iter().any(|line| line.contains("reset")), "{lines:?}");
        let limits = ["q=999999999999999", "r=45"];
        let ietf = lines.iter().filter(|line| line.starts_with("ratelimit"));
        assert!(ietf.zip(limits).all(|(line, end)| line.ends_with(end)), "{lines:?}");
    }
}
