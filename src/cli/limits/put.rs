//! `ratelimiterd limits put`: one limit, by flags.

use clap::{Arg, ArgMatches, Command, value_parser};
use ledger_limiter::client::{Definition, Http, LimitKey};
use ledger_limiter::limit::json::DefinitionJson;
use serde_json::{Value, json};

use super::apply::{dry_run_flag, is_dry};
use super::fields::Fields;
use super::output::{Output, json_flag};
use super::plan::{Present, Scope, plan};
use super::{Exit, LimitsError, carry_out, key, key_argument};

/// The type of a field in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FieldType {
    Number,
    Text,
    Bool,
}

/// The fields of a definition that are flags of the same name, with dashes.
const FIELDS: &[(&str, FieldType, &str)] = &[
    ("kind", FieldType::Text, "rolling, concurrency, token_bucket, fixed_window, sliding_window or calendar"),
    ("capacity", FieldType::Number, "The most that may be reserved at once"),
    ("window_seconds", FieldType::Number, "For rolling limits and windows: their length"),
    ("window_ms", FieldType::Number, "For fixed and sliding windows: their length, if not in seconds"),
    ("timeout_seconds", FieldType::Number, "For concurrency limits: the longest that a slot is held"),
    (
        "align",
        FieldType::Number,
        "For fixed windows: begins them so many seconds after a multiple of their length",
    ),
    ("segments", FieldType::Number, "For sliding windows: the number of segments"),
    ("refill_amount", FieldType::Number, "For buckets: the tokens that one refill adds"),
    ("refill_interval_ms", FieldType::Number, "For buckets: the time between refills"),
    ("refills_per_interval", FieldType::Number, "For buckets: the refills in an interval"),
    ("auto_replenish", FieldType::Bool, "For buckets, fixed and sliding windows: whether time refills them"),
    ("period", FieldType::Text, "For calendar windows: day, week, month, quarter or year"),
    ("time_zone", FieldType::Text, "For calendar windows: the time zone, such as Europe/Berlin"),
    (
        "starts_at",
        FieldType::Number,
        "For calendar windows: the hour, weekday, day or month at which they begin, by the period",
    ),
    ("max_wait_ms", FieldType::Number, "For buckets: the longest that a reservation ahead may wait"),
    ("max_instances", FieldType::Number, "For templates: the most instances they may make"),
    ("unit", FieldType::Text, "What the amounts count, such as tokens"),
    (
        "unit_micros",
        FieldType::Number,
        "What one unit is worth, in millionths of what --unit names, such as USD",
    ),
    ("description", FieldType::Text, "What the limit is for"),
    ("overage", FieldType::Text, "What happens to overage that finds no room: debt or deny"),
    ("enforce", FieldType::Bool, "Whether the limit denies; otherwise it grants and says that it would deny"),
    ("on_unavailable", FieldType::Text, "What happens while the ledger does not answer: deny or allow"),
];

const EMERGENCY_SHARE: &str = "emergency-capacity-share";
const ALERTS: &str = "alerts";
const ALLOTMENT_PERIOD: &str = "allotment-period-ms";
const EMERGENCY_SECONDS: &str = "emergency-seconds";

pub(super) fn command() -> Command {
    let field = |&(name, field_type, help): &(&'static str, FieldType, &'static str)| {
        let arg = Arg::new(name).long(name.replace('_', "-")).help(help);
        match field_type {
            FieldType::Number => arg.value_name("N").value_parser(value_parser!(u64)),
            FieldType::Text => arg.value_name("TEXT"),
            FieldType::Bool => arg.value_name("BOOL").value_parser(value_parser!(bool)),
        }
    };
    let share = Arg::new(EMERGENCY_SHARE).long(EMERGENCY_SHARE).value_name("SHARE");
    let seconds = Arg::new(EMERGENCY_SECONDS).long(EMERGENCY_SECONDS).value_name("N");
    Command::new("put")
        .about("Creates a limit or template, or changes the fields that are given and keeps the others")
        .arg(key_argument())
        .args(FIELDS.iter().map(field))
        .arg(
            share
                .value_parser(value_parser!(f64))
                .requires(EMERGENCY_SECONDS)
                .help("With --on-unavailable allow: the part of the capacity that each replica grants"),
        )
        .arg(
            seconds.value_parser(value_parser!(u64)).requires(EMERGENCY_SHARE).help(
                "With --on-unavailable allow: the first seconds of an outage, in which a replica grants",
            ),
        )
        .arg(
            Arg::new(ALLOTMENT_PERIOD)
                .long(ALLOTMENT_PERIOD)
                .value_name("N")
                .value_parser(value_parser!(u64))
                .help("How long a replica serves callers from a part of the capacity that it reserves"),
        )
        .arg(
            Arg::new(ALERTS)
                .long(ALERTS)
                .value_name("PERCENTS")
                .value_delimiter(',')
                .value_parser(value_parser!(u64))
                .help("The percents of the capacity whose crossing is told, such as 80,95,100"),
        )
        .arg(dry_run_flag())
        .arg(json_flag())
}

pub(super) async fn run(http: &Http, matches: &ArgMatches) -> Result<Exit, LimitsError> {
    let key = key(matches)?;
    let limit = http.limit(&key).await.map_err(LimitsError::call(format!("reading limit {key}")))?;
    let present = limit.map(Present::of).transpose()?;
    let mut fields = match &present {
        Some(present) => Fields::of(&present.definition)?,
        None => Fields::default(),
    };
    fields.set("key", json!(key.as_str()));
    for (name, value) in given(matches) {
        fields.set(name, value);
    }
    let plan = plan(&[definition(&key, &fields)?], present, &Scope::default())?;
    carry_out(http, &plan, Output::of(matches), is_dry(matches)).await
}

/// The fields that flags set.
fn given(matches: &ArgMatches) -> Vec<(&'static str, Value)> {
    let value = |&(name, field_type, _): &(&'static str, FieldType, &'static str)| {
        let value = match field_type {
            FieldType::Number => matches.get_one::<u64>(name).map(|number| json!(number)),
            FieldType::Text => matches.get_one::<String>(name).map(|text| json!(text)),
            FieldType::Bool => matches.get_one::<bool>(name).map(|is_on| json!(is_on)),
        };
        value.map(|value| (name, value))
    };
    let share = matches.get_one::<f64>(EMERGENCY_SHARE).zip(matches.get_one::<u64>(EMERGENCY_SECONDS));
    let emergency =
        share.map(|(share, seconds)| ("emergency", json!({ "capacity_share": share, "seconds": seconds })));
    let allotment = matches.get_one::<u64>(ALLOTMENT_PERIOD);
    let allotment = allotment.map(|period_ms| ("allotment", json!({ "period_ms": period_ms })));
    let alerts = matches.get_many::<u64>(ALERTS);
    let alerts = alerts.map(|percents| ("alerts", json!(percents.collect::<Vec<_>>())));
    FIELDS.iter().filter_map(value).chain(emergency).chain(allotment).chain(alerts).collect()
}

fn definition(key: &LimitKey, fields: &Fields) -> Result<Definition, LimitsError> {
    let failed = |message: String| LimitsError::Definition { key: key.clone(), message };
    let text = serde_json::to_string(fields)?;
    let json: DefinitionJson = serde_json::from_str(&text).map_err(|error| {
        // The place in a text that nobody wrote helps nobody.
        let message = error.to_string();
        failed(message.split(" at line ").next().unwrap_or(&message).to_owned())
    })?;
    json.into_definition().map_err(|error| failed(error.to_string()))
}
