//! `ratelimiterd limits delete`.

use clap::{ArgAction, ArgMatches, Command};
use ledger_limiter::client::Http;

use super::apply::{dry_run_flag, is_dry};
use super::output::{Output, json_flag, note};
use super::plan::{Change, Plan, Present};
use super::{Exit, KEY, LimitsError, carry_out, key_argument, keys};

pub(super) fn command() -> Command {
    Command::new("delete")
        .about("Deletes limits and templates; a key without a limit is nothing to do")
        .arg(key_argument().action(ArgAction::Append).num_args(1..))
        .arg(dry_run_flag())
        .arg(json_flag())
}

pub(super) async fn run(http: &Http, matches: &ArgMatches) -> Result<Exit, LimitsError> {
    let mut keys = keys(matches, KEY)?;
    keys.sort();
    keys.dedup();
    let mut plan = Plan::default();
    for key in keys {
        match http.limit(&key).await.map_err(LimitsError::call(format!("reading limit {key}")))? {
            Some(limit) => plan.changes.push(Change::Delete(Present::of(limit)?)),
            None => note(&format!("there is no limit {key}")),
        }
    }
    carry_out(http, &plan, Output::of(matches), is_dry(matches)).await
}
