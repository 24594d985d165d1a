//! What a seed draws. Each run has some sorts of faults and some limits and workloads, and not others: what one sort would hide
//! shows where it is missing.

use crate::limits::{self, Planned};
use crate::process::ClockSkew;
use crate::random::Random;

/// Everything that a seed determines before the run.
#[derive(Debug, Clone)]
pub(crate) struct Swarm {
    pub(crate) replicas: usize,
    pub(crate) callers: usize,
    /// The sessions of each replica. Requests keep their order within a session only.
    pub(crate) sessions: u64,
    /// Whether replicas deny calls on exhausted limits by themselves, and remember leases.
    pub(crate) caches: bool,
    /// When all faults end.
    pub(crate) heals_at_ms: u64,
    pub(crate) limits: Vec<Planned>,
    pub(crate) mix: Mix,
    pub(crate) network: Losses,
    pub(crate) events: Vec<(EventKind, u64)>,
    /// The skew of each replica's clocks at its first start.
    pub(crate) skews: Vec<ClockSkew>,
}

/// What callers do, in chances of a thousand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mix {
    pub(crate) waits: u64,
    pub(crate) looks: u64,
    pub(crate) forces: u64,
    pub(crate) extends: u64,
    pub(crate) renews: u64,
    pub(crate) overspends: u64,
    /// Leases that are never completed.
    pub(crate) abandons: u64,
    /// Requests that are sent to two replicas at once.
    pub(crate) doubles: u64,
    /// Requests that are sent to another replica than the caller's own.
    pub(crate) strays: u64,
    /// The longest time between two leases of a caller.
    pub(crate) pause_ms: u64,
    /// The longest time that a lease is held.
    pub(crate) hold_ms: u64,
}

/// What the network does to a message, in chances of a thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Losses {
    pub(crate) request_lost: u64,
    pub(crate) answer_lost: u64,
    /// Delayed for longer than anybody waits for it.
    pub(crate) late: u64,
    pub(crate) call_lost: u64,
    pub(crate) reply_lost: u64,
    /// The longest delay of an ordinary message.
    pub(crate) delay_ms: u64,
}

impl Losses {
    /// A network without faults.
    pub(crate) const NONE: Self =
        Self { request_lost: 0, answer_lost: 0, late: 0, call_lost: 0, reply_lost: 0, delay_ms: 2 };
}

/// A sort of fault that happens at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EventKind {
    /// A replica dies, and starts again.
    Crash,
    /// A replica stops as it is told to: it ends waits and returns its allotments; then it starts again.
    Stop,
    /// A replica does not run for a while.
    Stall,
    /// The cluster evicts the sessions of a replica.
    Evict,
    /// A replica and the cluster do not reach each other for a while.
    Cut,
    /// The cluster serves nobody for a while.
    Outage,
    /// The wall clock of a replica is set.
    ClockJump,
}

impl EventKind {
    const ALL: [(Self, u64); 7] = [
        (Self::Crash, 3_000),
        (Self::Stop, 4_000),
        (Self::Stall, 2_500),
        (Self::Evict, 2_000),
        (Self::Cut, 4_000),
        (Self::Outage, 5_000),
        (Self::ClockJump, 1_500),
    ];
}

impl Swarm {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let replicas = random.between(1, 3) as usize;
        let limits = limits::draw(random);
        let skews = (0..replicas)
            .map(|_| ClockSkew { fast_ppm: random.around_zero(400), ahead_ms: random.around_zero(2_000) })
            .collect();
        Self {
            replicas,
            callers: random.between(2, 8) as usize,
            sessions: random.between(1, 4),
            caches: random.chance(500),
            heals_at_ms: random.between(2_000, 6_000),
            limits,
            mix: Mix::draw(random),
            network: Losses::draw(random),
            events: draw_events(random),
            skews,
        }
    }
}

/// Half of the runs have none of it.
fn sometimes(random: &mut Random, most: u64) -> u64 {
    if random.chance(500) { random.between(1, most) } else { 0 }
}

impl Mix {
    fn draw(random: &mut Random) -> Self {
        Self {
            waits: sometimes(random, 700),
            looks: sometimes(random, 100),
            forces: sometimes(random, 100),
            extends: sometimes(random, 400),
            renews: sometimes(random, 400),
            overspends: sometimes(random, 300),
            abandons: sometimes(random, 150),
            doubles: sometimes(random, 300),
            strays: sometimes(random, 600),
            pause_ms: *random.pick(&[5, 50, 300]),
            hold_ms: *random.pick(&[5, 100, 600, 2_500]),
        }
    }
}

impl Losses {
    fn draw(random: &mut Random) -> Self {
        Self {
            request_lost: sometimes(random, 80),
            answer_lost: sometimes(random, 80),
            late: sometimes(random, 50),
            call_lost: sometimes(random, 80),
            reply_lost: sometimes(random, 80),
            delay_ms: *random.pick(&[1, 5, 30, 150]),
        }
    }
}

/// Some sorts of faults, each with the mean time between two of them.
fn draw_events(random: &mut Random) -> Vec<(EventKind, u64)> {
    let mut events = Vec::new();
    for (kind, longest_ms) in EventKind::ALL {
        if random.chance(400) {
            events.push((kind, random.between(longest_ms / 6, longest_ms)));
        }
    }
    events
}
