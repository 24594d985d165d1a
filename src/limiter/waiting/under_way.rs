//! What must happen although a task of the waiting panics: its waiters get an answer, and the others an asker.

use std::sync::Arc;

use super::queue::WaiterId;
use super::waiters::Waiting;
use crate::ledger::Ledger;
use crate::limiter::Limiter;

/// Waiters whose attempts or ends are under way. If the task panics, their callers are told that the outcome is unknown.
pub(super) struct UnderWay {
    waiting: Arc<Waiting>,
    waiters: Vec<WaiterId>,
}

impl UnderWay {
    pub(super) fn new(waiting: &Arc<Waiting>, waiters: impl IntoIterator<Item = WaiterId>) -> Self {
        Self { waiting: Arc::clone(waiting), waiters: waiters.into_iter().collect() }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.waiters.iter().for_each(|waiter| self.waiting.abandon(*waiter));
        }
    }
}

/// The task that is the asker. If it panics, another one takes its place.
pub(super) struct AskerTask<L: Ledger>(pub(super) Limiter<L>);

impl<L: Ledger> Drop for AskerTask<L> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.start_asker_later();
        }
    }
}
