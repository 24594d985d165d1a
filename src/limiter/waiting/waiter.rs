//! A lease or an extend that waits, and what is told about it.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::queue::{Rank, WaiterId};
use crate::limit::LimitKey;
use crate::limiter::LimiterError;
use crate::protocol::{Reserve, ReserveOutcome};

/// What a caller that waits is told.
pub(super) type Answer = Result<ReserveOutcome, LimiterError>;

/// A lease or an extend that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) command: Arc<Reserve>,
    pub(super) rank: Rank,
    pub(super) progress: Progress,
    pub(super) phase: Phase,
    /// Its wait ends behind the attempt that is under way.
    pub(super) ends: bool,
    pub(super) was_queued: bool,
    /// Its first attempt is among those of [`State::first_attempts`](super::waiters::State).
    pub(super) is_first_attempt: bool,
    /// An extend is told when its turn has come, and carries itself out.
    pub(super) is_extend: bool,
    pub(super) callers: Vec<(u64, oneshot::Sender<Answer>)>,
}

/// How far the attempts at a lease have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Progress {
    /// The number of the next attempt. 0: the first one was not sent, or has no answer.
    pub(super) attempt: u8,
    /// The index of the requirement that found no room last.
    pub(super) limiting: usize,
}

/// What happens to a waiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// An attempt is under way.
    Trying,
    /// It stands in its queues.
    Queued,
    /// Its end is under way.
    Ending,
}

/// A waiter whose turn it is.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    pub(super) id: WaiterId,
    pub(super) command: Arc<Reserve>,
    pub(super) progress: Progress,
}

/// A caller among those of a waiter. It must leave when it goes.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) waiter: WaiterId,
    pub(super) number: u64,
    pub(super) answer: oneshot::Receiver<Answer>,
    pub(super) deadline: Instant,
}

/// What a reserve meets here.
pub(super) enum Entry {
    /// Its lease is new here, and ready to wait. Somebody must send it or queue it.
    New { seat: Seat, turn: Turn, is_behind: bool },
    /// Its lease is here already.
    Joined(Seat),
    /// Its lease is here for other requirements.
    Conflict,
    /// It does not wait, and a waiter of this limit is before it.
    Behind(LimitKey),
    /// It does not wait, and nobody is before it.
    Passes,
}

/// What to do with a waiter whose attempt has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// It waits. `starts` says that the asker must be started.
    Queued { starts: bool },
    /// Its wait ends now.
    Ends,
    /// All its callers have left.
    Gone,
}

impl Waiter {
    /// A waiter without callers yet.
    pub(super) fn new(command: Arc<Reserve>, rank: Rank, is_extend: bool) -> Self {
        Self {
            command,
            rank,
            progress: Progress::default(),
            phase: if is_extend { Phase::Queued } else { Phase::Trying },
            ends: false,
            was_queued: is_extend,
            is_first_attempt: false,
            is_extend,
            callers: Vec::with_capacity(1),
        }
    }

    /// Its turn.
    pub(super) fn turn(&self, id: WaiterId) -> Turn {
        Turn { id, command: Arc::clone(&self.command), progress: self.progress }
    }
}
