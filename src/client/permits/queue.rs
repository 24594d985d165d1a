//! Who waits for permits, who is next and who has to go. Pure: nothing here waits, talks or reads a clock.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::options::{PermitOptions, QueueOrder};
use super::pause::{Denied, Pause};
use super::wanted::Wanted;

/// Names one who waits. They count up, so a smaller one is older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Number(pub(super) u64);

/// Those who wait. `W` is how one of them is told what became of it.
pub(super) struct Queue<W> {
    options: PermitOptions,
    waiting: BTreeMap<Number, Entry<W>>,
    /// The permits of all who wait.
    permits: u64,
    next_number: u64,
    /// Whether somebody asks the ledger for those who wait.
    is_attended: bool,
    is_shut_down: bool,
}

struct Entry<W> {
    wanted: Wanted,
    /// Since it was denied last; nobody has asked for it yet if there is none.
    pause: Option<Pause>,
    waiter: W,
}

/// What one who would wait is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Joined<W> {
    /// It waits.
    Waits {
        number: Number,
        /// Who had to go for it, oldest first.
        evicted: Vec<W>,
        /// Whether somebody must begin to ask the ledger for those who wait.
        needs_attendant: bool,
    },
    /// There is no place for it.
    NoPlace,
    /// Nobody waits any more.
    ShutDown,
}

/// What is to be done for those who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask the ledger for this one.
    Ask { number: Number, wanted: Wanted },
    /// Nothing before this moment, unless something is given back or the queue changes.
    WaitUntil(Instant),
    /// Nobody waits. The next one who does needs an attendant.
    Over,
}

impl<W> Queue<W> {
    pub(super) fn new(options: PermitOptions) -> Self {
        Self {
            options,
            waiting: BTreeMap::new(),
            permits: 0,
            next_number: 0,
            is_attended: false,
            is_shut_down: false,
        }
    }

    /// The permits of all who wait.
    pub(super) fn permits(&self) -> u64 {
        self.permits
    }

    pub(super) fn is_shut_down(&self) -> bool {
        self.is_shut_down
    }

    /// Whether a newcomer may ask the ledger before those who wait. Who takes nothing is in nobody's way, nor are those
    /// who wait for nothing in another's.
    pub(super) fn may_pass(&self, wanted: Wanted) -> bool {
        wanted == Wanted::Nothing || self.permits == 0 || self.options.order == QueueOrder::NewestFirst
    }

    /// A newcomer waits, if there is a place for it.
    pub(super) fn join(&mut self, wanted: Wanted, denied: Option<Denied>, waiter: W) -> Joined<W> {
        if self.is_shut_down {
            return Joined::ShutDown;
        }
        let (places, permits_max) = (wanted.permits(), self.options.queue_permits_max);
        let may_evict = self.options.order == QueueOrder::NewestFirst && places <= permits_max;
        let mut evicted = Vec::new();
        while permits_max - self.permits < places {
            match self.waiting.first_key_value().map(|(number, _)| *number) {
                Some(oldest) if may_evict => evicted.extend(self.take(oldest)),
                Some(_) | None => return Joined::NoPlace,
            }
        }
        let number = Number(self.next_number);
        self.next_number += 1;
        self.permits += places;
        self.waiting.insert(number, Entry { wanted, pause: denied.map(Pause::new), waiter });
        let needs_attendant = !std::mem::replace(&mut self.is_attended, true);
        Joined::Waits { number, evicted, needs_attendant }
    }

    /// Takes out one who waits no more.
    pub(super) fn take(&mut self, number: Number) -> Option<W> {
        let Entry { wanted, waiter, .. } = self.waiting.remove(&number)?;
        self.permits -= wanted.permits();
        Some(waiter)
    }

    /// The ledger has no room for one who waits.
    pub(super) fn denied(&mut self, number: Number, denied: Denied) {
        if let Some(Entry { pause, .. }) = self.waiting.get_mut(&number) {
            *pause = Some(pause.map_or(Pause::new(denied), |pause| pause.again(denied)));
        }
    }

    /// What is to be done next. `given_back` counts how often something was given back.
    pub(super) fn next(&mut self, now: Instant, given_back: u64) -> Next {
        let Some((number, entry)) = self.head() else {
            self.is_attended = false;
            return Next::Over;
        };
        match entry.pause.filter(|pause| !pause.is_over(now, given_back)) {
            Some(pause) => Next::WaitUntil(pause.until()),
            None => Next::Ask { number, wanted: entry.wanted },
        }
    }

    /// When there is room for the one who is next, as good as it is known.
    pub(super) fn room_at(&self) -> Option<Instant> {
        self.head()?.1.pause.map(|pause| pause.room_at())
    }

    /// Nobody waits any more: all who do are taken out, in the order in which they would have been served.
    pub(super) fn shut_down(&mut self) -> Vec<W> {
        self.is_shut_down = true;
        self.permits = 0;
        let waiters = std::mem::take(&mut self.waiting).into_values().map(|entry| entry.waiter);
        match self.options.order {
            QueueOrder::OldestFirst => waiters.collect(),
            QueueOrder::NewestFirst => waiters.rev().collect(),
        }
    }

    fn head(&self) -> Option<(Number, &Entry<W>)> {
        let head = match self.options.order {
            QueueOrder::OldestFirst => self.waiting.first_key_value(),
            QueueOrder::NewestFirst => self.waiting.last_key_value(),
        };
        head.map(|(number, entry)| (*number, entry))
    }
}
