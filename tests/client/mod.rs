//! The client library, over HTTP and in process.

mod errors;
mod faulty_server;
mod guard;
mod http;
mod in_process;
mod limiter;
mod objects;
mod permits;
mod recorder;
mod served_by;
#[cfg(feature = "client-tls")]
mod tls;
mod tokens;

use ledger_limiter::client::{AttemptResult, Requirements};

/// Requirements that are valid.
fn wants(list: &[(&str, u64)]) -> Requirements {
    Requirements::new(list.iter().copied()).expect("valid requirements")
}

fn is_granted(result: &AttemptResult) -> bool {
    matches!(result, AttemptResult::Granted { .. })
}
