//! The limiter that an example runs against, chosen on its command line.

use std::env;
use std::error::Error;
use std::sync::Arc;

use ledger_limiter::client::{Http, InProcess};

/// The limiter that an example runs against.
pub(crate) enum Target {
    /// In the process of the example, with the limits of `examples/limits.json`.
    InProcess(InProcess),
    /// Behind a service with the same limits; `scripts/run` starts one.
    Server(Arc<Http>),
}

/// The service of `--target http://HOST:PORT`. Without the flag, a limiter in this process.
pub(crate) async fn from_args() -> Result<Target, Box<dyn Error>> {
    let mut args = env::args().skip(1);
    match (args.next().as_deref(), args.next(), args.next()) {
        (None, None, None) => Ok(Target::InProcess(in_process().await?)),
        (Some("--target"), Some(url), None) => Ok(Target::Server(Arc::new(Http::new(&url)?))),
        _ => Err("usage: [--target http://HOST:PORT]".into()),
    }
}

/// A limiter in this process.
pub(crate) async fn in_process() -> Result<InProcess, Box<dyn Error>> {
    Ok(InProcess::from_file(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/limits.json")).await?)
}
