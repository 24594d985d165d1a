//! What is under way, and what becomes of it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::random::Random;
use crate::replica::Call;
use crate::session::{Request, Response};
use crate::swarm::{EventKind, Losses};

/// Something that happens at a moment.
pub(crate) enum Event {
    /// A request arrives at the cluster.
    Request { from: Incarnation, request: Request },
    /// An answer of the cluster arrives at a replica.
    Answer { to: Incarnation, answer: Response },
    /// A call arrives at a replica.
    Call(Call),
    /// A reply arrives at the callers.
    Reply(Response),
    /// A fault of this sort begins.
    Fault { kind: EventKind, mean_ms: u64 },
    /// A replica that was told to stop ends.
    End(Incarnation),
    /// A replica starts.
    Start(usize),
    /// A stalled replica runs again.
    Resume(Incarnation),
    /// A replica and the cluster reach each other again.
    Joined(usize),
    /// The cluster serves again.
    Served,
    /// All faults end.
    Heal,
    /// Every process is run, because one of its timers may be due.
    Heartbeat,
}

/// One run of a replica, from a start to a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Incarnation {
    pub(crate) replica: usize,
    pub(crate) number: u64,
}

struct Scheduled {
    at_ms: u64,
    /// Of two events of one moment, the one that is first by chance. The second number makes it unique.
    rank: (u64, u64),
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at_ms, self.rank) == (other.at_ms, other.rank)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ms, self.rank).cmp(&(other.at_ms, other.rank))
    }
}

/// The events to come, and the network through which messages go.
pub(crate) struct Network {
    scheduled: BinaryHeap<Reverse<Scheduled>>,
    count: u64,
    random: Random,
    pub(crate) losses: Losses,
    /// When the last request of a session arrives, and the last answer.
    last_ms: BTreeMap<(Incarnation, u64, bool), u64>,
    /// Faults so far, by sort.
    pub(crate) faults: BTreeMap<&'static str, u64>,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives { at_ms: u64 },
    Lost,
}

impl Network {
    pub(crate) fn new(losses: Losses, random: Random) -> Self {
        let (scheduled, last_ms) = (BinaryHeap::new(), BTreeMap::new());
        Self { scheduled, count: 0, random, losses, last_ms, faults: BTreeMap::new() }
    }

    pub(crate) fn schedule(&mut self, at_ms: u64, event: Event) {
        self.count += 1;
        let rank = (self.random.next(), self.count);
        self.scheduled.push(Reverse(Scheduled { at_ms, rank, event }));
    }

    /// The events of the next moment.
    pub(crate) fn next(&mut self) -> Option<(u64, Vec<Event>)> {
        let at_ms = self.scheduled.peek()?.0.at_ms;
        let mut events = Vec::new();
        while self.scheduled.peek().is_some_and(|Reverse(next)| next.at_ms == at_ms) {
            events.extend(self.scheduled.pop().map(|Reverse(next)| next.event));
        }
        Some((at_ms, events))
    }

    pub(crate) fn count_fault(&mut self, sort: &'static str) {
        *self.faults.entry(sort).or_default() += 1;
    }

    /// The fate of a message between a replica and the cluster. Messages of one session keep their order.
    pub(crate) fn fate_in_session(
        &mut self,
        now_ms: u64,
        from: Incarnation,
        session: u64,
        is_request: bool,
    ) -> Fate {
        let (lost, sort) = match is_request {
            true => (self.losses.request_lost, "requests lost"),
            false => (self.losses.answer_lost, "answers lost"),
        };
        let Fate::Arrives { mut at_ms } = self.fate(now_ms, lost, sort) else { return Fate::Lost };
        if self.random.chance(self.losses.late) {
            self.count_fault("messages late");
            at_ms += self.random.between(1_000, 4_000);
        }
        let last_ms = self.last_ms.entry((from, session, is_request)).or_default();
        at_ms = at_ms.max(*last_ms);
        *last_ms = at_ms;
        Fate::Arrives { at_ms }
    }

    /// The fate of a call to a replica, or of its reply.
    pub(crate) fn fate_of_call(&mut self, now_ms: u64, is_reply: bool) -> Fate {
        match is_reply {
            true => self.fate(now_ms, self.losses.reply_lost, "replies lost"),
            false => self.fate(now_ms, self.losses.call_lost, "calls lost"),
        }
    }

    fn fate(&mut self, now_ms: u64, lost: u64, sort: &'static str) -> Fate {
        if self.random.chance(lost) {
            self.count_fault(sort);
            return Fate::Lost;
        }
        Fate::Arrives { at_ms: now_ms + self.random.between(1, self.losses.delay_ms) }
    }
}
