//! `ratelimiterd audit`: checks the ledger of a TigerBeetle cluster, without the limiter.
//!
//! | file | what it is |
//! | --- | --- |
//! | `mod.rs` | the command, and what it reads |
//! | `show.rs` | a report as text and as JSON |
//! | `progress.rs` | rate and time left, on a terminal |

mod progress;
mod show;

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Arg, ArgAction, ArgMatches, Command};
use ledger_limiter::audit::{Report, audit, lease_story, limit_story};
use ledger_limiter::ledger::raw::RawLedger;
use ledger_limiter::ledger::tigerbeetle::{TigerBeetleLedger, TigerBeetleOptions};
use ledger_limiter::ledger::{AccountId, Ledger, LedgerError};
use ledger_limiter::limit::LeaseId;
use ledger_limiter::server::config::TigerBeetleSettings;

use super::{CliError, Exit};
use progress::ProgressLine;

pub(crate) const NAME: &str = "audit";
const JSON: &str = "json";
const LEASE: &str = "lease";
const LIMIT: &str = "limit";
const AT: &str = "at";

/// How long the cluster may take to answer at first.
const FIRST_ANSWER: Duration = Duration::from_secs(30);

const EXIT_CODES: &str = "\
Exit codes:
  0  every law holds
  1  an error, or a law is violated
  2  no violation, but the ledger holds what this version does not understand";

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditError {
    #[error("the ledger cannot be read")]
    Ledger(#[from] LedgerError),
    #[error("the cluster did not answer within {} s: {fault}", FIRST_ANSWER.as_secs())]
    Silent { fault: String },
    #[error("{text:?} is no lease id: {message}")]
    LeaseId { text: String, message: String },
    #[error("--at: {text:?} is no time such as 2026-11-28T10:52:18Z")]
    Time { text: String },
    #[error("the ledger knows no {0}")]
    Unknown(String),
    #[error("cannot start the threads of the runtime")]
    Runtime(#[source] std::io::Error),
    #[error("the report cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// The command, without the flags of settings.
pub(crate) fn command() -> Command {
    let lease = Command::new(LEASE)
        .about("Tells what happened to a lease")
        .arg(Arg::new(LEASE).value_name("ID").required(true).help("The lease id, a ULID"));
    let limit = Command::new(LIMIT)
        .about("Tells the versions of a limit, and how it stood at a moment; reads every transfer up to then")
        .arg(Arg::new(LIMIT).value_name("KEY").required(true).help("The key of the limit"))
        .arg(
            Arg::new(AT)
                .long(AT)
                .value_name("TIME")
                .help("The moment, such as 2026-11-28T10:52:18Z [default: now]"),
        );
    Command::new(NAME)
        .about(
            "Proves from the ledger alone that no limit was exceeded, or names the transfers that refute it",
        )
        .after_help(EXIT_CODES)
        .arg(
            Arg::new(JSON)
                .long(JSON)
                .action(ArgAction::SetTrue)
                .help("Prints JSON for scripts instead of text"),
        )
        .subcommand(lease)
        .subcommand(limit)
}

pub(crate) fn run(settings: &TigerBeetleSettings, matches: &ArgMatches) -> Result<Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(AuditError::Runtime)?;
    runtime.block_on(async {
        let mut options = TigerBeetleOptions::from(settings);
        // Nothing is written.
        options.submitter.sessions = 1;
        let number = options.ledger;
        let ledger = TigerBeetleLedger::connect(options);
        let now_ns = first_answer(&ledger).await?;
        match matches.subcommand() {
            Some((LEASE, matches)) => tell_lease(&ledger, number, matches).await,
            Some((LIMIT, matches)) => tell_limit(&ledger, number, matches, now_ns).await,
            Some(_) | None => audit_all(&ledger, number, matches.get_flag(JSON), now_ns).await,
        }
    })
}

/// Waits until the cluster answers. Returns its time.
async fn first_answer(ledger: &TigerBeetleLedger) -> Result<u64, AuditError> {
    let any_account = ledger.raw_accounts(vec![AccountId::from_u128(1)]);
    match tokio::time::timeout(FIRST_ANSWER, any_account).await {
        Ok(answer) => Ok(answer?.1),
        Err(_) => {
            let fault = ledger.likely_fault().unwrap_or_else(|| "no fault is known".to_owned());
            Err(AuditError::Silent { fault })
        }
    }
}

async fn audit_all(
    ledger: &TigerBeetleLedger,
    number: u32,
    is_json: bool,
    now_ns: u64,
) -> Result<Exit, CliError> {
    let mut line = ProgressLine::new(now_ns);
    let report = audit(ledger, number, |progress| line.show(progress)).await.map_err(AuditError::Ledger)?;
    line.clear();
    let text = if is_json {
        serde_json::to_string_pretty(&show::json(&report)).map_err(AuditError::Json)?
    } else {
        show::text(&report)
    };
    print(&text)?;
    Ok(exit(&report))
}

fn exit(report: &Report) -> Exit {
    match (report.violations, report.is_clean()) {
        (0, true) => Exit::Done,
        (0, false) => Exit::NotUnderstood,
        (_, _) => Exit::Violated,
    }
}

async fn tell_lease(ledger: &TigerBeetleLedger, number: u32, matches: &ArgMatches) -> Result<Exit, CliError> {
    let text = matches.get_one::<String>(LEASE).cloned().unwrap_or_default();
    let lease = LeaseId::parse(&text)
        .map_err(|error| AuditError::LeaseId { text: text.clone(), message: error.to_string() })?;
    let story = lease_story(ledger, number, lease.as_u128()).await.map_err(AuditError::Ledger)?;
    print_story(story, || format!("lease {text}"))
}

async fn tell_limit(
    ledger: &TigerBeetleLedger,
    number: u32,
    matches: &ArgMatches,
    now_ns: u64,
) -> Result<Exit, CliError> {
    let key = matches.get_one::<String>(LIMIT).cloned().unwrap_or_default();
    let at_ns = match matches.get_one::<String>(AT) {
        Some(text) => {
            let time = humantime::parse_rfc3339_weak(text).ok();
            let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let ns = since.and_then(|since| u64::try_from(since.as_nanos()).ok());
            ns.ok_or_else(|| AuditError::Time { text: text.clone() })?
        }
        None => now_ns,
    };
    let story = limit_story(ledger, number, &key, at_ns).await.map_err(AuditError::Ledger)?;
    print_story(story, || format!("limit {key} at that time"))
}

fn print_story(story: Vec<(u64, String)>, what: impl Fn() -> String) -> Result<Exit, CliError> {
    if story.is_empty() {
        return Err(AuditError::Unknown(what()).into());
    }
    for (at_ns, sentence) in story {
        print(&format!("{}  {sentence}", show::time(at_ns)))?;
    }
    Ok(Exit::Done)
}

fn print(text: &str) -> Result<(), CliError> {
    writeln!(std::io::stdout(), "{text}").map_err(CliError::Output)
}

/// A moment of the ledger.
fn moment(ns: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(ns)
}
