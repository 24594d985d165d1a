//! The signals that stop the program.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The bit of SIGHUP in the masks of `/proc/self/status`.
const HANGUP_BIT: u64 = 1;

/// What SIGHUP does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hangup {
    /// It stops the program, as the end of its terminal does.
    Stops,
    /// It makes the program read files again, which is done elsewhere.
    Reloads,
}

/// Ready when the process receives SIGTERM, SIGINT or, if `hangup` says so, SIGHUP.
///
/// SIGHUP stays ignored if it is ignored at the time of the call: `nohup` asks for that. Only Linux tells.
///
/// # Errors
///
/// A handler cannot be installed.
pub fn stop_signal(hangup: Hangup) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stops = hangup == Hangup::Stops && !is_hangup_ignored();
    let mut hangup = if stops { Some(signal(SignalKind::hangup())?) } else { None };
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = received(hangup.as_mut()) => {}
        }
    })
}

/// Ready when `signal` is received, and never without one.
async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & HANGUP_BIT != 0)
}
