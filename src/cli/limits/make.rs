//! Makes the changes of a plan. Each change names the version that it replaces, so two runs at once do not overwrite each
//! other.

use std::time::Duration;

use futures_util::future::join_all;
use ledger_limiter::client::{CallError, ErrorKind, Http};
use ledger_limiter::telemetry::with_sources;

use super::plan::{Change, Next, Present};

/// The changes that are under way at a time.
const AT_ONCE: usize = 16;
/// How often a change is tried.
const ATTEMPTS_MAX: u32 = 4;
/// The pause before the second attempt. It doubles with every further one.
const PAUSE: Duration = Duration::from_millis(100);

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Made {
    Done,
    /// The limit closes until enough of it is free for its lower capacity.
    Waits,
    Failed(String),
    /// An earlier change failed.
    NotTried,
}

/// Makes changes in their order, some at a time. After a failure it begins no further ones.
pub(super) async fn make_all(http: &Http, changes: &[Change]) -> Vec<Made> {
    let mut made = Vec::with_capacity(changes.len());
    for group in changes.chunks(AT_ONCE) {
        if made.iter().any(|made| matches!(made, Made::Failed(_))) {
            made.extend(group.iter().map(|_| Made::NotTried));
        } else {
            made.extend(join_all(group.iter().map(|change| make(http, change.clone()))).await);
        }
    }
    made
}

/// Makes one change. If the outcome is unknown, or the limit has another version, it looks what is there and decides again.
async fn make(http: &Http, mut change: Change) -> Made {
    let (mut attempt, mut pause) = (1, PAUSE);
    loop {
        let error = match send(http, &change).await {
            Ok(made) => return made,
            Err(error) => error,
        };
        let may_help = error.is_unknown() || error.kind() == ErrorKind::VersionConflict;
        if !may_help || attempt >= ATTEMPTS_MAX {
            return Made::Failed(with_sources(&error));
        }
        tokio::time::sleep(pause).await;
        (attempt, pause) = (attempt + 1, pause * 2);
        change = match look(http, change).await {
            Ok(Next::Done) => return Made::Done,
            Ok(Next::Repeat(change)) => *change,
            Ok(Next::GiveUp) => {
                return Made::Failed("somebody else has changed the limit meanwhile".to_owned());
            }
            Err(error) => return Made::Failed(error),
        };
    }
}

async fn send(http: &Http, change: &Change) -> Result<Made, CallError> {
    let expected = change.expects();
    match change {
        Change::Create(definition) | Change::Update { after: definition, .. } => {
            let status = http.put_limit(definition.clone(), expected).await?;
            Ok(if status.decreases_to().is_some() { Made::Waits } else { Made::Done })
        }
        // A limit that somebody else has just deleted is as wanted, too.
        Change::Delete(_) => http.delete_limit(change.key(), expected).await.map(|_| Made::Done),
    }
}

async fn look(http: &Http, change: Change) -> Result<Next, String> {
    let limit = http.limit(change.key()).await.map_err(|error| with_sources(&error))?;
    let present = limit.map(Present::of).transpose().map_err(|error| error.to_string())?;
    Ok(change.next(present))
}
