//! The settings, a struct for each section, with their defaults. `ratelimiterd.toml` describes each setting.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::decide::retry_after::{Backoff, RetryPolicy};
#[cfg(feature = "tigerbeetle")]
use crate::ledger::tigerbeetle::TigerBeetleOptions;
#[cfg(feature = "tigerbeetle")]
use crate::ledger::tigerbeetle::submitter::SubmitterOptions;

/// Every setting.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names are the documentation; ratelimiterd.toml says more")]
pub struct Settings {
    pub server: ServerSettings,
    pub registry: RegistrySettings,
    pub tigerbeetle: TigerBeetleSettings,
    pub memory: MemorySettings,
    pub limiter: LimiterSettings,
    pub retry_policy: RetryPolicySettings,
    pub log: LogSettings,
}

/// `server.*`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct ServerSettings {
    pub listen_addr: SocketAddr,
    pub backend: Backend,
    pub request_timeout_ms: u64,
    pub max_batch_requests: usize,
}

/// Where the counters are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// In this process; they end with it.
    Memory,
    /// In a TigerBeetle cluster.
    TigerBeetle,
}

/// `registry.*`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct RegistrySettings {
    pub path: PathBuf,
    pub poll_interval_ms: u64,
    pub decrease_interval_ms: u64,
    pub instance_idle_seconds: u64,
}

/// `tigerbeetle.*`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct TigerBeetleSettings {
    #[serde(with = "cluster_id")]
    pub cluster_id: u128,
    pub addresses: Vec<String>,
    pub ledger: u32,
    pub sessions: usize,
    pub max_batch_events: usize,
    pub flush_interval_micros: u64,
    pub queue_capacity: usize,
}

/// `memory.*`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct MemorySettings {
    pub retention_seconds: u64,
}

/// `limiter.*`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct LimiterSettings {
    pub lease_cache_capacity: usize,
    pub local_denial_ms: u64,
}

/// `retry_policy.*`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct RetryPolicySettings {
    pub concurrency: BackoffSettings,
    pub rolling: BackoffSettings,
    pub rolling_window_share: f64,
    pub decreasing_ms: u64,
}

/// `retry_policy.<kind>.*`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct BackoffSettings {
    pub base_ms: u64,
    pub max_ms: u64,
    pub factor: f64,
    pub jitter_ms: u64,
}

/// `log.*`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct LogSettings {
    pub filter: String,
    pub format: LogFormat,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen_addr: SocketAddr::from(([127, 0, 0, 1], 8080)),
            backend: if cfg!(feature = "tigerbeetle") { Backend::TigerBeetle } else { Backend::Memory },
            request_timeout_ms: 2_000,
            max_batch_requests: 256,
        }
    }
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            path: PathBuf::from("registry.json"),
            poll_interval_ms: 500,
            decrease_interval_ms: 100,
            instance_idle_seconds: 600,
        }
    }
}

impl Default for TigerBeetleSettings {
    fn default() -> Self {
        Self {
            cluster_id: 0,
            addresses: vec!["127.0.0.1:3000".to_owned()],
            ledger: 1,
            sessions: 2,
            max_batch_events: 8_189,
            flush_interval_micros: 0,
            queue_capacity: 65_536,
        }
    }
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self { retention_seconds: 600 }
    }
}

impl Default for LimiterSettings {
    fn default() -> Self {
        Self { lease_cache_capacity: 65_536, local_denial_ms: 100 }
    }
}

impl Default for RetryPolicySettings {
    fn default() -> Self {
        let policy = RetryPolicy::default();
        Self {
            concurrency: policy.concurrency.into(),
            rolling: policy.rolling.into(),
            rolling_window_share: policy.window_share,
            decreasing_ms: policy.decreasing_ms,
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

impl ServerSettings {
    /// The longest time that a request may take.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

#[cfg(feature = "tigerbeetle")]
impl From<&TigerBeetleSettings> for TigerBeetleOptions {
    fn from(settings: &TigerBeetleSettings) -> Self {
        Self {
            cluster_id: settings.cluster_id,
            addresses: settings.addresses.clone(),
            ledger: settings.ledger,
            submitter: SubmitterOptions {
                sessions: settings.sessions,
                batch_transfers_max: settings.max_batch_events,
                queue_transfers_max: settings.queue_capacity,
                flush_interval: Duration::from_micros(settings.flush_interval_micros),
            },
        }
    }
}

impl RetryPolicySettings {
    /// The policy for retry-after hints.
    pub fn policy(&self) -> RetryPolicy {
        RetryPolicy {
            concurrency: self.concurrency.backoff(),
            rolling: self.rolling.backoff(),
            window_share: self.rolling_window_share,
            decreasing_ms: self.decreasing_ms,
        }
    }
}

impl From<Backoff> for BackoffSettings {
    fn from(backoff: Backoff) -> Self {
        let Backoff { base_ms, max_ms, factor, jitter_ms } = backoff;
        Self { base_ms, max_ms, factor, jitter_ms }
    }
}

impl BackoffSettings {
    fn backoff(&self) -> Backoff {
        Backoff { base_ms: self.base_ms, max_ms: self.max_ms, factor: self.factor, jitter_ms: self.jitter_ms }
    }
}

/// A cluster id is a number, or a string if it is too large for a number in TOML.
mod cluster_id {
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        match i64::try_from(*id) {
            Ok(small) => serializer.serialize_i64(small),
            Err(_) => serializer.serialize_str(&id.to_string()),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        struct ClusterId;
        impl Visitor<'_> for ClusterId {
            type Value = u128;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number from 0 to 2^128-1, as a string if it is over 2^63-1")
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<u128, E> {
                u128::try_from(number)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(number), &self))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<u128, E> {
                Ok(number.into())
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<u128, E> {
                text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(ClusterId)
    }
}
