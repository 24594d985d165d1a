//! Limits as HTTP clients see them.

use super::key::REQUEST_PART_BYTES_MAX;
use crate::client::{ErrorKind, LimitError, LimitKey, Requirements, RequirementsError};
use crate::limit::{Definition, Kind};

/// The largest integer of a structured field (RFC 9651).
const FIELD_INTEGER_MAX: u128 = 999_999_999_999_999;

/// A limit of HTTP requests, of which each request takes one unit.
///
/// It is a template with one placeholder, at the end of its key: each request key fills it, and has a limit of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HttpLimit {
    /// The name that clients see.
    name: String,
    key_prefix: String,
    quota: u64,
    kind: Kind,
}

/// Why a layer cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// A limit is not valid.
    #[error("the limit is not valid")]
    Limit(#[from] LimitError),
    /// The name does not fit into a structured field.
    #[error("the name {0:?} must be of 1 to 64 printable ASCII characters")]
    Name(String),
    /// The key of a limit is not the same for all requests but for its end.
    #[error("the key {0:?} must end in a placeholder, and have no other: http:ip:{{ip}}")]
    Key(LimitKey),
    /// The key of a limit leaves too little room for the key of a request.
    #[error("the key {0:?} must be shorter, to leave room for the key of a request")]
    KeyLength(LimitKey),
    /// The limits cannot be reserved together.
    #[error("the limits cannot be reserved together")]
    Requirements(#[from] RequirementsError),
}

impl LayerError {
    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidRequest
    }
}

impl HttpLimit {
    /// The limits that a definition makes. Clients see it as `name`, by default the part of its key before the placeholder.
    pub(super) fn of(definition: &Definition, name: Option<&str>) -> Result<Self, LayerError> {
        let key = &definition.key;
        let ends_in_placeholder = |key: &str| key.ends_with('}') && key.matches('{').count() == 1;
        let prefix = key.as_str().split('{').next().unwrap_or_default();
        if !ends_in_placeholder(key.as_str()) || prefix.is_empty() {
            return Err(LayerError::Key(key.clone()));
        }
        // The longest key that a request can have.
        if LimitKey::parse(&format!("{prefix}{}", "x".repeat(REQUEST_PART_BYTES_MAX))).is_err() {
            return Err(LayerError::KeyLength(key.clone()));
        }
        let name = name.unwrap_or_else(|| prefix.trim_end_matches(':'));
        let is_printable = |c: char| c == ' ' || c.is_ascii_graphic();
        if !(1..=64).contains(&name.len()) || !name.chars().all(is_printable) {
            return Err(LayerError::Name(name.to_owned()));
        }
        let (name, key_prefix) = (name.to_owned(), prefix.to_owned());
        Ok(Self { name, key_prefix, quota: definition.capacity.get(), kind: definition.kind })
    }

    /// The limit of requests with this key.
    pub(super) fn key(&self, request_key: &str) -> String {
        format!("{}{request_key}", self.key_prefix)
    }

    /// The name that clients see.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// An item of `RateLimit-Policy`.
    pub(super) fn policy(&self) -> String {
        let (name, quota) = (quoted(&self.name), integer(self.quota.into()));
        let window = |seconds: u64| format!("{name};q={quota};w={seconds}");
        match self.kind {
            Kind::Rolling(rolling) => window(rolling.window_seconds().into()),
            Kind::FixedWindow(fixed) => window(fixed.window_ms().div_ceil(1_000)),
            Kind::Calendar(calendar) => window(calendar.longest_seconds()),
            Kind::SlidingWindow(sliding) => window(sliding.window_ms().div_ceil(1_000)),
            // An empty bucket is full again after this time.
            Kind::TokenBucket(bucket) => window(bucket.full_after_ms(self.quota).div_ceil(1_000)),
            Kind::Concurrency(_) => format!("{name};q={quota};qu=\"concurrent-requests\""),
        }
    }

    /// An item of `RateLimit`: the remaining units and, if none are left, the seconds until there may be some.
    pub(super) fn state(&self, remaining: u128, retry_after_seconds: Option<u64>) -> String {
        let (name, remaining) = (quoted(&self.name), integer(remaining));
        match retry_after_seconds {
            Some(seconds) => format!("{name};r={remaining};t={seconds}"),
            None => format!("{name};r={remaining}"),
        }
    }
}

/// The requirements of a request with this key.
pub(super) fn requirements(
    limits: &[HttpLimit],
    request_key: &str,
) -> Result<Requirements, RequirementsError> {
    Requirements::new(limits.iter().map(|limit| (limit.key(request_key), 1)))
}

/// A string of a structured field.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

fn integer(number: u128) -> u128 {
    number.min(FIELD_INTEGER_MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::{Limit, Rate};

    const MINUTE: Duration = Duration::from_secs(60);

    fn limit(name: Option<&str>, limit: Limit) -> Result<HttpLimit, LayerError> {
        HttpLimit::of(&limit.define()?, name)
    }

    fn policy(name: &str, defined: Limit) -> String {
        limit(Some(name), defined).expect("valid").policy()
    }

    #[test]
    fn limits_are_written_as_structured_fields() {
        let rolling = |capacity| Limit::rolling("http:ip:{ip}", capacity).per(MINUTE);
        assert_eq!(policy("per \"minute\" \\o/", rolling(100)), r#""per \"minute\" \\o/";q=100;w=60"#);
        let slots = Limit::concurrency("http:slots:{ip}", 10).timeout(MINUTE);
        assert_eq!(policy("slots", slots), r#""slots";q=10;qu="concurrent-requests""#);
        let big = 1 << 60;
        assert_eq!(policy("big", rolling(big)), r#""big";q=999999999999999;w=60"#);
        assert_eq!(policy("rate", Rate::per_second(2).burst(5).limit("http:ip:{ip}")), r#""rate";q=5;w=3"#);
        let per_minute = limit(Some("m"), rolling(9)).expect("valid");
        assert_eq!(per_minute.state(5, None), r#""m";r=5"#);
        assert_eq!(per_minute.state(0, Some(30)), r#""m";r=0;t=30"#);
    }

    #[test]
    fn the_name_is_the_beginning_of_the_key_unless_it_is_set() {
        let unnamed = limit(None, Rate::per_second(1).limit("http:ip:{ip}")).expect("valid");
        assert_eq!((unnamed.name(), unnamed.key("a").as_str()), ("http:ip", "http:ip:a"));
    }

    #[test]
    fn bad_names_and_keys_are_refused() {
        let rate = Rate::per_second(1);
        let long = "n".repeat(65);
        for name in ["", "Grüße", "a\nb", &long] {
            assert_eq!(limit(Some(name), rate.limit("a:{b}")), Err(LayerError::Name(name.to_owned())));
        }
        for key in ["http:ip", "http:{ip}:rate", "{user}:{ip}", "{ip}"] {
            let key = LimitKey::parse_name(key).expect("valid");
            assert_eq!(limit(None, rate.limit(key.as_str())), Err(LayerError::Key(key)));
        }
        let long = format!("{}:{{ip}}", "p".repeat(128));
        assert!(matches!(limit(None, rate.limit(long.as_str())), Err(LayerError::KeyLength(_))));
        let fits = format!("{}:{{ip}}", "p".repeat(127));
        assert!(limit(Some("m"), rate.limit(fits.as_str())).is_ok());
        assert!(matches!(limit(None, rate.burst(u64::MAX).limit("a:{b}")), Err(LayerError::Limit(_))));
    }
}
