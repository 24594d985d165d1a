//! Why `ratelimiterd limits` failed.

use ledger_limiter::client::{BearerTokenError, CallError, HttpError, KeyError, LimitKey};

use super::files::FilesError;
use super::plan::PlanError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum LimitsError {
    #[error("the threads of the runtime cannot be started")]
    Runtime(#[source] std::io::Error),
    #[error("--server")]
    Server(#[from] HttpError),
    #[error("--token-file")]
    Token(#[from] BearerTokenError),
    #[error("key {text:?}: the key {source}")]
    Key { text: String, source: KeyError },
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("{doing} failed")]
    Call {
        doing: String,
        #[source]
        source: CallError,
    },
    #[error("there is no limit {0}")]
    UnknownKey(LimitKey),
    #[error("limit {key}: {message}")]
    Definition { key: LimitKey, message: String },
    #[error("{failed} of {all} changes failed, and {untried} were not tried; run the command again")]
    Changes { failed: usize, untried: usize, all: usize },
    #[error("standard output cannot be written")]
    Output(#[source] std::io::Error),
    #[error("the definitions cannot be written as YAML: {0}")]
    Yaml(String),
}

impl LimitsError {
    /// A call failed while the program did something, such as `reading the limits`.
    pub(in crate::cli) fn call(doing: impl Into<String>) -> impl FnOnce(CallError) -> Self {
        move |source| Self::Call { doing: doing.into(), source }
    }
}

impl From<serde_json::Error> for LimitsError {
    fn from(error: serde_json::Error) -> Self {
        Self::Output(error.into())
    }
}
