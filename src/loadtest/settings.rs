//! The command line, read into settings that make sense together.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use ledger_limiter::client::{BearerToken, BearerTokenError, TlsOptionsError};
use ledger_limiter::ledger::memory::MemoryBounds;
#[cfg(feature = "tigerbeetle")]
use ledger_limiter::server::config::TigerBeetleSettings;
use ledger_limiter::server::config::{self, Backend, ConfigError};
use serde::{Serialize, Serializer};
use tokio_rustls::rustls::ClientConfig;

use crate::address::{Address, AddressError};
use crate::flags::backend_settings;
use crate::schedule::{Profile, ProfileError};
use crate::tls;

/// Everything that a run needs to know.
#[derive(Debug, Serialize)]
pub(crate) struct Settings {
    pub(crate) target: TargetSettings,
    #[serde(rename = "duration_seconds", serialize_with = "seconds")]
    pub(crate) duration: Duration,
    #[serde(rename = "warmup_seconds", serialize_with = "seconds")]
    pub(crate) warmup: Duration,
    pub(crate) concurrency: usize,
    pub(crate) threads: Option<NonZeroUsize>,
    pub(crate) batch: usize,
    #[serde(flatten)]
    pub(crate) workload: WorkloadSettings,
    /// `None`: a closed loop.
    pub(crate) profile: Option<Profile>,
    pub(crate) retry: bool,
    #[serde(skip)]
    pub(crate) token: Option<BearerToken>,
    /// `None` if the target is not called over TLS.
    #[serde(skip)]
    pub(crate) tls: Option<Arc<ClientConfig>>,
    #[serde(skip)]
    pub(crate) setup: bool,
    #[serde(skip)]
    pub(crate) json: Option<PathBuf>,
}

/// The target of the load.
#[derive(Debug)]
pub(crate) enum TargetSettings {
    Http(Address),
    Memory(MemoryBounds),
    #[cfg(feature = "tigerbeetle")]
    TigerBeetle(TigerBeetleSettings),
}

/// What a reserve asks for, and which leases are completed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WorkloadSettings {
    /// The prefix of the limits' keys.
    pub(crate) prefix: String,
    /// The number of limits, or with [`Shape::Llm`] the number of groups of four.
    pub(crate) limits: usize,
    pub(crate) shape: Shape,
    /// The amount to reserve on each rolling limit, or with [`Shape::Llm`] on those that count tokens.
    pub(crate) amount: u64,
    pub(crate) capacity: u64,
    pub(crate) window_seconds: u64,
    pub(crate) delegate: Delegate,
    pub(crate) complete: Complete,
    pub(crate) order: Order,
}

/// Which limits a reserve takes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Shape {
    /// This number of rolling limits.
    Rolling { requirements: usize },
    /// The requests, tokens, slots and daily tokens of one model.
    Llm,
}

/// Which limits hand out allotments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Delegate {
    None,
    /// Those that all tenants share: with [`Shape::Llm`] all but the daily tokens.
    Shared,
    All,
}

/// Which leases are completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Complete {
    None,
    /// Every granted lease, with the reserved amounts.
    All,
    /// Every granted lease, with half of the reserved amount on rolling limits.
    Below,
}

/// The order in which reserves choose limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    Random,
    RoundRobin,
}

/// Why the command line is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("--target")]
    Target(#[from] AddressError),
    #[error("--{flag}: {message}")]
    Flag { flag: &'static str, message: String },
    #[error("--token-file")]
    Token(#[from] BearerTokenError),
    #[error(transparent)]
    Tls(#[from] TlsOptionsError),
    #[error("--profile")]
    Profile(#[from] ProfileError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[cfg(not(feature = "tigerbeetle"))]
    #[error("--backend: this program was built without the feature tigerbeetle")]
    NoTigerBeetle,
}

impl Settings {
    /// Reads the settings from the flags.
    pub(crate) fn from_matches(matches: &ArgMatches) -> Result<Self, SettingsError> {
        let profile = match (matches.get_one::<String>("rate"), matches.get_one::<String>("profile")) {
            (Some(rate), _) => Some(format!("constant:{rate}").parse()?),
            (None, Some(profile)) => Some(profile.parse()?),
            (None, None) => None,
        };
        let target = TargetSettings::from_matches(matches)?;
        Ok(Self {
            tls: tls::from_matches(matches, target.is_over_tls())?,
            target,
            token: matches.get_one::<PathBuf>("token-file").map(BearerToken::read).transpose()?,
            duration: duration(matches, "duration")?,
            warmup: duration(matches, "warmup")?,
            concurrency: count(matches, "concurrency"),
            threads: matches.get_one::<NonZeroUsize>("threads").copied(),
            batch: count(matches, "batch"),
            workload: WorkloadSettings::from_matches(matches)?,
            profile,
            retry: matches.get_flag("retry"),
            setup: !matches.get_flag("no-setup"),
            json: matches.get_one::<PathBuf>("json").cloned(),
        })
    }
}

impl WorkloadSettings {
    fn from_matches(matches: &ArgMatches) -> Result<Self, SettingsError> {
        let (limits, requirements) = (count(matches, "limits"), count(matches, "requirements"));
        if requirements > limits {
            let message = format!("must be at most --limits, which is {limits}, not {requirements}");
            return Err(SettingsError::Flag { flag: "requirements", message });
        }
        let shape = if matches.get_flag("llm") { Shape::Llm } else { Shape::Rolling { requirements } };
        let complete = match text(matches, "complete") {
            "all" => Complete::All,
            "below" => Complete::Below,
            // The parser refuses all other values but "none".
            _ => Complete::None,
        };
        let counts_tokens = shape == Shape::Llm || complete == Complete::Below;
        let amount = matches.get_one("amount").copied().unwrap_or(if counts_tokens { 1_000 } else { 1 });
        if complete == Complete::Below && amount == 1 {
            let message = "must be at least 2 with --complete below: 1 has no half".to_owned();
            return Err(SettingsError::Flag { flag: "amount", message });
        }
        let delegate = match text(matches, "delegate") {
            "shared" => Delegate::Shared,
            "all" => Delegate::All,
            // The parser refuses all other values but "none".
            _ => Delegate::None,
        };
        let order = if text(matches, "order") == "random" { Order::Random } else { Order::RoundRobin };
        let (capacity, window_seconds) = (number(matches, "capacity"), number(matches, "window-seconds"));
        let prefix = text(matches, "prefix").to_owned();
        Ok(Self { prefix, limits, shape, amount, capacity, window_seconds, delegate, complete, order })
    }
}

impl TargetSettings {
    fn is_over_tls(&self) -> bool {
        match self {
            Self::Http(address) => address.tls_name.is_some(),
            Self::Memory(_) => false,
            #[cfg(feature = "tigerbeetle")]
            Self::TigerBeetle(_) => false,
        }
    }

    fn from_matches(matches: &ArgMatches) -> Result<Self, SettingsError> {
        if let Some(url) = matches.get_one::<String>("target") {
            return Ok(Self::Http(Address::parse(url)?));
        }
        let overrides = backend_settings().map(|(name, _)| name).chain(["backend".to_owned()]);
        let overrides: Vec<(String, String)> = overrides
            .filter_map(|name| matches.get_one::<String>(&name).map(|text| (name, text.clone())))
            .map(
                |(name, text)| {
                    if name == "backend" { ("server.backend".to_owned(), text) } else { (name, text) }
                },
            )
            .collect();
        let settings = config::Settings::parse(Path::new("defaults"), "", &overrides)?;
        match settings.server.backend {
            Backend::Memory => Ok(Self::Memory((&settings.memory).into())),
            #[cfg(feature = "tigerbeetle")]
            Backend::TigerBeetle => Ok(Self::TigerBeetle(settings.tigerbeetle)),
            #[cfg(not(feature = "tigerbeetle"))]
            Backend::TigerBeetle => Err(SettingsError::NoTigerBeetle),
        }
    }
}

impl Serialize for TargetSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Http(address) => serializer.collect_str(address),
            Self::Memory(_) => serializer.serialize_str("memory"),
            #[cfg(feature = "tigerbeetle")]
            Self::TigerBeetle(_) => serializer.serialize_str("tigerbeetle"),
        }
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn text<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches.get_one::<String>(name).map_or("", String::as_str)
}

/// A number that has a default and is at least 1.
fn number(matches: &ArgMatches, name: &str) -> u64 {
    matches.get_one(name).copied().unwrap_or(1)
}

fn count(matches: &ArgMatches, name: &str) -> usize {
    usize::try_from(number(matches, name)).unwrap_or(usize::MAX)
}

fn duration(matches: &ArgMatches, name: &'static str) -> Result<Duration, SettingsError> {
    humantime::parse_duration(text(matches, name))
        .map_err(|error| SettingsError::Flag { flag: name, message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::command;

    fn settings(flags: &str) -> Result<Settings, String> {
        let words = std::iter::once("ratelimiter-loadtest").chain(flags.split_whitespace());
        let matches = command().try_get_matches_from(words).map_err(|error| error.to_string())?;
        Settings::from_matches(&matches).map_err(|error| ledger_limiter::telemetry::with_sources(&error))
    }

    #[test]
    fn defaults_depend_on_the_other_flags() {
        let plain = settings("--target http://localhost:1").expect("valid");
        assert_eq!((plain.duration, plain.warmup), (Duration::from_secs(10), Duration::from_secs(2)));
        assert_eq!((plain.workload.amount, plain.workload.shape), (1, Shape::Rolling { requirements: 1 }));
        let llm = settings("--backend memory --llm --complete all --rate 50").expect("valid");
        assert_eq!((llm.workload.amount, llm.workload.shape), (1_000, Shape::Llm));
        assert_eq!(llm.profile, Some(Profile::Constant { rate: 50.0 }));
        let below = settings(
            "--backend memory --memory-retention-seconds 5 --memory-transfers-max 1000 --complete below",
        )
        .expect("valid");
        assert_eq!(below.workload.amount, 1_000);
        let TargetSettings::Memory(bounds) = below.target else { panic!("{:?}", below.target) };
        assert_eq!((bounds.retention, bounds.transfers_max), (Duration::from_secs(5), 1_000));
    }

    #[test]
    fn an_error_names_the_wrong_flag() {
        for (flags, named) in [
            ("", "--target"),
            ("--target http://a:1 --backend memory", "--backend"),
            ("--target a:1", "--target"),
            ("--target http://a:1 --memory-retention-seconds 5", "--memory-retention-seconds"),
            ("--target http://a:1 --ca-file ca.pem", "--target: must be an https URL"),
            ("--target https://a:1 --ca-file none.pem", "none.pem: no certificate"),
            ("--target https://a:1 --client-certificate a.pem", "--client-key"),
            ("--backend memory --ca-file ca.pem", "--ca-file"),
            ("--backend redis", "redis"),
            ("--backend memory --requirements 3 --limits 2", "--requirements"),
            ("--backend memory --complete below --amount 1", "--amount"),
            ("--backend memory --rate 0", "must be a number above 0"),
            ("--backend memory --rate 1 --profile ramp:1:2", "--profile"),
            ("--backend memory --llm --requirements 2", "--requirements"),
            ("--backend memory --duration fast", "--duration"),
            ("--backend memory --memory-retention-seconds 0", "memory.retention_seconds"),
        ] {
            let error = settings(flags).expect_err(flags);
            assert!(error.contains(named), "{flags}: {error}");
        }
    }
}
