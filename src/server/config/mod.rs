//! The settings of `ratelimiterd`.
//!
//! A setting takes its value from the first of these that names it: its flag, its environment variable, the TOML file,
//! its default. One dotted name identifies it: `server.listen_addr` is the flag `--server-listen-addr` and the
//! variable `RATELIMITERD_SERVER_LISTEN_ADDR`. An unknown or bad setting is an error that names it.
//! `ratelimiterd.toml` describes each setting.

mod alerts;
mod answers;
mod auth;
mod check;
mod cluster_id;
mod connections;
mod gateway;
mod metrics;
mod names;
mod optional;
mod otlp;
mod read;
mod settings;
#[cfg(test)]
mod tests;
mod tls;

pub use alerts::AlertsSettings;
pub use answers::{AnswersSettings, HeaderForm};
pub use auth::{AuthMode, AuthSettings, JwtSettings};
pub use check::ConfigError;
pub use connections::ConnectionsSettings;
pub use gateway::GatewaySettings;
pub use metrics::MetricsSettings;
pub use names::{
    CONFIG_VARIABLE, SERVER_URL_VARIABLE, TOKEN_FILE_VARIABLE, check_variables, flag, names, variable,
};
pub use otlp::OtlpSettings;
pub use settings::{
    Backend, BackoffSettings, LimiterSettings, LogFormat, LogSettings, MemorySettings, RegistrySettings,
    RetryPolicySettings, ServerSettings, Settings, TigerBeetleSettings,
};
pub use tls::{ClientCertificates, TlsSettings};
