//! `ratelimiterd limits list`.

use clap::{Arg, ArgMatches, Command};
use ledger_limiter::client::{Http, LimitsOf};
use ledger_limiter::protocol;

use super::output::{Output, json_flag};
use super::table::Table;
use super::{Exit, LimitsError, PREFIX, keys, prefix_flag, shown, text};

const TEMPLATE: &str = "template";

pub(super) fn command() -> Command {
    Command::new("list")
        .about("Lists limits and templates with their usage, sorted by key")
        .args(filter_flags())
        .arg(json_flag())
}

/// The flags that say which limits to show.
pub(in crate::cli) fn filter_flags() -> [Arg; 2] {
    let template = Arg::new(TEMPLATE)
        .long(TEMPLATE)
        .value_name("KEY")
        .help("Shows the instances of this template, and not limits and templates");
    [prefix_flag("Only keys that begin with this text"), template]
}

/// Which limits the flags ask for.
pub(in crate::cli) fn asked_for(matches: &ArgMatches) -> Result<LimitsOf, LimitsError> {
    let template = keys(matches, TEMPLATE)?.into_iter().next();
    Ok(LimitsOf { prefix: text(matches, PREFIX).to_owned(), template })
}

pub(super) async fn run(http: &Http, matches: &ArgMatches) -> Result<Exit, LimitsError> {
    let limits = http.limits(&asked_for(matches)?).await;
    let limits = limits.map_err(LimitsError::call("reading the limits"))?;
    let output = Output::of(matches);
    if output.is_json {
        output.json(&limits.iter().map(shown::json).collect::<Vec<protocol::LimitInfo>>())?;
    } else {
        let mut table = Table::new(shown::COLUMNS);
        limits.iter().for_each(|limit| table.push(shown::row(limit)));
        output.table(&table)?;
    }
    Ok(Exit::Done)
}
