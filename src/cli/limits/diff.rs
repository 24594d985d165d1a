//! `ratelimiterd limits diff`: what `apply` would change.

use clap::{ArgMatches, Command};
use ledger_limiter::client::Http;

use super::output::{Output, json_flag};
use super::{Exit, LimitsError, apply, carry_out};

pub(super) fn command() -> Command {
    Command::new("diff")
        .about("Shows what apply would change, and exits with 2 if that is anything")
        .args(apply::flags())
        .arg(json_flag())
}

pub(super) async fn run(http: &Http, matches: &ArgMatches) -> Result<Exit, LimitsError> {
    carry_out(http, &apply::plan(http, matches).await?, Output::of(matches), true).await
}
