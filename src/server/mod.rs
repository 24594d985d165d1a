//! The program `ratelimiterd`: settings, start and stop, the HTTP API, its metrics.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`config`] | the settings: file, flags and environment, checked |
//! | [`auth`] | who may do what |
//! | [`api`] | one file per endpoint; `api/reject.rs` turns errors into statuses |
//! | `alerts` | what becomes of crossed thresholds: metrics, the log, a webhook |
//! | `allowed_hosts` | keeps web pages away |
//! | `audit` | a line for each change of a limit |
//! | `otlp` | traces, logs and metrics for a collector (feature `otlp`) |
//! | `peers` | sends calls to other replicas |
//! | [`probe`] | the readiness check that `ratelimiterd probe` runs |
//! | `body` | how long a body may be, and why it cannot be read |
//! | `capped_log` | standard error, with a ceiling on bytes per second |
//! | `connections` | accepts connections and serves HTTP on them, within bounds |
//! | `allotment_metrics` | the metrics of allotments |
//! | `emergency_metrics` | the metrics of leases that were granted without the ledger |
//! | `waiting_metrics` | the metrics of those who wait for room |
//! | `front` | the listeners: one for all, or callers and operators apart, and one for gateways |
//! | `grpc` | the rate limit services of Envoy and Kuadrant (feature `grpc`) |
//! | `limit_metrics` | the gauges of single limits |
//! | `metrics` | the counters of the API and the text of `GET /metrics` |
//! | `recent_denials` | how often each limit denied in the last minutes |
//! | `registry_metrics` | the metric of the registry file |
//! | `run` | starts the parts in order, and stops them in order |
//! | `serve_error` | why the service did not start |
//! | `stop_signal` | the signals that stop the program |
//! | `tls` | the certificates, read again when they change |
//! | `ui` | the files of the web page for operators |

mod alerts;
mod allotment_metrics;
mod allowed_hosts;
pub mod api;
mod audit;
pub mod auth;
mod body;
mod capped_log;
pub mod config;
mod connections;
mod emergency_metrics;
mod front;
#[cfg(feature = "grpc")]
pub mod grpc;
mod limit_metrics;
mod metrics;
#[cfg(feature = "otlp")]
mod otlp;
mod peers;
pub mod probe;
mod recent_denials;
mod registry_metrics;
mod run;
mod serve_error;
mod stop_signal;
mod tls;
mod ui;
mod waiting_metrics;

pub use alerts::AlertsError;
pub use allowed_hosts::{AllowedHosts, HostError};
pub use audit::{AuditError, AuditLog};
pub use capped_log::CappedLog;
pub use metrics::Metrics;
#[cfg(feature = "otlp")]
pub use otlp::{Otlp, OtlpError};
pub use peers::Peers;
pub use run::serve;
pub use serve_error::ServeError;
pub use stop_signal::{Hangup, stop_signal};
#[cfg(test)]
pub(crate) use tls::Files as TlsFiles;
pub use tls::{ClientIdentity, TlsError};
