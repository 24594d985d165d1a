//! The file of rules, read and checked.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU64;

use serde::Deserialize;

use super::key_form::KeyForm;
use super::{EntryPattern, Override, Rule, Rules, UNITS};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "yes")]
    report: bool,
    #[serde(default)]
    retry_after_header: bool,
    rule: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    domain: String,
    entries: Vec<EntryPattern>,
    limit: String,
    #[serde(default = "one")]
    factor: NonZeroU64,
    #[serde(default = "yes")]
    enforce: bool,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    overrides: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

fn one() -> NonZeroU64 {
    NonZeroU64::MIN
}

/// See [`Rules::parse`].
pub(super) fn parse(text: &str) -> Result<Rules, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string().trim().to_owned())?;
    let mut domains = HashMap::<String, Vec<Rule>>::new();
    for (index, entry) in file.rule.into_iter().enumerate() {
        let wrong = |error: &str| format!("rule {}: {error}", index + 1);
        let domain = entry.domain.clone();
        let rule = entry.into_rule().map_err(|error| wrong(&error))?;
        let earlier = domains.entry(domain).or_default();
        if earlier.iter().any(|earlier| earlier.covers(&rule)) {
            return Err(wrong("an earlier rule takes all its descriptors; put this one before it"));
        }
        earlier.push(rule);
    }
    Ok(Rules { domains, report: file.report, retry_after_header: file.retry_after_header })
}

impl Entry {
    fn into_rule(self) -> Result<Rule, String> {
        if self.domain.is_empty() {
            return Err("domain must not be empty".to_owned());
        }
        if self.entries.is_empty() {
            return Err("entries must hold at least one entry".to_owned());
        }
        let form = |text: &str| KeyForm::parse(text, &self.entries);
        let limit = form(&self.limit).map_err(|error| format!("limit {error}"))?;
        let overrides = self.overrides.iter().map(|(name, text)| {
            let not_one = || format!("overrides: {name:?} must be a number, a slash and one of {UNITS:?}");
            let wanted = Override::parse(name).ok_or_else(not_one)?;
            Ok((wanted, form(text).map_err(|error| format!("overrides {name:?}: {error}"))?))
        });
        let overrides = overrides.collect::<Result<_, String>>()?;
        Ok(Rule {
            limit,
            overrides,
            entries: self.entries,
            factor: self.factor,
            enforce: self.enforce,
            force: self.force,
        })
    }
}
