//! The queues of waiters, one for each limit: who is before whom, and whose turn it is. Pure: no clock, no lock, no ledger.
//!
//! A waiter stands in the queues of all limits that it names. Its turn comes when it is the first of each of them.

use std::cmp::Reverse;
use std::collections::btree_map::Values;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::iter::Peekable;
use std::sync::Arc;

use crate::limit::{LimitKey, QueueOrder, Queueing};
use crate::protocol::{PRIORITY_MAX, Reserve};

/// Names a waiter in this process. Later waiters have larger ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WaiterId(pub(super) u64);

/// When a waiter came, and what its priority makes of that. It never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rank {
    arrived_us: i64,
    priority: u8,
    /// The arrival less what the priority is worth. The lowest is served first.
    ranked_us: i64,
}

impl Rank {
    /// The rank of a waiter that arrived so many microseconds after a moment that all ranks share. Each level of the priority is
    /// worth `aging_us` of waiting.
    pub(super) fn new(arrived_us: i64, priority: u8, aging_us: i64) -> Self {
        let ranked_us = arrived_us.saturating_sub(aging_us.saturating_mul(priority.into()));
        Self { arrived_us, priority, ranked_us }
    }
}

/// Where a waiter stands in a queue; the lowest is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Position {
    OldestFirst { ranked_us: i64, id: WaiterId },
    NewestFirst(Reverse<u8>, AmongNewest),
}

/// Where a waiter stands among those of its priority in a queue that is newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum AmongNewest {
    /// It waits for several limits.
    Several { arrived_us: i64, id: WaiterId },
    /// It waits for this limit alone.
    Alone { arrived_us: Reverse<i64>, id: Reverse<WaiterId> },
}

impl Position {
    fn new(order: QueueOrder, rank: Rank, is_alone: bool, id: WaiterId) -> Self {
        let Rank { arrived_us, priority, ranked_us } = rank;
        match order {
            QueueOrder::OldestFirst => Self::OldestFirst { ranked_us, id },
            QueueOrder::NewestFirst => {
                let among = match is_alone {
                    true => AmongNewest::Alone { arrived_us: Reverse(arrived_us), id: Reverse(id) },
                    false => AmongNewest::Several { arrived_us, id },
                };
                Self::NewestFirst(Reverse(priority), among)
            }
        }
    }
}

impl Position {
    /// Before all that wait for this limit alone with this priority, in a queue that is newest first.
    fn first_alone(priority: u8) -> Self {
        let among = AmongNewest::Alone { arrived_us: Reverse(i64::MAX), id: Reverse(WaiterId(u64::MAX)) };
        Self::NewestFirst(Reverse(priority), among)
    }

    /// Whether this is the position of a waiter for this limit alone, in a queue that is newest first.
    fn is_alone(&self) -> bool {
        matches!(self, Self::NewestFirst(_, AmongNewest::Alone { .. }))
    }
}

#[derive(Debug, Default)]
struct Queue {
    order: QueueOrder,
    positions: BTreeMap<Position, WaiterId>,
    units: u128,
}

impl Queue {
    /// Whether a waiter that blocks others stands before this position.
    fn is_anybody_before(&self, position: Position) -> bool {
        match position {
            Position::OldestFirst { .. } => {
                self.positions.first_key_value().is_some_and(|(first, _)| *first < position)
            }
            // Waiters over several limits block nobody there.
            Position::NewestFirst(Reverse(own), _) => {
                let highest = u8::try_from(PRIORITY_MAX).unwrap_or(u8::MAX);
                (own..=highest).map(Position::first_alone).filter(|first| *first < position).any(|first| {
                    self.positions.range(first..position).next().is_some_and(|(before, _)| before.is_alone())
                })
            }
        }
    }
}

#[derive(Debug)]
struct Standing {
    command: Arc<Reserve>,
    rank: Rank,
}

impl Standing {
    fn position(&self, order: QueueOrder, id: WaiterId) -> Position {
        Position::new(order, self.rank, is_alone(&self.command), id)
    }
}

fn is_alone(command: &Reserve) -> bool {
    command.requirements().len() == 1
}

/// Every queue with waiters.
#[derive(Debug, Default)]
pub(super) struct Queues {
    queues: HashMap<LimitKey, Queue>,
    standing: HashMap<WaiterId, Standing>,
}

/// Whose turn it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Turns {
    /// These fit into the room together. In the order in which they are served.
    pub(super) fitting: Vec<WaiterId>,
    /// Their turn has come, and the room of a limit that they name is not known.
    pub(super) unseen: Vec<WaiterId>,
}

impl Queues {
    /// How many waiters there are.
    pub(super) fn len(&self) -> usize {
        self.standing.len()
    }

    /// The units of a limit that are waited for.
    pub(super) fn units(&self, key: &LimitKey) -> u128 {
        self.queues.get(key).map_or(0, |queue| queue.units)
    }

    /// The waiters of a limit.
    pub(super) fn waiters(&self, key: &LimitKey) -> usize {
        self.queues.get(key).map_or(0, |queue| queue.positions.len())
    }

    /// The limits with waiters.
    pub(super) fn keys(&self) -> impl Iterator<Item = &LimitKey> {
        self.queues.keys()
    }

    /// What a waiter waits for.
    pub(super) fn command(&self, id: WaiterId) -> Option<&Arc<Reserve>> {
        Some(&self.standing.get(&id)?.command)
    }

    /// Whether a newcomer would be behind a waiter. The waiter's limit is the answer.
    pub(super) fn behind<'a>(&self, command: &'a Reserve, rank: Rank) -> Option<&'a LimitKey> {
        let newcomer = WaiterId(u64::MAX);
        let is_behind = |key: &&LimitKey| {
            let Some(queue) = self.queues.get(*key) else { return false };
            let position = Position::new(queue.order, rank, is_alone(command), newcomer);
            queue.is_anybody_before(position)
        };
        command.requirements().iter().map(|requirement| &requirement.key).find(is_behind)
    }

    /// Whether every queue has a place for the command.
    pub(super) fn has_places(&self, command: &Reserve, queueing: impl Fn(&LimitKey) -> Queueing) -> bool {
        command.requirements().iter().all(|requirement| {
            let waiting = self.units(&requirement.key) + u128::from(requirement.amount);
            queueing(&requirement.key).max_waiting.is_none_or(|max| waiting <= max.into())
        })
    }

    /// Puts a waiter into the queues of all its limits.
    pub(super) fn insert(
        &mut self,
        id: WaiterId,
        command: Arc<Reserve>,
        rank: Rank,
        queueing: impl Fn(&LimitKey) -> Queueing,
    ) {
        let standing = Standing { command, rank };
        for requirement in standing.command.requirements() {
            let order = queueing(&requirement.key).order;
            let queue = self.queues.entry(requirement.key.clone()).or_default();
            if queue.order != order {
                queue.order = order;
                let others = &self.standing;
                let again = queue
                    .positions
                    .values()
                    .filter_map(|&id| Some((others.get(&id)?.position(order, id), id)));
                queue.positions = again.collect();
            }
            queue.positions.insert(standing.position(order, id), id);
            queue.units += u128::from(requirement.amount);
        }
        self.standing.insert(id, standing);
    }

    /// Takes a waiter out of its queues. Whether it was there.
    pub(super) fn remove(&mut self, id: WaiterId) -> bool {
        let Some(standing) = self.standing.remove(&id) else { return false };
        for requirement in standing.command.requirements() {
            let Some(queue) = self.queues.get_mut(&requirement.key) else { continue };
            queue.positions.remove(&standing.position(queue.order, id));
            queue.units -= u128::from(requirement.amount);
            if queue.positions.is_empty() {
                self.queues.remove(&requirement.key);
            }
        }
        true
    }

    /// Whose turn it is in the queues of `keys`, if this is the room of the limits that were looked at.
    pub(super) fn turns<'a>(
        &'a self,
        keys: impl IntoIterator<Item = &'a LimitKey>,
        rooms: &HashMap<LimitKey, u128>,
    ) -> Turns {
        let mut round = Round {
            queues: self,
            keys: Vec::new(),
            added: HashSet::new(),
            fronts: HashMap::new(),
            passed: HashSet::new(),
            served: HashSet::new(),
            rooms: rooms.clone(),
            turns: Turns::default(),
        };
        keys.into_iter().filter(|key| self.queues.contains_key(*key)).for_each(|key| round.add_key(key));
        round.run();
        round.turns
    }
}

/// The search for those whose turn it is.
struct Round<'a> {
    queues: &'a Queues,
    /// The queues that are gone through, in the order in which they were added.
    keys: Vec<&'a LimitKey>,
    added: HashSet<&'a LimitKey>,
    /// How far each queue was gone through.
    fronts: HashMap<&'a LimitKey, Peekable<Values<'a, Position, WaiterId>>>,
    /// Those that block nobody in this queue.
    passed: HashSet<(&'a LimitKey, WaiterId)>,
    served: HashSet<WaiterId>,
    rooms: HashMap<LimitKey, u128>,
    turns: Turns,
}

/// What holds a waiter back.
enum Turn {
    Fits,
    Unseen,
    LacksRoom,
    NotFirst,
}

impl<'a> Round<'a> {
    fn run(&mut self) {
        let mut unseen = HashSet::new();
        loop {
            let mut is_stuck = true;
            let known = self.keys.len();
            for index in 0..known {
                let Some(&key) = self.keys.get(index) else { break };
                while let Some(id) = self.front(key) {
                    self.add_keys_of(id);
                    match self.turn(id) {
                        Turn::Fits => self.serve(id),
                        Turn::Unseen => {
                            if unseen.insert(id) {
                                self.turns.unseen.push(id);
                            }
                            break;
                        }
                        Turn::LacksRoom | Turn::NotFirst => break,
                    }
                    is_stuck = false;
                }
            }
            if is_stuck && self.keys.len() == known && !self.pass_some() {
                return;
            }
        }
    }

    /// The other queues of a waiter decide about its turn too.
    fn add_keys_of(&mut self, id: WaiterId) {
        let Some(command) = self.queues.command(id).filter(|command| !is_alone(command)) else { return };
        command.requirements().iter().for_each(|requirement| self.add_key(&requirement.key));
    }

    fn add_key(&mut self, key: &'a LimitKey) {
        if self.added.insert(key) {
            self.keys.push(key);
        }
    }

    /// In a queue that is newest first, waiters over several limits block nobody: those behind them are tried.
    fn pass_some(&mut self) -> bool {
        let mut passed = false;
        for index in 0..self.keys.len() {
            let Some(&key) = self.keys.get(index) else { break };
            let is_newest_first =
                self.queues.queues.get(key).is_some_and(|queue| queue.order == QueueOrder::NewestFirst);
            let Some(id) = self.front(key).filter(|_| is_newest_first) else { continue };
            let several = self.queues.command(id).is_some_and(|command| !is_alone(command));
            if several && matches!(self.turn(id), Turn::LacksRoom | Turn::NotFirst) {
                self.fronts.get_mut(key).and_then(Iterator::next);
                self.passed.insert((key, id));
                passed = true;
            }
        }
        passed
    }

    fn front(&mut self, key: &'a LimitKey) -> Option<WaiterId> {
        let queue = self.queues.queues.get(key)?;
        let front = self.fronts.entry(key).or_insert_with(|| queue.positions.values().peekable());
        while front.next_if(|id| self.served.contains(id)).is_some() {}
        front.peek().map(|id| **id)
    }

    fn turn(&mut self, id: WaiterId) -> Turn {
        let Some(command) = self.queues.command(id) else { return Turn::NotFirst };
        let keys = command.requirements().iter().map(|requirement| &requirement.key);
        for key in keys {
            // It may have been passed before it became the first elsewhere.
            if self.front(key) != Some(id) && !self.passed.contains(&(key, id)) {
                return Turn::NotFirst;
            }
        }
        let rooms = command.requirements().iter().map(|requirement| {
            let room = self.rooms.get(&requirement.key)?;
            Some(*room >= u128::from(requirement.amount))
        });
        match rooms.collect::<Option<Vec<bool>>>() {
            None => Turn::Unseen,
            Some(fits) if fits.iter().all(|fits| *fits) => Turn::Fits,
            Some(_) => Turn::LacksRoom,
        }
    }

    fn serve(&mut self, id: WaiterId) {
        let Some(command) = self.queues.command(id) else { return };
        for requirement in command.requirements() {
            if let Some(room) = self.rooms.get_mut(&requirement.key) {
                *room -= u128::from(requirement.amount);
            }
        }
        self.served.insert(id);
        self.turns.fitting.push(id);
    }
}

#[cfg(test)]
mod tests;
