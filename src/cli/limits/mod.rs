//! `ratelimiterd limits`: reads and changes the limits of a running service.
//!
//! | file | what it is |
//! | --- | --- |
//! | `list.rs`, `get.rs`, `history.rs`, `export.rs`, `watch.rs` | the commands that read |
//! | `put.rs`, `delete.rs`, `apply.rs`, `diff.rs` | the commands that change, or show what would change |
//! | `plan.rs` | what to change, pure |
//! | `make.rs` | makes the changes of a plan |
//! | `report.rs` | shows a plan and what became of it |
//! | `files.rs` | reads definitions from files and folders |
//! | `fields.rs` | a definition as names and values |
//! | `shown.rs`, `table.rs`, `paint.rs`, `output.rs` | limits as rows and JSON; tables; colours; standard output |
//! | `service.rs` | the service: its flags, and what is read from it |

mod apply;
mod delete;
mod diff;
mod error;
mod export;
mod fields;
mod files;
mod get;
mod history;
mod list;
mod make;
mod output;
mod paint;
mod plan;
mod put;
mod report;
mod service;
mod shown;
mod table;
#[cfg(test)]
mod tests;
mod watch;

use clap::{Arg, ArgMatches, Command};
use ledger_limiter::client::{Definition, Http, LimitKey};

use super::Exit;
pub(crate) use error::LimitsError;
#[cfg(feature = "top")]
pub(super) use list::{asked_for, filter_flags};
use make::{Made, make_all};
use output::Output;
use plan::{Plan, Scope};
#[cfg(feature = "top")]
pub(super) use service::url;
pub(super) use service::{connect, flags as service_flags};

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or nothing to do
  1  an error; what was changed before it stays changed
  2  the service differs from the files (diff, and changes with --dry-run)";

/// The argument that names one limit.
const KEY: &str = "key";
/// The flag that restricts a command to some keys.
const PREFIX: &str = "prefix";

pub(super) fn command() -> Command {
    Command::new("limits")
        .about("Reads and changes the limits of a running service")
        .after_help(EXIT_CODES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args(service_flags())
        .subcommand(list::command())
        .subcommand(get::command())
        .subcommand(put::command())
        .subcommand(delete::command())
        .subcommand(history::command())
        .subcommand(watch::command())
        .subcommand(export::command())
        .subcommand(diff::command())
        .subcommand(apply::command())
}

/// Runs a command that calls a service.
pub(super) fn block_on<T, E: From<LimitsError>>(command: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    // One thread is enough: the program waits for the service most of the time.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().map_err(LimitsError::Runtime)?.block_on(command)
}

pub(super) fn run(matches: &ArgMatches) -> Result<Exit, LimitsError> {
    block_on(async {
        let Some((name, matches)) = matches.subcommand() else { return Ok(Exit::Done) };
        let http = connect(matches)?;
        match name {
            "list" => list::run(&http, matches).await,
            "get" => get::run(&http, matches).await,
            "put" => put::run(&http, matches).await,
            "delete" => delete::run(&http, matches).await,
            "history" => history::run(&http, matches).await,
            "watch" => watch::run(&http, matches).await,
            "export" => export::run(&http, matches).await,
            "diff" => diff::run(&http, matches).await,
            // clap accepts no other subcommand, and requires one.
            _ => apply::run(&http, matches).await,
        }
    })
}

fn key_argument() -> Arg {
    Arg::new(KEY).value_name("KEY").required(true).help("The key of a limit or template")
}

fn prefix_flag(help: &'static str) -> Arg {
    Arg::new(PREFIX).long(PREFIX).value_name("TEXT").help(help)
}

/// The text of an argument, empty if it is not given.
fn text<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches.get_one::<String>(name).map_or("", String::as_str)
}

/// The keys that an argument names.
fn keys(matches: &ArgMatches, name: &str) -> Result<Vec<LimitKey>, LimitsError> {
    matches.get_many::<String>(name).into_iter().flatten().map(|text| parse_key(text)).collect()
}

/// The key that an argument names.
fn key(matches: &ArgMatches) -> Result<LimitKey, LimitsError> {
    parse_key(text(matches, KEY))
}

fn parse_key(text: &str) -> Result<LimitKey, LimitsError> {
    LimitKey::parse_name(text).map_err(|source| LimitsError::Key { text: text.to_owned(), source })
}

/// Shows a plan, and makes its changes unless that is only asked for.
async fn carry_out(http: &Http, plan: &Plan, output: Output, is_dry: bool) -> Result<Exit, LimitsError> {
    report::show_plan(output, plan)?;
    if is_dry {
        report::show_result(output, plan, None)?;
        return Ok(if plan.changes.is_empty() { Exit::Done } else { Exit::Differs });
    }
    let made = make_all(http, &plan.changes).await;
    report::show_result(output, plan, Some(&made))?;
    let count = |is_such: fn(&Made) -> bool| made.iter().filter(|made| is_such(made)).count();
    match count(|made| matches!(made, Made::Failed(_))) {
        0 => Ok(Exit::Done),
        failed => {
            let untried = count(|made| matches!(made, Made::NotTried));
            Err(LimitsError::Changes { failed, untried, all: made.len() })
        }
    }
}

/// The plan that makes a service have these definitions.
async fn plan_for(http: &Http, wanted: &[Definition], scope: &Scope) -> Result<Plan, LimitsError> {
    Ok(plan::plan(wanted, service::present(http, wanted, scope).await?, scope)?)
}
