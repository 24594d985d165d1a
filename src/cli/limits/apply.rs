//! `ratelimiterd limits apply`: makes a service have the limits of files.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use ledger_limiter::client::Http;

use super::output::{Output, json_flag};
use super::plan::{Plan, Scope};
use super::{Exit, LimitsError, PREFIX, carry_out, files, plan_for, prefix_flag, text};

const FILE: &str = "file";
const PRUNE: &str = "prune";
const DRY_RUN: &str = "dry-run";

pub(super) fn command() -> Command {
    Command::new("apply")
        .about("Creates and changes limits so that the service has those of files; shows the plan before")
        .args(flags())
        .arg(dry_run_flag())
        .arg(json_flag())
}

/// The flags that say what is wanted.
pub(super) fn flags() -> [Arg; 3] {
    [
        Arg::new(FILE)
            .short('f')
            .long(FILE)
            .value_name("PATH")
            .required(true)
            .action(ArgAction::Append)
            .value_parser(value_parser!(PathBuf))
            .help("A .json, .yaml or .yml file, a folder of them, or - for standard input; can be repeated"),
        prefix_flag("Accepts only definitions whose keys begin with this text"),
        Arg::new(PRUNE)
            .long(PRUNE)
            .action(ArgAction::SetTrue)
            .requires(PREFIX)
            .help("Deletes the limits and templates of --prefix that the files do not define"),
    ]
}

pub(super) fn dry_run_flag() -> Arg {
    Arg::new(DRY_RUN)
        .long(DRY_RUN)
        .action(ArgAction::SetTrue)
        .help("Only shows the plan, and exits with 2 if it changes anything")
}

pub(super) fn is_dry(matches: &ArgMatches) -> bool {
    matches.get_flag(DRY_RUN)
}

/// What to change so that the service has the limits of the files.
pub(super) async fn plan(http: &Http, matches: &ArgMatches) -> Result<Plan, LimitsError> {
    let paths: Vec<PathBuf> = matches.get_many::<PathBuf>(FILE).into_iter().flatten().cloned().collect();
    let wanted = files::read(&paths)?;
    let scope = Scope { prefix: text(matches, PREFIX).to_owned(), prunes: matches.get_flag(PRUNE) };
    plan_for(http, &wanted, &scope).await
}

pub(super) async fn run(http: &Http, matches: &ArgMatches) -> Result<Exit, LimitsError> {
    carry_out(http, &plan(http, matches).await?, Output::of(matches), is_dry(matches)).await
}
