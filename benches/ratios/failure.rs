//! Why a measurement fails.

use std::path::PathBuf;

use ledger_limiter::limiter::LimiterError;
use ledger_limiter::registry::AdminError;
use tigerbeetle_unofficial::core::error::SendError;
use tigerbeetle_unofficial::error::NewClientError;

/// Why a measurement gave no number.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A program is missing or could not be run.
    #[error("{program} could not be run")]
    Run {
        program: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A program failed, or its output cannot be read.
    #[error("{program}: {message}")]
    Program { program: PathBuf, message: String },
    /// A program was not ready in time.
    #[error("{0} was not ready in time")]
    NotReady(&'static str),
    /// An environment variable is missing; the script sets it.
    #[error("{0} is not set; scripts/bench sets it")]
    NotSet(&'static str),
    /// A file or a folder could not be used.
    #[error("{what}")]
    File {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
    /// A file of the kernel lacks a value.
    #[error("the kernel does not report {0}")]
    Kernel(&'static str),
    /// The report of the load generator cannot be read.
    #[error("the report of the load generator cannot be read")]
    LoadResult(#[from] serde_json::Error),
    /// The load had other outcomes than the measurement needs.
    #[error("the load had other outcomes than the measurement needs: {0}")]
    Load(String),
    /// The limiter gave no answer.
    #[error("the limiter gave no answer")]
    Limiter(#[from] LimiterError),
    /// A limit could not be made.
    #[error("a limit could not be made")]
    Admin(#[from] AdminError),
    /// A key, an amount, a definition or a command of this bench is not valid.
    #[error("the bench built something that is not valid: {0}")]
    Invalid(String),
    /// The client crate could not be started.
    #[error("the client could not be started")]
    Client(#[from] NewClientError),
    /// The client crate did not send a request.
    #[error("the client did not send")]
    Send(#[from] SendError),
    /// The ledger refused a part of a request.
    #[error("the ledger refused {0} bytes' worth of events")]
    Refused(usize),
    /// A session ended before it answered.
    #[error("a session ended without an answer")]
    Ended,
    /// A thread panicked.
    #[error("a thread panicked")]
    Panicked,
    /// Nothing was measured, so there is no median.
    #[error("nothing was measured")]
    Nothing,
}

impl Failure {
    /// Makes the failure of a file or a folder from its error.
    pub(crate) fn file(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { what, source }
    }

    /// Makes the failure of a value that its constructor refused.
    pub(crate) fn invalid(error: &dyn std::fmt::Display) -> Self {
        Self::Invalid(error.to_string())
    }
}
