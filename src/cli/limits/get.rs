//! `ratelimiterd limits get`.

use clap::{ArgMatches, Command};
use ledger_limiter::client::{Http, LimitInfo};

use super::fields::{Fields, shown as shown_value};
use super::output::{Output, json_flag};
use super::table::{Align, Cell, Table};
use super::{Exit, LimitsError, key, key_argument, shown};

const COLUMNS: &[(&str, Align)] = &[("FIELD", Align::Left), ("VALUE", Align::Left)];

pub(super) fn command() -> Command {
    Command::new("get").about("Shows one limit with its usage").arg(key_argument()).arg(json_flag())
}

pub(super) async fn run(http: &Http, matches: &ArgMatches) -> Result<Exit, LimitsError> {
    let key = key(matches)?;
    let limit = http.limit(&key).await.map_err(LimitsError::call(format!("reading limit {key}")))?;
    let limit = limit.ok_or(LimitsError::UnknownKey(key))?;
    let output = Output::of(matches);
    if output.is_json {
        output.json(&shown::json(&limit))?;
    } else {
        output.table(&table(&limit)?)?;
    }
    Ok(Exit::Done)
}

fn table(limit: &LimitInfo) -> Result<Table, LimitsError> {
    let mut table = Table::new(COLUMNS);
    for (name, value) in Fields::of(&limit.definition)?.iter() {
        table.push(vec![Cell::new(name), Cell::new(shown_value(Some(value)))]);
    }
    let (style, status) = shown::status(limit);
    table.push(vec![Cell::new("status"), Cell::styled(style, status)]);
    table.push(vec![Cell::new("version"), Cell::new(limit.version.to_string())]);
    let usage = limit.usage;
    // Of a template, these are numbers of instances, and its status tells them.
    if limit.definition.instances_max.is_none() {
        for (name, amount) in
            [("available", usage.available), ("reserved", usage.reserved), ("debt", usage.debt)]
        {
            table.push(vec![Cell::new(name), Cell::new(amount.to_string())]);
        }
    }
    Ok(table)
}
