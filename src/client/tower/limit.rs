//! Limits as HTTP clients see them.

use super::key::REQUEST_PART_BYTES_MAX;
use crate::client::{ErrorKind, LimitKey, Requirements, RequirementsError};
use crate::limit::Kind;

/// The largest integer of a structured field (RFC 9651).
const FIELD_INTEGER_MAX: u128 = 999_999_999_999_999;

/// A limit of HTTP requests, of which each request takes one unit.
///
/// Each request key has a limit of its own. Its key is the prefix followed by the request key, spelled as one segment
/// ([`escape_segment`](crate::client::escape_segment)). Define these limits, for example by a template: for the prefix
/// `http:ip:` by `http:ip:{ip}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpLimit {
    /// The name that clients see.
    name: String,
    key_prefix: String,
    quota: u64,
    kind: Kind,
}

/// Why a limit of HTTP requests is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpLimitError {
    /// The name does not fit into a structured field.
    #[error("the name {0:?} must be of 1 to 64 printable ASCII characters")]
    Name(String),
    /// The prefix does not begin a limit key, or is too long.
    #[error("the key prefix {0:?} must begin a limit key, and leave room for the key of a request")]
    KeyPrefix(String),
}

impl HttpLimitError {
    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidRequest
    }
}

impl HttpLimit {
    /// A limit that clients see as `name`, with keys that begin with `key_prefix`. Clients are told `quota` and
    /// `kind`, which should be those of the definitions.
    pub fn new(name: &str, key_prefix: &str, quota: u64, kind: Kind) -> Result<Self, HttpLimitError> {
        let is_printable = |c: char| c == ' ' || c.is_ascii_graphic();
        if !(1..=64).contains(&name.len()) || !name.chars().all(is_printable) {
            return Err(HttpLimitError::Name(name.to_owned()));
        }
        // The longest key that a request can have.
        let longest = format!("{key_prefix}{}", "x".repeat(REQUEST_PART_BYTES_MAX));
        if key_prefix.is_empty() || LimitKey::parse(&longest).is_err() {
            return Err(HttpLimitError::KeyPrefix(key_prefix.to_owned()));
        }
        Ok(Self { name: name.to_owned(), key_prefix: key_prefix.to_owned(), quota, kind })
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
            Kind::FixedWindow(fixed) => window(fixed.window_seconds().into()),
            Kind::SlidingWindow(sliding) => window(sliding.window_seconds().into()),
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
    use super::*;
    use crate::limit::KindName;

    fn limit(name: &str, quota: u64, kind: KindName) -> HttpLimit {
        let (window_seconds, timeout_seconds) = match kind {
            KindName::Concurrency => (0, 300),
            KindName::Rolling | KindName::TokenBucket | KindName::FixedWindow | KindName::SlidingWindow => {
                (60, 0)
            }
        };
        let kind = Kind::new(kind, window_seconds, timeout_seconds).expect("valid");
        HttpLimit::new(name, "http:ip:", quota, kind).expect("valid")
    }

    #[test]
    fn limits_are_written_as_structured_fields() {
        let per_minute = limit("per \"minute\" \\o/", 100, KindName::Rolling);
        assert_eq!(per_minute.policy(), r#""per \"minute\" \\o/";q=100;w=60"#);
        assert_eq!(
            limit("slots", 10, KindName::Concurrency).policy(),
            r#""slots";q=10;qu="concurrent-requests""#
        );
        assert_eq!(limit("big", u64::MAX, KindName::Rolling).policy(), r#""big";q=999999999999999;w=60"#);
        assert_eq!(limit("m", 9, KindName::Rolling).state(5, None), r#""m";r=5"#);
        assert_eq!(limit("m", 9, KindName::Rolling).state(0, Some(30)), r#""m";r=0;t=30"#);
    }

    #[test]
    fn bad_names_and_prefixes_are_refused() {
        let kind = Kind::new(KindName::Rolling, 60, 0).expect("valid");
        let long = "n".repeat(65);
        for name in ["", "Grüße", "a\nb", &long] {
            let error = HttpLimit::new(name, "http:", 1, kind);
            assert_eq!(error, Err(HttpLimitError::Name(name.to_owned())));
        }
        let long = "p".repeat(129);
        for prefix in ["", ":http:", "a b", &long] {
            let error = HttpLimit::new("m", prefix, 1, kind);
            assert_eq!(error, Err(HttpLimitError::KeyPrefix(prefix.to_owned())));
        }
        assert!(HttpLimit::new("m", &"p".repeat(128), 1, kind).is_ok());
    }
}
