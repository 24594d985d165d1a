//! The subcommands for operators: limits of a running service, shell completions and manual pages.
//!
//! | file | what it is |
//! | --- | --- |
//! | `audit/` | `ratelimiterd audit`: checks the ledger without the limiter |
//! | `limits/` | `ratelimiterd limits`: reads and changes limits over HTTP |
//! | `top/` | `ratelimiterd top`: a live view of limits |
//! | `completions.rs` | `ratelimiterd completions` |
//! | `man.rs` | `ratelimiterd man` |

#[cfg(feature = "tigerbeetle")]
pub(crate) mod audit;
mod completions;
mod limits;
mod man;
#[cfg(feature = "top")]
mod top;

use clap::{ArgMatches, Command};

use limits::LimitsError;

/// How a subcommand ends if it does not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything is done, or there was nothing to do.
    Done,
    /// The service differs from the files, and nothing was changed: the exit code 2, as that of `diff`.
    Differs,
    /// The audit found a violation: the exit code 1.
    #[cfg(feature = "tigerbeetle")]
    Violated,
    /// The audit did not understand all of the ledger: the exit code 2.
    #[cfg(feature = "tigerbeetle")]
    NotUnderstood,
}

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Limits(#[from] LimitsError),
    #[cfg(feature = "tigerbeetle")]
    #[error(transparent)]
    Audit(#[from] audit::AuditError),
    #[error("standard output cannot be written")]
    Output(#[source] std::io::Error),
    #[cfg(feature = "top")]
    #[error("top needs a terminal; use limits watch instead")]
    NoTerminal,
    #[cfg(feature = "top")]
    #[error("the terminal cannot be used")]
    Terminal(#[source] std::io::Error),
    #[error("{path}: the manual pages cannot be written")]
    Manual {
        path: std::path::PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl CliError {
    /// Whether nobody reads the output any more, as behind `| head`. That needs no message.
    pub(crate) fn is_closed_output(&self) -> bool {
        match self {
            Self::Output(error) | Self::Limits(LimitsError::Output(error)) => {
                error.kind() == std::io::ErrorKind::BrokenPipe
            }
            Self::Limits(_) | Self::Manual { .. } => false,
            #[cfg(feature = "tigerbeetle")]
            Self::Audit(_) => false,
            #[cfg(feature = "top")]
            Self::NoTerminal | Self::Terminal(_) => false,
        }
    }
}

/// The subcommands.
pub(crate) fn commands() -> Vec<Command> {
    vec![
        limits::command(),
        #[cfg(feature = "top")]
        top::command(),
        completions::command(),
        man::command(),
    ]
}

/// Runs the subcommand `name`; `None` if it is none of [`commands`]. `program` is the whole command line.
pub(crate) fn run(name: &str, matches: &ArgMatches, program: Command) -> Option<Result<Exit, CliError>> {
    match name {
        "limits" => Some(limits::run(matches).map_err(CliError::from)),
        #[cfg(feature = "top")]
        "top" => Some(top::run(matches)),
        "completions" => Some(completions::run(matches, program)),
        "man" => Some(man::run(matches, program)),
        _ => None,
    }
}
