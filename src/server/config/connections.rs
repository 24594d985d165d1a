//! `connections.*`: the bounds on what clients can hold.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::check::{at_least_1, bad};

/// The most headers that are read of a request.
const HEADERS_MAX: usize = 100;
/// The shortest bound on heads. A token and a few headers must fit.
const HEADER_BYTES_MIN: usize = 1_024;
/// The longest bound on heads.
const HEADER_BYTES_MAX: usize = 256 * 1_024;
/// The longest time-out. A client that needs an hour is gone.
const TIMEOUT_MS_MAX: u64 = 3_600_000;
/// The longest age of a connection: a year.
const MAX_AGE_SECONDS_MAX: u64 = 31_536_000;

/// `connections.*`: the bounds on what clients can hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionsSettings {
    /// The most open connections. The limit on open files lowers it.
    pub max: usize,
    /// The most open connections of one peer address.
    pub max_per_peer: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout_ms: u64,
    /// How long the head of a request may take, from its first byte.
    pub head_timeout_ms: u64,
    /// How long the body of a request may take.
    pub body_timeout_ms: u64,
    /// How long a connection without a request stays open.
    pub idle_timeout_ms: u64,
    /// How long a connection may be open, in seconds; 0 for any time.
    pub max_age_seconds: u64,
    /// How long a client may take to read an answer.
    pub write_timeout_ms: u64,
    /// The longest head of a request, in bytes.
    pub header_bytes_max: usize,
    /// The most headers of a request.
    pub headers_max: usize,
    /// The most bytes of unfinished bodies, of all connections together.
    pub body_bytes_max: usize,
    /// The most bytes of unread answers, of all connections together.
    pub answer_bytes_max: usize,
    /// The most requests of one HTTP/2 connection at a time.
    pub http2_streams_max: u32,
    /// The most requests that one HTTP/2 connection may cancel within a second.
    pub http2_resets_max: u32,
}

impl Default for ConnectionsSettings {
    fn default() -> Self {
        Self {
            max: 8_192,
            max_per_peer: 2_048,
            handshake_timeout_ms: 10_000,
            head_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 60_000,
            max_age_seconds: 0,
            write_timeout_ms: 30_000,
            header_bytes_max: 16 * 1_024,
            headers_max: HEADERS_MAX,
            body_bytes_max: 64 * 1_024 * 1_024,
            answer_bytes_max: 64 * 1_024 * 1_024,
            http2_streams_max: 100,
            http2_resets_max: 100,
        }
    }
}

impl ConnectionsSettings {
    /// The shortest of the time-outs that a check of all connections enforces.
    pub(crate) fn shortest_timeout(&self) -> Duration {
        let timeouts =
            [self.handshake_timeout_ms, self.head_timeout_ms, self.idle_timeout_ms, self.write_timeout_ms];
        Duration::from_millis(timeouts.into_iter().min().unwrap_or(TIMEOUT_MS_MAX))
    }

    pub(crate) fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.handshake_timeout_ms)
    }

    pub(crate) fn head_timeout(&self) -> Duration {
        Duration::from_millis(self.head_timeout_ms)
    }

    pub(crate) fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    /// `None` if connections may be open for any time.
    pub(crate) fn max_age(&self) -> Option<Duration> {
        (self.max_age_seconds > 0).then(|| Duration::from_secs(self.max_age_seconds))
    }

    pub(crate) fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let between = |name: &str, number: u64, min: u64, max: u64| {
            if (min..=max).contains(&number) {
                return Ok(());
            }
            Err(bad(
                &format!("connections.{name}"),
                &format!("must be between {min} and {max}, not {number}"),
            ))
        };
        at_least_1("connections.max", self.max as u64)?;
        at_least_1("connections.max_per_peer", self.max_per_peer as u64)?;
        between("handshake_timeout_ms", self.handshake_timeout_ms, 1, TIMEOUT_MS_MAX)?;
        between("head_timeout_ms", self.head_timeout_ms, 1, TIMEOUT_MS_MAX)?;
        between("body_timeout_ms", self.body_timeout_ms, 1, TIMEOUT_MS_MAX)?;
        between("idle_timeout_ms", self.idle_timeout_ms, 1, TIMEOUT_MS_MAX)?;
        between("max_age_seconds", self.max_age_seconds, 0, MAX_AGE_SECONDS_MAX)?;
        between("write_timeout_ms", self.write_timeout_ms, 1, TIMEOUT_MS_MAX)?;
        let (bytes_min, bytes_max) = (HEADER_BYTES_MIN as u64, HEADER_BYTES_MAX as u64);
        between("header_bytes_max", self.header_bytes_max as u64, bytes_min, bytes_max)?;
        between("headers_max", self.headers_max as u64, 1, HEADERS_MAX as u64)?;
        at_least_1("connections.body_bytes_max", self.body_bytes_max as u64)?;
        at_least_1("connections.answer_bytes_max", self.answer_bytes_max as u64)?;
        at_least_1("connections.http2_streams_max", self.http2_streams_max.into())?;
        at_least_1("connections.http2_resets_max", self.http2_resets_max.into())
    }
}
