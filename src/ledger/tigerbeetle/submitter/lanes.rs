//! The lanes of the queue: one for small calls, one for large ones.
//!
//! # The problem
//!
//! In one line, twelve batches of 256 reserves of 32 limits are 98,304 transfers in front of a call that comes after
//! them. The ledger makes some 80,000 in a second.
//!
//! # The rule
//!
//! - A call of more than [`SMALL_TRANSFERS_MAX`] is large. Its chains keep their order, so it stays whole if it fits one
//!   request.
//! - While only one lane has messages, each request is filled from it, first come, first served.
//! - While both have, a request takes from each at most half of what fits, and small calls fill what is left. So a small
//!   call leaves with the next request or the one after it.
//! - If the first large message did not fit, the next request begins with it, whatever its length.
//! - Large calls leave an eighth of the queue to small ones ([`room_of_small_calls`]).
//!
//! # The cost
//!
//! Requests of large calls alone are as before. While small calls wait at every request, large calls have half of each,
//! or every second one.

use std::collections::VecDeque;

use super::batch;
use super::message::{CallSize, Message};
use super::stats::SubmitterStats;
use crate::ledger::Chain;

/// The most transfers of a small call: a batch of 256 reserves of one limit.
const SMALL_TRANSFERS_MAX: usize = 256;
/// The most transfers of a batch: 256 reserves of 32 limits.
const CALL_TRANSFERS_MAX: usize = 8_192;

/// The messages that wait, in two lanes.
pub(super) struct Lanes {
    small: Lane,
    large: Lane,
    /// Whether the last request had no room for the first message of the large lane.
    large_is_next: bool,
}

/// Messages in the order of their arrival.
#[derive(Default)]
struct Lane {
    messages: VecDeque<Message>,
    transfers: usize,
}

/// The messages of one request, while it is filled.
struct Filling<'a> {
    taken: Vec<Message>,
    transfers: usize,
    stats: &'a SubmitterStats,
}

impl Lanes {
    pub(super) fn new() -> Self {
        Self { small: Lane::default(), large: Lane::default(), large_is_next: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.small.messages.len() + self.large.messages.len()
    }

    pub(super) fn transfers(&self) -> usize {
        self.small.transfers + self.large.transfers
    }

    /// Adds a message at the end of its lane.
    pub(super) fn push(&mut self, message: Message) {
        let lane = match message.call_size {
            CallSize::Small => &mut self.small,
            CallSize::Large => &mut self.large,
        };
        lane.transfers += batch::count_transfers(&message.chains);
        lane.messages.push_back(message);
    }

    /// Takes messages for one request. Discards those whose caller has given up.
    pub(super) fn take(&mut self, transfers_max: usize, stats: &SubmitterStats) -> Vec<Message> {
        let mut filling = Filling { taken: Vec::new(), transfers: 0, stats };
        self.small.discard_abandoned(stats);
        self.large.discard_abandoned(stats);
        if self.small.messages.is_empty() {
            self.large.take(&mut filling, transfers_max);
        } else if self.large.messages.is_empty() {
            self.small.take(&mut filling, transfers_max);
        } else {
            let half = transfers_max / 2;
            if self.large_is_next {
                self.large.take_first(&mut filling);
            }
            self.small.take(&mut filling, half);
            let before = filling.taken.len();
            let large_max = (filling.transfers + half).min(transfers_max);
            self.large.take(&mut filling, large_max);
            self.large_is_next = !self.large_is_next && filling.taken.len() == before;
            self.small.take(&mut filling, transfers_max);
        }
        filling.taken
    }
}

impl Lane {
    /// Takes messages from the head on while the request has at most this many transfers. The first message of a request
    /// is taken whatever its length.
    fn take(&mut self, filling: &mut Filling<'_>, transfers_max: usize) {
        while let Some(message) = self.messages.front() {
            let transfers = filling.transfers + batch::count_transfers(&message.chains);
            if !filling.taken.is_empty() && transfers > transfers_max && !message.is_abandoned() {
                return;
            }
            self.take_first(filling);
        }
    }

    /// Takes the first message, or discards it if its caller has given up.
    fn take_first(&mut self, filling: &mut Filling<'_>) {
        let Some(mut message) = self.messages.pop_front() else { return };
        let transfers = batch::count_transfers(&message.chains);
        self.transfers -= transfers;
        if message.is_abandoned() {
            filling.stats.abandoned();
            return;
        }
        message.leave_queue();
        filling.taken.push(message);
        filling.transfers += transfers;
    }

    /// Discards messages at the head whose caller has given up.
    fn discard_abandoned(&mut self, stats: &SubmitterStats) {
        while self.messages.front().is_some_and(Message::is_abandoned) {
            if let Some(message) = self.messages.pop_front() {
                self.transfers -= batch::count_transfers(&message.chains);
                stats.abandoned();
            }
        }
    }
}

/// The transfers of a queue of this size that only small calls may fill. The largest call fits an empty queue.
pub(super) fn room_of_small_calls(queue_transfers_max: usize) -> usize {
    (queue_transfers_max / 8).min(queue_transfers_max.saturating_sub(CALL_TRANSFERS_MAX))
}

/// The size of the call that has these chains.
pub(super) fn call_size(chains: &[Chain]) -> CallSize {
    if batch::count_transfers(chains) <= SMALL_TRANSFERS_MAX { CallSize::Small } else { CallSize::Large }
}
