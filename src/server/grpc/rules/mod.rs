//! Rules: from the descriptors of a gateway to the keys of limits. Pure: text in, keys out.
//!
//! | file | what it is |
//! | --- | --- |
//! | `text.rs` | the file of rules, read and checked |
//! | `key_form.rs` | a key with placeholders for the values of entries |

mod key_form;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU64;

use serde::Deserialize;

use crate::limit::LimitKey;
use key_form::KeyForm;

/// The units of overrides, as Envoy names them.
const UNITS: [&str; 6] = ["second", "minute", "hour", "day", "month", "year"];

/// The rules of a file, by domain.
#[derive(Debug)]
pub(crate) struct Rules {
    domains: HashMap<String, Vec<Rule>>,
    /// Whether answers tell what is left of the limits.
    pub(super) report: bool,
    /// Whether a denial adds the header `retry-after` to the answer of the gateway.
    pub(super) retry_after_header: bool,
}

/// What becomes of the descriptors with these entries.
#[derive(Debug)]
pub(super) struct Rule {
    entries: Vec<EntryPattern>,
    limit: KeyForm,
    /// The limits that a gateway may ask for.
    overrides: BTreeMap<Override, KeyForm>,
    /// The units of the limit in one hit.
    pub(super) factor: NonZeroU64,
    /// Whether the limit can deny. If not, it only counts.
    pub(super) enforce: bool,
    /// Whether it is charged whatever is free.
    pub(super) force: bool,
}

/// An entry that a descriptor must have.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryPattern {
    key: String,
    /// The value; any if left out.
    value: Option<String>,
    /// What the key of a limit calls the value, if not by `key`.
    #[serde(rename = "as")]
    name: Option<String>,
}

/// A limit that a gateway asks for, spelled as in `100/minute`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Override {
    requests: u32,
    unit: &'static str,
}

/// A rule has no limit for what a gateway asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no rule allows the override {}/{}; add it to the rule's overrides", .0.requests, .0.unit)]
pub(crate) struct UnknownOverride(Override);

impl Rules {
    /// Reads a file of rules.
    ///
    /// # Errors
    ///
    /// The text is no such file, or a rule is wrong or never applies. The message names the rule by its number, from 1.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        text::parse(text)
    }

    /// How many rules there are.
    pub(super) fn count(&self) -> usize {
        self.domains.values().map(Vec::len).sum()
    }

    /// The first rule for a descriptor with these entries, as pairs of key and value.
    pub(super) fn find(&self, domain: &str, entries: &[(&str, &str)]) -> Option<&Rule> {
        self.domains.get(domain)?.iter().find(|rule| rule.matches(entries))
    }
}

impl Rule {
    fn matches(&self, entries: &[(&str, &str)]) -> bool {
        let is_match = |(own, (key, value)): (&EntryPattern, &(&str, &str))| {
            own.key == *key && own.value.as_ref().is_none_or(|own| own == value)
        };
        self.entries.len() == entries.len() && self.entries.iter().zip(entries).all(is_match)
    }

    /// Whether this rule takes all descriptors of another one.
    fn covers(&self, other: &Self) -> bool {
        let is_wider = |(own, other): (&EntryPattern, &EntryPattern)| {
            own.key == other.key && (own.value.is_none() || own.value == other.value)
        };
        self.entries.len() == other.entries.len() && self.entries.iter().zip(&other.entries).all(is_wider)
    }

    /// The key of the limit for a descriptor that matches; `wanted` is the limit that the gateway asks for, if it does. `None`
    /// if a value is empty, or too long for a key.
    ///
    /// # Errors
    ///
    /// The rule has no limit for what the gateway asks for.
    pub(super) fn key(
        &self,
        entries: &[(&str, &str)],
        wanted: Option<Override>,
    ) -> Result<Option<LimitKey>, UnknownOverride> {
        let form = match wanted {
            None => &self.limit,
            Some(wanted) => self.overrides.get(&wanted).ok_or(UnknownOverride(wanted))?,
        };
        Ok(form.fill(entries))
    }
}

impl Override {
    /// `unit` is in either case. `None` if it is no unit.
    pub(super) fn new(requests: u32, unit: &str) -> Option<Self> {
        let unit = UNITS.into_iter().find(|known| known.eq_ignore_ascii_case(unit))?;
        Some(Self { requests, unit })
    }

    fn parse(text: &str) -> Option<Self> {
        let (requests, unit) = text.split_once('/')?;
        Self::new(requests.parse().ok()?, unit)
    }
}
