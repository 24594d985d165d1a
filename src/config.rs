//! Settings: defaults, then the TOML file, then `RATELIMITERD_*` variables, then flags. Each is known by one dotted
//! name, `server.listen_addr`, from which its flag `--server-listen-addr` and its variable
//! `RATELIMITERD_SERVER_LISTEN_ADDR` follow. Whatever is unknown or bad is an error that names it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::decide::retry_after::{Backoff, RetryPolicy};
#[cfg(feature = "tigerbeetle")]
use crate::ledger::tigerbeetle::TigerBeetleOptions;
#[cfg(feature = "tigerbeetle")]
use crate::ledger::tigerbeetle::submitter::SubmitterOptions;

/// What every variable of a setting begins with.
pub const VARIABLE_PREFIX: &str = "RATELIMITERD_";

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

/// Where the counters are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// In this process, gone with it.
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

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{path}: the configuration could not be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{path}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A setting is unknown or cannot be read.
    #[error("setting {name}: {message}")]
    Setting {
        /// Its dotted name.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A variable looks like a setting and is none.
    #[error("variable {0} is no setting of ratelimiterd")]
    UnknownVariable(String),
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

/// The dotted name of every setting and its default.
pub fn names() -> BTreeMap<String, Value> {
    let mut names = BTreeMap::new();
    // The defaults hold nothing that TOML cannot say; a test sees to it that no section is missing.
    if let Ok(defaults) = Table::try_from(Settings::default()) {
        flatten("", &defaults, &mut names);
    }
    names
}

fn flatten(prefix: &str, table: &Table, names: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let dotted = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(section) => flatten(&dotted, section, names),
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_) => {
                names.insert(dotted, value.clone());
            }
        }
    }
}

/// The flag of a setting, without its dashes.
pub fn flag(name: &str) -> String {
    name.replace(['.', '_'], "-")
}

/// The environment variable of a setting.
pub fn variable(name: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", name.replace('.', "_").to_uppercase())
}

impl Settings {
    /// Reads the file's text, lays `overrides` (dotted name, text) over it, and checks everything.
    pub fn parse(
        path: &std::path::Path,
        text: &str,
        overrides: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let syntax = |error: &dyn std::fmt::Display| ConfigError::Syntax {
            path: path.to_owned(),
            message: error.to_string(),
        };
        let file: Table = text.parse().map_err(|error: toml::de::Error| syntax(&error))?;
        let mut table = Table::try_from(Settings::default()).map_err(|error| syntax(&error))?;
        lay_over(&mut table, file);
        for (name, text) in overrides {
            set(&mut table, name, text)?;
        }
        let settings: Settings = serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
            let path = error.path().to_string();
            let message = error.into_inner().to_string().trim().replace('\n', " ");
            ConfigError::Setting { name: path, message }
        })?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let at_least_1 = |name: &str, number: u64| {
            if number == 0 { Err(bad(name, "must be at least 1")) } else { Ok(()) }
        };
        at_least_1("server.request_timeout_ms", self.server.request_timeout_ms)?;
        at_least_1("server.max_batch_requests", self.server.max_batch_requests as u64)?;
        at_least_1("registry.poll_interval_ms", self.registry.poll_interval_ms)?;
        at_least_1("registry.decrease_interval_ms", self.registry.decrease_interval_ms)?;
        at_least_1("registry.instance_idle_seconds", self.registry.instance_idle_seconds)?;
        if self.registry.path.as_os_str().is_empty() {
            return Err(bad("registry.path", "must not be empty"));
        }
        at_least_1("memory.retention_seconds", self.memory.retention_seconds)?;
        tracing_subscriber::EnvFilter::try_new(&self.log.filter)
            .map_err(|error| bad("log.filter", &error.to_string()))?;
        self.tigerbeetle.check()?;
        self.retry_policy.check()
    }
}

impl TigerBeetleSettings {
    fn check(&self) -> Result<(), ConfigError> {
        let between = |name: &str, number: usize, min: usize, max: usize| {
            if (min..=max).contains(&number) {
                Ok(())
            } else {
                Err(bad(name, &format!("must be between {min} and {max}, not {number}")))
            }
        };
        if self.addresses.is_empty() {
            return Err(bad("tigerbeetle.addresses", "must name at least one replica"));
        }
        for address in &self.addresses {
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
            if port.and_then(|port| port.parse::<u16>().ok()).is_none_or(|port| port == 0) {
                return Err(bad("tigerbeetle.addresses", &format!("{address:?} is not HOST:PORT")));
            }
        }
        if self.ledger == 0 {
            return Err(bad("tigerbeetle.ledger", "must be at least 1"));
        }
        // A cluster takes 64 sessions in all, and each replica of this service has one more for look-ups.
        between("tigerbeetle.sessions", self.sessions, 1, 8)?;
        // The longest chain is a complete of 32 requirements on closed accounts.
        between("tigerbeetle.max_batch_events", self.max_batch_events, 160, 8_189)?;
        between("tigerbeetle.queue_capacity", self.queue_capacity, 8_192, 1 << 24)
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
    fn check(&self) -> Result<(), ConfigError> {
        self.concurrency.check("retry_policy.concurrency")?;
        self.rolling.check("retry_policy.rolling")?;
        if !(0.0..=1.0).contains(&self.rolling_window_share) {
            return Err(bad("retry_policy.rolling_window_share", "must be between 0 and 1"));
        }
        if self.decreasing_ms == 0 {
            return Err(bad("retry_policy.decreasing_ms", "must be at least 1"));
        }
        Ok(())
    }

    /// The policy that decides.
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
    fn check(&self, prefix: &str) -> Result<(), ConfigError> {
        if self.base_ms == 0 {
            return Err(bad(&format!("{prefix}.base_ms"), "must be at least 1"));
        }
        if self.max_ms < self.base_ms {
            return Err(bad(&format!("{prefix}.max_ms"), "must be at least base_ms"));
        }
        if !(1.0..=100.0).contains(&self.factor) {
            return Err(bad(&format!("{prefix}.factor"), "must be between 1 and 100"));
        }
        Ok(())
    }

    fn backoff(&self) -> Backoff {
        Backoff { base_ms: self.base_ms, max_ms: self.max_ms, factor: self.factor, jitter_ms: self.jitter_ms }
    }
}

impl ServerSettings {
    /// How long a request may take.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

fn bad(name: &str, message: &str) -> ConfigError {
    ConfigError::Setting { name: name.to_owned(), message: message.to_owned() }
}

/// Replaces what `over` says too, section by section.
fn lay_over(table: &mut Table, over: Table) {
    for (name, value) in over {
        match (table.get_mut(&name), value) {
            (Some(Value::Table(section)), Value::Table(over)) => lay_over(section, over),
            (_, value) => {
                table.insert(name, value);
            }
        }
    }
}

/// Sets a dotted name to a text, read as the kind of value that the setting's default is.
fn set(table: &mut Table, name: &str, text: &str) -> Result<(), ConfigError> {
    let names = names();
    let default = names.get(name).ok_or_else(|| bad(name, "there is no such setting"))?;
    let value = match default {
        Value::String(_) => Value::String(text.to_owned()),
        Value::Array(_) if !text.trim_start().starts_with('[') => {
            Value::Array(text.split(',').map(|item| Value::String(item.trim().to_owned())).collect())
        }
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) => {
            let parsed: Option<Table> = format!("value = {text}").parse().ok();
            // What is no number of TOML may still be a large cluster id; if not, reading it as a text says so.
            let as_text = || Value::String(text.to_owned());
            parsed.and_then(|mut parsed| parsed.remove("value")).unwrap_or_else(as_text)
        }
        Value::Table(_) => return Err(bad(name, "is a section")),
    };
    let mut sections: Vec<&str> = name.split('.').collect();
    let last = sections.pop().unwrap_or(name);
    let mut at = table;
    for section in sections {
        let inner = at.entry(section).or_insert_with(|| Value::Table(Table::new()));
        at = inner.as_table_mut().ok_or_else(|| bad(section, "must be a section"))?;
    }
    at.insert(last.to_owned(), value);
    Ok(())
}

/// A cluster id is a number, or a string where it is too large for a number of TOML.
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str, overrides: &[(&str, &str)]) -> Result<Settings, String> {
        let overrides: Vec<_> = overrides.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
        Settings::parse(Path::new("test.toml"), text, &overrides).map_err(|error| error.to_string())
    }

    #[test]
    fn every_setting_has_a_name_and_the_defaults_are_valid() {
        assert_eq!(parse("", &[]), Ok(Settings::default()));
        let names = names();
        for name in [
            "server.listen_addr",
            "server.backend",
            "registry.path",
            "tigerbeetle.cluster_id",
            "tigerbeetle.addresses",
            "memory.retention_seconds",
            "retry_policy.rolling.base_ms",
        ] {
            assert!(names.contains_key(name), "{name}");
        }
        assert_eq!(flag("retry_policy.rolling.base_ms"), "retry-policy-rolling-base-ms");
        assert_eq!(variable("server.listen_addr"), "RATELIMITERD_SERVER_LISTEN_ADDR");
    }

    #[test]
    #[cfg(feature = "tigerbeetle")]
    fn the_example_file_says_the_defaults() {
        let example = include_str!("../ratelimiterd.toml");
        assert_eq!(parse(example, &[]), Ok(Settings::default()));
    }

    #[test]
    fn overrides_win_over_the_file() {
        let settings = parse(
            "[server]\nrequest_timeout_ms = 7\n[tigerbeetle]\naddresses = ['a:1']",
            &[
                ("server.request_timeout_ms", "9"),
                ("tigerbeetle.addresses", "x:1, y:2"),
                ("tigerbeetle.cluster_id", "340282366920938463463374607431768211455"),
                ("retry_policy.rolling.max_ms", "9000"),
                ("server.backend", "memory"),
            ],
        )
        .expect("valid");
        assert_eq!(settings.server.request_timeout_ms, 9);
        assert_eq!(settings.tigerbeetle.addresses, ["x:1", "y:2"]);
        assert_eq!(settings.tigerbeetle.cluster_id, u128::MAX);
        assert_eq!(settings.server.backend, Backend::Memory);
        assert_eq!(settings.retry_policy.rolling.max_ms, 9_000);
        assert_eq!(settings.retry_policy.rolling.base_ms, 100, "the others keep their defaults");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, name) in [
            ("[server]\nlisten_adr = 'x'", "server.listen_adr"),
            ("[server]\nlisten_addr = 'x'", "server.listen_addr"),
            ("[servers]", "servers"),
            ("[server]\nbackend = 'redis'", "server.backend"),
            ("[server]\nrequest_timeout_ms = 0", "server.request_timeout_ms"),
            ("[tigerbeetle]\naddresses = ['nowhere']", "tigerbeetle.addresses"),
            ("[tigerbeetle]\nsessions = 65", "tigerbeetle.sessions"),
            ("[tigerbeetle]\ncluster_id = -1", "tigerbeetle.cluster_id"),
            ("[log]\nfilter = 'a=b=c'", "log.filter"),
            ("server = 1", "server"),
            (
                "[retry_policy.rolling]\nbase_ms=1\nmax_ms=1\nfactor=0.5\njitter_ms=0",
                "retry_policy.rolling.factor",
            ),
        ] {
            let error = parse(text, &[]).expect_err(text);
            assert!(error.contains(name), "{text}: {error}");
        }
        assert!(
            parse("", &[("server.max_batch_requests", "many")])
                .is_err_and(|e| e.contains("max_batch_requests"))
        );
        assert!(parse("no toml", &[]).is_err_and(|e| e.starts_with("test.toml")));
    }
}
