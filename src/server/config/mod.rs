//! Settings: defaults, then the TOML file, then `RATELIMITERD_*` variables, then flags. A setting has one dotted name,
//! `server.listen_addr`, from which its flag `--server-listen-addr` and its variable `RATELIMITERD_SERVER_LISTEN_ADDR` follow. An
//! unknown or bad setting is an error that names it.
//!
//! | file | what it is |
//! | --- | --- |
//! | `settings.rs` | the settings and their defaults |
//! | `read.rs` | merges file, variables and flags |
//! | `check.rs` | checks the ranges |

mod check;
mod read;
mod settings;

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::{Table, Value};

pub use settings::{
    Backend, BackoffSettings, LimiterSettings, LogFormat, LogSettings, MemorySettings, RegistrySettings,
    RetryPolicySettings, ServerSettings, Settings, TigerBeetleSettings,
};

/// The prefix of every variable that sets a setting.
pub const VARIABLE_PREFIX: &str = "RATELIMITERD_";

/// Why the settings could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{path}: the configuration could not be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not valid TOML.
    #[error("{path}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The position and the cause.
        message: String,
    },
    /// A setting is unknown or cannot be read.
    #[error("setting {name}: {message}")]
    Setting {
        /// The dotted name of the setting.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A variable has the prefix of settings, but no setting has its name.
    #[error("variable {0} is not a setting of ratelimiterd")]
    UnknownVariable(String),
}

/// The dotted name of every setting and its default.
pub fn names() -> BTreeMap<String, Value> {
    let mut names = BTreeMap::new();
    // TOML can represent every default; a test checks that no section is missing.
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

fn bad(name: &str, message: &str) -> ConfigError {
    ConfigError::Setting { name: name.to_owned(), message: message.to_owned() }
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
    fn the_example_file_holds_the_defaults() {
        let example = include_str!("../../../ratelimiterd.toml");
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
    fn a_bad_setting_is_named() {
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
