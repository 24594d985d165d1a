//! `ratelimiterd limits watch`: shows limits again whenever they change.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use clap::{Arg, ArgMatches, Command, value_parser};
use ledger_limiter::client::{Http, LimitInfo, LimitKey};
use ledger_limiter::protocol;
use ledger_limiter::telemetry::with_sources;
use serde::Serialize;

use super::list::{asked_for, filter_flags};
use super::output::{Output, json_flag, note};
use super::table::{Cell, Table};
use super::{Exit, LimitsError, shown};

const INTERVAL: &str = "interval-ms";
const LOOKS: &str = "looks";

/// What a look saw that the one before did not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen<'a> {
    /// A limit that is new, or has changed.
    Changed(&'a LimitInfo),
    Gone(&'a LimitKey),
}

/// What was seen, in JSON: one of `limit` and `gone`.
#[derive(Serialize)]
struct Line<'a> {
    at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<protocol::LimitInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gone: Option<&'a str>,
}

pub(super) fn command() -> Command {
    Command::new("watch")
        .about("Shows limits now, and each one again when it changes, until it is interrupted")
        .args(filter_flags())
        .arg(
            Arg::new(INTERVAL)
                .long(INTERVAL)
                .value_name("N")
                .default_value("2000")
                .value_parser(value_parser!(u64).range(100..))
                .help("The time between two looks, in milliseconds"),
        )
        .arg(
            Arg::new(LOOKS)
                .long(LOOKS)
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("Ends after so many looks [default: never]"),
        )
        .arg(json_flag())
}

pub(super) async fn run(http: &Http, matches: &ArgMatches) -> Result<Exit, LimitsError> {
    let (output, of) = (Output::of(matches), asked_for(matches)?);
    let interval = Duration::from_millis(matches.get_one(INTERVAL).copied().unwrap_or(2_000));
    let looks_max = matches.get_one::<u64>(LOOKS).copied().unwrap_or(u64::MAX);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before = None;
    for _ in 0..looks_max {
        ticks.tick().await;
        match http.limits(&of).await {
            Ok(limits) => {
                let after: BTreeMap<LimitKey, LimitInfo> =
                    limits.into_iter().map(|limit| (limit.definition.key.clone(), limit)).collect();
                show(output, before.as_ref(), &after)?;
                before = Some(after);
            }
            // A service that restarts is back soon. What the first look cannot read is an error, such as a bad token.
            Err(error) if before.is_some() && error.is_unknown() => note(&with_sources(&error)),
            Err(error) => return Err(LimitsError::call("reading the limits")(error)),
        }
    }
    Ok(Exit::Done)
}

/// What is new in `after`, in the order of keys.
pub(super) fn seen<'a>(
    before: &'a BTreeMap<LimitKey, LimitInfo>,
    after: &'a BTreeMap<LimitKey, LimitInfo>,
) -> Vec<Seen<'a>> {
    let changed = after.iter().filter(|(key, limit)| before.get(*key) != Some(limit));
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    let changed = changed.map(|(key, limit)| (key, Seen::Changed(limit)));
    let all: BTreeMap<&LimitKey, Seen<'a>> = changed.chain(gone.map(|key| (key, Seen::Gone(key)))).collect();
    all.into_values().collect()
}

fn show(
    output: Output,
    before: Option<&BTreeMap<LimitKey, LimitInfo>>,
    after: &BTreeMap<LimitKey, LimitInfo>,
) -> Result<(), LimitsError> {
    let at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let none = BTreeMap::new();
    let seen = seen(before.unwrap_or(&none), after);
    if output.is_json {
        return seen.iter().try_for_each(|seen| {
            output.json_line(&match seen {
                Seen::Changed(limit) => Line { at: &at, limit: Some(shown::json(limit)), gone: None },
                Seen::Gone(key) => Line { at: &at, limit: None, gone: Some(key.as_str()) },
            })
        });
    }
    if seen.is_empty() && before.is_some() {
        return Ok(());
    }
    let mut table = Table::new(shown::COLUMNS);
    for seen in &seen {
        table.push(match seen {
            Seen::Changed(limit) => shown::row(limit),
            Seen::Gone(key) => vec![Cell::new(key.as_str()), Cell::new("gone")],
        });
    }
    output.line(&at)?;
    output.table(&table)
}
