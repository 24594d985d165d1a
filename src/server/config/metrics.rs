//! `metrics.*`: which limits `GET /metrics` shows.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ConfigError;
use super::check::bad;
use crate::limit::LimitKey;

/// As many as one look-up of the ledger reads, whatever their kind.
const LIMITS_MAX: usize = 100;

/// `metrics.*`: which limits `GET /metrics` shows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSettings {
    /// The keys of limits and templates whose usage is shown, at most 100.
    #[serde(serialize_with = "write_keys", deserialize_with = "read_keys")]
    pub limits: Vec<LimitKey>,
}

impl MetricsSettings {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let count = self.limits.len();
        if count > LIMITS_MAX {
            return Err(bad(
                "metrics.limits",
                &format!("must name at most {LIMITS_MAX} limits, not {count}"),
            ));
        }
        Ok(())
    }
}

fn write_keys<S: Serializer>(keys: &[LimitKey], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(keys.iter().map(LimitKey::as_str))
}

fn read_keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<LimitKey>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let key = |text: &String| {
        LimitKey::parse_name(text).map_err(|error| D::Error::custom(format!("{text:?}: {error}")))
    };
    texts.iter().map(key).collect()
}
