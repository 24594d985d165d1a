//! The bounds of the settings, and the errors that name a bad one.

use std::net::SocketAddrV6;
use std::path::PathBuf;

use super::{
    AuthMode, BackoffSettings, ClientCertificates, RetryPolicySettings, Settings, TigerBeetleSettings,
};
use crate::server::AllowedHosts;

/// The longest drain time. Most supervisors wait for at most a minute before they kill a service.
const DRAIN_MS_MAX: u64 = 60_000;
/// The longest lines must fit.
const LOG_BYTES_PER_SECOND_MIN: u64 = 4_096;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: cannot read the configuration file")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The place and the cause.
        message: String,
    },
    /// A setting is unknown, of the wrong type, or out of range.
    #[error("setting {name}: {message}")]
    Setting {
        /// Its dotted name.
        name: String,
        /// The cause.
        message: String,
    },
    /// A variable has the prefix of the settings and is not a setting.
    #[error("variable {0} is not a setting of ratelimiterd; correct its name or unset it")]
    UnknownVariable(String),
}

/// The error of the setting with the dotted name `name`.
pub(super) fn bad(name: &str, message: &str) -> ConfigError {
    ConfigError::Setting { name: name.to_owned(), message: message.to_owned() }
}

pub(super) fn at_least_1(name: &str, number: u64) -> Result<(), ConfigError> {
    if number == 0 { Err(bad(name, "must be at least 1, not 0")) } else { Ok(()) }
}

fn between(name: &str, number: usize, min: usize, max: usize) -> Result<(), ConfigError> {
    if (min..=max).contains(&number) {
        Ok(())
    } else {
        Err(bad(name, &format!("must be between {min} and {max}, not {number}")))
    }
}

impl Settings {
    /// Checks every bound that the types do not express.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        at_least_1("server.request_timeout_ms", self.server.request_timeout_ms)?;
        at_least_1("server.max_batch_requests", self.server.max_batch_requests as u64)?;
        if self.server.drain_ms > DRAIN_MS_MAX {
            let message = format!("must be at most {DRAIN_MS_MAX}, not {}", self.server.drain_ms);
            return Err(bad("server.drain_ms", &message));
        }
        at_least_1("gateway.http2_resets_max", self.gateway.http2_resets_max.into())?;
        self.check_gateway()?;
        self.check_auth()?;
        let allowed_hosts = AllowedHosts::new(&self.server.allowed_hosts).map_err(|text| {
            bad("server.allowed_hosts", &format!("{text:?} is not a name, NAME:PORT or *"))
        })?;
        if let Some(url) = &self.server.advertise_url
            && !allowed_hosts.allows_authority(url.authority())
        {
            let message =
                format!("the host of {url} must be in server.allowed_hosts: replicas call this one by it");
            return Err(bad("server.advertise_url", &message));
        }
        self.connections.check()?;
        self.alerts.check()?;
        self.metrics.check()?;
        self.otlp.check()?;
        self.tls.check()?;
        at_least_1("registry.poll_interval_ms", self.registry.poll_interval_ms)?;
        at_least_1("registry.decrease_interval_ms", self.registry.decrease_interval_ms)?;
        at_least_1("registry.instance_idle_seconds", self.registry.instance_idle_seconds)?;
        if self.registry.path.as_os_str().is_empty() {
            return Err(bad("registry.path", "must not be empty"));
        }
        at_least_1("limiter.wait_poll_ms", self.limiter.wait_poll_ms)?;
        at_least_1("memory.retention_seconds", self.memory.retention_seconds)?;
        at_least_1("memory.transfers_max", self.memory.transfers_max as u64)?;
        if self.log.bytes_per_second_max < LOG_BYTES_PER_SECOND_MIN {
            let found = self.log.bytes_per_second_max;
            let message = format!("must be at least {LOG_BYTES_PER_SECOND_MIN}, not {found}");
            return Err(bad("log.bytes_per_second_max", &message));
        }
        tracing_subscriber::EnvFilter::try_new(&self.log.filter)
            .map_err(|error| bad("log.filter", &error.to_string()))?;
        self.tigerbeetle.check()?;
        self.retry_policy.check()
    }
}

impl Settings {
    /// Checks that a listener for gateways has rules.
    fn check_gateway(&self) -> Result<(), ConfigError> {
        let has_rules = !self.gateway.rules.as_os_str().is_empty();
        match self.server.grpc_listen_addr {
            Some(_) if cfg!(not(feature = "grpc")) => Err(bad(
                "server.grpc_listen_addr",
                "this ratelimiterd was built without gRPC; use another build",
            )),
            Some(_) if !has_rules => {
                let message = "must name the file of rules for the descriptors of gateways";
                Err(bad("gateway.rules", message))
            }
            None if has_rules => {
                Err(bad("gateway.rules", "needs a listener for gateways; set server.grpc_listen_addr"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Checks that nobody reaches the service without authentication unless the operator says so.
    fn check_auth(&self) -> Result<(), ConfigError> {
        let (mode, has_credentials) = (self.auth.mode, self.auth.has_credentials());
        let has_certificates = !self.auth.certificates_path.as_os_str().is_empty();
        if has_certificates && self.tls.client_certificates == ClientCertificates::Off {
            let message = "needs clients that show certificates; set tls.client_certificates";
            return Err(bad("auth.certificates_path", message));
        }
        match mode {
            AuthMode::None if has_credentials => Err(bad(
                "auth.mode",
                "must not be \"none\" beside a file of tokens or keys; remove one of them",
            )),
            AuthMode::Tokens if !has_credentials => {
                Err(bad("auth.mode", "is \"tokens\", but there are none; set auth.tokens_path"))
            }
            AuthMode::Auto if !has_credentials && self.server.is_exposed() => {
                let message = format!(
                    "must be set, because others can reach {}; set auth.tokens_path to a file that `ratelimiterd token \
                     new` makes, or auth.mode = \"none\" if only trusted callers can connect",
                    self.server.exposed_addresses()
                );
                Err(bad("auth.mode", &message))
            }
            AuthMode::Auto | AuthMode::Tokens | AuthMode::None => Ok(()),
        }
    }
}

/// Whether the text is a name or an IP address, and a port.
fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let is_host =
        if is_bracketed { text.parse::<SocketAddrV6>().is_ok() } else { !host.contains([':', '[', ']']) };
    is_host && !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
}

impl TigerBeetleSettings {
    fn check(&self) -> Result<(), ConfigError> {
        if self.addresses.is_empty() {
            return Err(bad("tigerbeetle.addresses", "must name at least one replica"));
        }
        for address in &self.addresses {
            if !is_host_and_port(address) {
                let message =
                    format!("{address:?} is not HOST:PORT; an IPv6 address needs brackets: [::1]:3000");
                return Err(bad("tigerbeetle.addresses", &message));
            }
        }
        at_least_1("tigerbeetle.ledger", self.ledger.into())?;
        // A cluster takes 64 sessions in all, and each ratelimiterd opens one more for look-ups.
        between("tigerbeetle.sessions", self.sessions, 1, 8)?;
        // The longest chain is a complete of 32 requirements on closed accounts.
        between("tigerbeetle.max_batch_events", self.max_batch_events, 160, 8_189)?;
        between("tigerbeetle.queue_capacity", self.queue_capacity, 8_192, 1 << 24)
    }
}

impl RetryPolicySettings {
    fn check(&self) -> Result<(), ConfigError> {
        self.concurrency.check("retry_policy.concurrency")?;
        self.rolling.check("retry_policy.rolling")?;
        let share = self.rolling_window_share;
        if !(0.0..=1.0).contains(&share) {
            return Err(bad(
                "retry_policy.rolling_window_share",
                &format!("must be between 0 and 1, not {share}"),
            ));
        }
        at_least_1("retry_policy.decreasing_ms", self.decreasing_ms)
    }
}

impl BackoffSettings {
    fn check(&self, section: &str) -> Result<(), ConfigError> {
        let Self { base_ms, max_ms, factor, jitter_ms: _ } = self;
        at_least_1(&format!("{section}.base_ms"), *base_ms)?;
        if max_ms < base_ms {
            let message = format!("must be at least base_ms, which is {base_ms}, not {max_ms}");
            return Err(bad(&format!("{section}.max_ms"), &message));
        }
        if !(1.0..=100.0).contains(factor) {
            let message = format!("must be between 1 and 100, not {factor}");
            return Err(bad(&format!("{section}.factor"), &message));
        }
        Ok(())
    }
}
