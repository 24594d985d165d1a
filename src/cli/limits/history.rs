//! `ratelimiterd limits history`.

use std::time::{Duration, UNIX_EPOCH};

use clap::{ArgMatches, Command};
use ledger_limiter::client::{Capacity, Http, LimitVersion};
use ledger_limiter::limit::json::DefinitionJson;
use ledger_limiter::protocol::VersionBody;

use super::fields::{Fields, shown};
use super::output::{Output, json_flag};
use super::table::{Align, Cell, Table};
use super::{Exit, LimitsError, key, key_argument};

const COLUMNS: &[(&str, Align)] =
    &[("VERSION", Align::Right), ("AT", Align::Left), ("STATUS", Align::Left), ("CHANGE", Align::Left)];

pub(super) fn command() -> Command {
    Command::new("history")
        .about("Shows every version that a limit had, oldest first, also if it is deleted")
        .arg(key_argument())
        .arg(json_flag())
}

pub(super) async fn run(http: &Http, matches: &ArgMatches) -> Result<Exit, LimitsError> {
    let key = key(matches)?;
    let versions =
        http.history(&key).await.map_err(LimitsError::call(format!("reading the history of {key}")))?;
    if versions.is_empty() {
        return Err(LimitsError::UnknownKey(key));
    }
    let output = Output::of(matches);
    if output.is_json {
        output.json(&versions.iter().map(json).collect::<Vec<VersionBody>>())?;
    } else {
        output.table(&table(&versions)?)?;
    }
    Ok(Exit::Done)
}

fn json(version: &LimitVersion) -> VersionBody {
    VersionBody {
        version: version.version,
        at_unix_ms: version.at_unix_ms,
        status: version.status.clone(),
        definition: DefinitionJson::from(&version.definition),
        pending_decrease_to: version.pending_decrease_to.map_or(0, Capacity::get),
    }
}

fn table(versions: &[LimitVersion]) -> Result<Table, LimitsError> {
    let mut table = Table::new(COLUMNS);
    let mut before = Fields::default();
    for version in versions {
        let after = Fields::of(&version.definition)?;
        let differences = before.differences(&after);
        let mut changes: Vec<String> = differences
            .iter()
            .filter(|difference| difference.name != "key")
            .map(|difference| format!("{}={}", difference.name, shown(difference.after.as_ref())))
            .collect();
        changes.extend(version.pending_decrease_to.map(|to| format!("waits for capacity={}", to.get())));
        let at = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(version.at_unix_ms));
        table.push(vec![
            Cell::new(version.version.to_string()),
            Cell::new(at.to_string()),
            Cell::new(&version.status),
            Cell::new(changes.join(", ")),
        ]);
        before = after;
    }
    Ok(table)
}
