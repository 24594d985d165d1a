//! The settings by section, with their defaults, and as options of the parts that they configure.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    AlertsSettings, AnswersSettings, AuthSettings, ConnectionsSettings, GatewaySettings, MetricsSettings,
    OtlpSettings, TlsSettings, cluster_id, optional,
};
use crate::decide::retry_after::{Backoff, RetryPolicy};
use crate::ledger::memory::MemoryBounds;
#[cfg(feature = "tigerbeetle")]
use crate::ledger::tigerbeetle::{TigerBeetleOptions, submitter::SubmitterOptions};
use crate::limit::ReplicaUrl;
use crate::limiter::WaitingOptions;
use crate::time::saturating_ms;

/// Every setting, by section.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "each section documents itself")]
pub struct Settings {
    pub server: ServerSettings,
    pub gateway: GatewaySettings,
    pub alerts: AlertsSettings,
    pub answers: AnswersSettings,
    pub auth: AuthSettings,
    pub tls: TlsSettings,
    pub connections: ConnectionsSettings,
    pub metrics: MetricsSettings,
    pub otlp: OtlpSettings,
    pub registry: RegistrySettings,
    pub tigerbeetle: TigerBeetleSettings,
    pub memory: MemorySettings,
    pub limiter: LimiterSettings,
    pub retry_policy: RetryPolicySettings,
    pub log: LogSettings,
}

/// `server.*`: the HTTP API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSettings {
    /// The address and port to listen on; port 0 takes a free port.
    pub listen_addr: SocketAddr,
    /// The address and port of a listener for operators alone, as text; empty for none.
    #[serde(with = "optional")]
    pub admin_listen_addr: Option<SocketAddr>,
    /// The address and port of a listener for the gRPC calls of gateways, as text; empty for none.
    #[serde(with = "optional")]
    pub grpc_listen_addr: Option<SocketAddr>,
    /// The URL under which the other replicas reach this one; empty if they cannot.
    #[serde(with = "optional")]
    pub advertise_url: Option<ReplicaUrl>,
    /// The ledger that holds the counters.
    pub backend: Backend,
    /// How long a request may take before its outcome is unknown.
    pub request_timeout_ms: u64,
    /// The most items of one batch request.
    pub max_batch_requests: usize,
    /// How long a service that was told to stop answers, but not as ready, before it closes its port.
    pub drain_ms: u64,
    /// The names, besides IP addresses and `localhost`, that the `Host` of a request may have.
    pub allowed_hosts: Vec<String>,
    /// Whether the web page for operators is served where the API for operators is.
    pub ui: bool,
}

/// The ledger that holds the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// A ledger in this process; its counters end with the process.
    Memory,
    /// A TigerBeetle cluster.
    TigerBeetle,
}

/// `registry.*`: the definitions of the limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistrySettings {
    /// The registry file.
    pub path: PathBuf,
    /// The pause between two reads of the definition log.
    pub poll_interval_ms: u64,
    /// The pause between two attempts to apply decreases.
    pub decrease_interval_ms: u64,
    /// The least time that an unused instance of a template stays in memory. The longest is twice that.
    pub instance_idle_seconds: u64,
}

/// `tigerbeetle.*`: the cluster and the requests to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TigerBeetleSettings {
    /// The id that the cluster was formatted with.
    #[serde(with = "cluster_id")]
    pub cluster_id: u128,
    /// `HOST:PORT` of every replica, in the order of the cluster.
    pub addresses: Vec<String>,
    /// The ledger number inside the cluster, at least 1.
    pub ledger: u32,
    /// The number of sessions that send transfers, 1 to 8.
    pub sessions: usize,
    /// The most transfers of one request, 160 to 8,189.
    pub max_batch_events: usize,
    /// How long a batch waits for more transfers.
    pub flush_interval_micros: u64,
    /// The most transfers that wait for a session, 8,192 to 16,777,216.
    pub queue_capacity: usize,
}

/// `memory.*`: the memory ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemorySettings {
    /// How long the memory ledger remembers a lease after its end.
    pub retention_seconds: u64,
    /// The most transfers that it stores.
    pub transfers_max: usize,
    /// The most denied leases that it remembers.
    pub denied_leases_max: usize,
}

/// `limiter.*`: the caches of this process, and those who wait in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimiterSettings {
    /// The most granted leases in the lease cache; 0 turns it off.
    pub lease_cache_capacity: usize,
    /// How long the denial cache denies calls on an exhausted limit; 0 turns it off.
    pub local_denial_ms: u64,
    /// The pause between two looks for room for those who wait, which another replica may have made.
    pub wait_poll_ms: u64,
    /// The most requests that wait for room.
    pub waiters_max: usize,
    /// The waiting that one level of priority is worth.
    pub priority_aging_ms: u64,
}

/// `retry_policy.*`: the `retry_after_ms` of denials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicySettings {
    /// For concurrency limits.
    pub concurrency: BackoffSettings,
    /// For rolling limits.
    pub rolling: BackoffSettings,
    /// The least first hint of a rolling limit, as a share of its window, 0 to 1.
    pub rolling_window_share: f64,
    /// The hint of a limit that is decreasing.
    pub decreasing_ms: u64,
}

/// `retry_policy.<kind>.*`: how the hint grows with each denial in a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackoffSettings {
    /// The hint of the first denial.
    pub base_ms: u64,
    /// The largest hint, before the jitter.
    pub max_ms: u64,
    /// The factor by which each further denial multiplies the hint, 1 to 100.
    pub factor: f64,
    /// The upper bound of the random part that is added to the hint.
    pub jitter_ms: u64,
}

/// `log.*`: the log lines on standard error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// A level, or levels by module.
    pub filter: String,
    /// The format of a line.
    pub format: LogFormat,
    /// The most bytes that are written in a second; lines above are dropped and counted.
    pub bytes_per_second_max: u64,
    /// The file of the audit lines; empty for the log.
    pub audit_path: PathBuf,
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
            admin_listen_addr: None,
            grpc_listen_addr: None,
            advertise_url: None,
            backend: if cfg!(feature = "tigerbeetle") { Backend::TigerBeetle } else { Backend::Memory },
            request_timeout_ms: 2_000,
            max_batch_requests: 256,
            drain_ms: 100,
            allowed_hosts: Vec::new(),
            ui: true,
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

impl From<&MemorySettings> for MemoryBounds {
    fn from(settings: &MemorySettings) -> Self {
        Self::default()
            .with_retention(Duration::from_secs(settings.retention_seconds))
            .with_transfers_max(settings.transfers_max)
            .with_denied_leases_max(settings.denied_leases_max)
    }
}

impl Default for MemorySettings {
    fn default() -> Self {
        let MemoryBounds { retention, transfers_max, denied_leases_max, .. } = MemoryBounds::default();
        Self { retention_seconds: retention.as_secs(), transfers_max, denied_leases_max }
    }
}

impl Default for LimiterSettings {
    fn default() -> Self {
        let WaitingOptions { poll_interval, waiters_max, priority_aging } = WaitingOptions::default();
        Self {
            lease_cache_capacity: 65_536,
            local_denial_ms: 100,
            wait_poll_ms: saturating_ms(poll_interval),
            waiters_max,
            priority_aging_ms: saturating_ms(priority_aging),
        }
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
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
            bytes_per_second_max: 1_048_576,
            audit_path: PathBuf::new(),
        }
    }
}

impl ServerSettings {
    /// Whether other machines can reach the service.
    pub fn is_exposed(&self) -> bool {
        !self.exposed_addresses().is_empty()
    }

    /// The addresses that other machines can reach, as text.
    pub(super) fn exposed_addresses(&self) -> String {
        let addresses = [Some(self.listen_addr), self.admin_listen_addr, self.grpc_listen_addr];
        let addresses = addresses.into_iter().flatten();
        let exposed = addresses.filter(|address| !address.ip().is_loopback());
        exposed.map(|address| address.to_string()).collect::<Vec<_>>().join(" and ")
    }

    /// [`ServerSettings::request_timeout_ms`] as a duration.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// [`ServerSettings::drain_ms`] as a duration.
    pub fn drain_time(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}

impl LimiterSettings {
    /// How callers wait for room.
    pub fn waiting(&self) -> WaitingOptions {
        WaitingOptions {
            poll_interval: Duration::from_millis(self.wait_poll_ms),
            waiters_max: self.waiters_max,
            priority_aging: Duration::from_millis(self.priority_aging_ms),
        }
    }
}

impl RetryPolicySettings {
    /// The retry policy of the limiter.
    pub fn policy(&self) -> RetryPolicy {
        RetryPolicy {
            concurrency: self.concurrency.backoff(),
            rolling: self.rolling.backoff(),
            window_share: self.rolling_window_share,
            decreasing_ms: self.decreasing_ms,
        }
    }
}

impl BackoffSettings {
    fn backoff(&self) -> Backoff {
        Backoff { base_ms: self.base_ms, max_ms: self.max_ms, factor: self.factor, jitter_ms: self.jitter_ms }
    }
}

impl From<Backoff> for BackoffSettings {
    fn from(backoff: Backoff) -> Self {
        let Backoff { base_ms, max_ms, factor, jitter_ms } = backoff;
        Self { base_ms, max_ms, factor, jitter_ms }
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
