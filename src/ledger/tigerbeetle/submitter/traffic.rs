//! When a batch is worth a request of its own. Pure: it knows no queue, and the time is told.
//!
//! To the ledger a request costs as much as some two hundred transfers. Callers who wait for their answer and then ask
//! again would fall into groups, one in each request under way and one that waits, and stay in them. So a small batch
//! waits for what is under way, and then a moment for those who were just answered: if they come back, all share one
//! request. A large one waits for them only while the ledger has another to make, which it does one after another. Where
//! callers come whether or not somebody was answered, waiting gains nothing, and is left out.

use std::time::Duration;

use tokio::time::Instant;

/// A batch of so many transfers does not wait while the ledger has nothing to do: while it makes them, others come back.
const LARGE_BATCH_TRANSFERS: usize = 32;
/// So few callers do not wait for each other: each has its answer sooner by itself.
const FEW_CALLERS: usize = 8;
/// The longest wait for those who were just answered, if nothing is under way.
const PATIENCE: Duration = Duration::from_millis(1);
/// The longest one behind what is.
const PATIENCE_BEHIND_MAX: Duration = Duration::from_millis(50);
/// A request that takes longer than this is not waited for: its session may be lost.
const HELD_UP_AFTER: Duration = Duration::from_millis(25);
/// How much more often callers come behind an answer than else, if it is the answer that brings them.
const RATE_RATIO_MIN: f64 = 1.5;
/// How many waits are left out at the most after one that was in vain.
const SKIPPED_WAITS_MAX: u32 = 64;

/// What is under way, and who may come back.
#[derive(Debug)]
pub(super) struct Traffic {
    under_way: Vec<Request>,
    /// How many callers ever came.
    came: usize,
    wait: Option<Wait>,
    waits_to_skip: u32,
    /// How many waits are left out after the next one that is in vain.
    next_skip: u32,
}

/// A request that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    sent_at: Instant,
    callers: usize,
    /// How many callers had come by then, these included.
    came: usize,
}

/// The wait for callers who were answered.
#[derive(Debug, Clone, Copy)]
struct Wait {
    since: Instant,
    until: Instant,
    /// Whether the ledger has another request to make meanwhile.
    is_behind_another: bool,
    answered: usize,
    /// How many callers had ever come when it began.
    came_then: usize,
    /// How many came while the request was under way, and how long that was.
    came_before: usize,
    took: Duration,
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advice {
    Send,
    /// Unless something comes or is answered before.
    SendAt(Instant),
}

impl Traffic {
    pub(super) fn new() -> Self {
        Self { under_way: Vec::new(), came: 0, wait: None, waits_to_skip: 0, next_skip: 1 }
    }

    /// Whether so many callers with so many transfers are enough for a request.
    pub(super) fn advise(&self, now: Instant, callers: usize, transfers: usize) -> Advice {
        let for_answered = self.wait.filter(|wait| self.came_in(wait) < wait.answered);
        let until = if transfers >= LARGE_BATCH_TRANSFERS {
            for_answered.filter(|wait| wait.is_behind_another).map(|wait| wait.until)
        } else {
            let in_time = self.under_way.iter().filter(|request| now < request.held_up_at());
            match in_time.clone().map(Request::held_up_at).max() {
                Some(_) if in_time.map(|it| it.callers).sum::<usize>() + callers <= FEW_CALLERS => None,
                Some(held_up_at) => Some(held_up_at),
                None => for_answered.map(|wait| wait.until),
            }
        };
        until.filter(|&until| now < until).map_or(Advice::Send, Advice::SendAt)
    }

    /// Somebody asks.
    pub(super) fn came(&mut self) {
        self.came += 1;
    }

    /// How many came since a wait began.
    fn came_in(&self, wait: &Wait) -> usize {
        self.came - wait.came_then
    }

    /// A request is under way, for so many callers.
    pub(super) fn sent(&mut self, now: Instant, callers: usize) -> Request {
        // What was sent sooner, because it was large or full, says nothing of who would have come back.
        if let Some(wait) = self.wait.take()
            && (now >= wait.until || self.came_in(&wait) >= wait.answered)
        {
            self.learn(wait, now);
        }
        let request = Request { sent_at: now, callers, came: self.came };
        self.under_way.push(request);
        request
    }

    /// A request is over, and so many of its callers are waiting for their answers.
    pub(super) fn answered(&mut self, now: Instant, request: Request, callers: usize) {
        if let Some(place) = self.under_way.iter().position(|other| *other == request) {
            self.under_way.swap_remove(place);
        }
        let took = now - request.sent_at;
        // One that takes far longer than this one did may be lost, and the ledger has nothing to do.
        let is_in_time = |other: &Request| now - other.sent_at < 3 * took.max(HELD_UP_AFTER);
        let is_behind_another = self.under_way.iter().any(is_in_time);
        if let (false, Some(wait)) = (is_behind_another, &mut self.wait) {
            wait.is_behind_another = false;
            wait.until = wait.until.min(now + PATIENCE);
        }
        if self.waits_to_skip > 0 {
            self.waits_to_skip -= 1;
        } else if callers > FEW_CALLERS {
            // With two sessions, what is under way behind it takes the ledger about half as long as this took, which waited
            // for another, too.
            let behind = (took / 3).clamp(PATIENCE, PATIENCE_BEHIND_MAX);
            let until = now + if is_behind_another { behind } else { PATIENCE };
            let (came_then, came_before) = (self.came, self.came - request.came);
            let (since, answered) = (now, callers);
            self.wait =
                Some(Wait { since, until, is_behind_another, answered, came_then, came_before, took });
        }
    }

    fn learn(&mut self, wait: Wait, now: Instant) {
        if wait.was_worth_it(now, self.came_in(&wait)) {
            self.next_skip = 1;
        } else {
            self.waits_to_skip = self.next_skip;
            self.next_skip = (self.next_skip * 2).min(SKIPPED_WAITS_MAX);
        }
    }
}

impl Request {
    fn held_up_at(&self) -> Instant {
        self.sent_at + HELD_UP_AFTER
    }
}

impl Wait {
    /// Whether so many callers came because they were answered: most of them, and more often than before.
    fn was_worth_it(&self, now: Instant, came: usize) -> bool {
        let waited = now - self.since;
        let rate_before = self.came_before as f64 * waited.as_secs_f64();
        let rate = came as f64 * self.took.as_secs_f64();
        came * 2 > self.answered && rate > RATE_RATIO_MIN * rate_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// So many callers come, and all of them are sent.
    fn send(traffic: &mut Traffic, now: Instant, callers: usize) -> Request {
        (0..callers).for_each(|_| traffic.came());
        traffic.sent(now, callers)
    }

    #[test]
    fn a_small_batch_waits_for_what_is_under_way_but_not_for_ever() {
        let now = Instant::now();
        let mut traffic = Traffic::new();
        assert_eq!(traffic.advise(now, 20, 20), Advice::Send, "nothing is under way");
        send(&mut traffic, now, 20);
        let held_up_at = now + HELD_UP_AFTER;
        assert_eq!(traffic.advise(now + MS, 1, 1), Advice::SendAt(held_up_at));
        assert_eq!(traffic.advise(now + MS, 1, LARGE_BATCH_TRANSFERS), Advice::Send);
        assert_eq!(traffic.advise(held_up_at, 1, 1), Advice::Send);
        // Nor for what is stuck, while other requests come and go.
        let next = send(&mut traffic, held_up_at, 1);
        traffic.answered(held_up_at + MS, next, 1);
        assert_eq!(traffic.advise(held_up_at + MS, 1, 1), Advice::Send);
    }

    #[test]
    fn few_callers_do_not_wait_for_each_other() {
        let now = Instant::now();
        let mut traffic = Traffic::new();
        let few = send(&mut traffic, now, 3);
        assert_eq!(traffic.advise(now, FEW_CALLERS - 3, 5), Advice::Send);
        assert_ne!(traffic.advise(now, FEW_CALLERS - 2, 6), Advice::Send);
        traffic.answered(now + MS, few, 3);
        assert_eq!(traffic.advise(now + MS, 1, 1), Advice::Send, "nor for those who were answered");
    }

    #[test]
    fn those_who_were_answered_are_waited_for_until_they_are_back() {
        let now = Instant::now();
        let mut traffic = Traffic::new();
        let request = send(&mut traffic, now, 20);
        let answered_at = now + 2 * MS;
        traffic.answered(answered_at, request, 20);
        for back in 1..20 {
            traffic.came();
            let waits = traffic.advise(answered_at, back, back);
            assert_eq!(waits, Advice::SendAt(answered_at + PATIENCE), "{back} are back");
        }
        assert_eq!(traffic.advise(answered_at + PATIENCE, 19, 19), Advice::Send);
        traffic.came();
        assert_eq!(traffic.advise(answered_at, 20, 20), Advice::Send);
    }

    #[test]
    fn a_large_batch_waits_for_them_while_another_is_under_way() {
        let now = Instant::now();
        let mut traffic = Traffic::new();
        let (first, behind) = (send(&mut traffic, now, 20), send(&mut traffic, now + MS, 20));
        let answered_at = now + 30 * MS;
        traffic.answered(answered_at, first, 20);
        for back in 1..20 {
            traffic.came();
            let waits = traffic.advise(answered_at, back, back * 256);
            assert_eq!(waits, Advice::SendAt(answered_at + 10 * MS), "{back} are back");
        }
        assert_eq!(traffic.advise(answered_at + 10 * MS, 19, 19 * 256), Advice::Send);
        traffic.came();
        assert_eq!(traffic.advise(answered_at, 20, 20 * 256), Advice::Send);
        traffic.answered(answered_at, behind, 20);
        assert_eq!(traffic.advise(answered_at, 20, 20 * 256), Advice::Send, "the ledger has nothing to do");
    }

    #[test]
    fn nobody_is_waited_for_longer_because_something_was_under_way() {
        let now = Instant::now();
        let mut traffic = Traffic::new();
        let (first, few) = (send(&mut traffic, now, 20), send(&mut traffic, now, 3));
        let answered_at = now + 150 * MS;
        traffic.answered(answered_at, first, 20);
        assert_eq!(traffic.advise(answered_at, 12, 12 * 256), Advice::SendAt(answered_at + 50 * MS));
        traffic.answered(answered_at + MS, few, 3);
        assert_eq!(traffic.advise(answered_at + MS, 12, 12 * 256), Advice::Send);
        assert_eq!(traffic.advise(answered_at + MS, 12, 12), Advice::SendAt(answered_at + MS + PATIENCE));
    }

    #[test]
    fn a_large_batch_does_not_wait_behind_what_is_stuck() {
        let now = Instant::now();
        let mut traffic = Traffic::new();
        send(&mut traffic, now, 20);
        let sent_at = now + 10_000 * MS;
        let next = send(&mut traffic, sent_at, 20);
        traffic.answered(sent_at + 30 * MS, next, 20);
        assert_eq!(traffic.advise(sent_at + 30 * MS, 1, 256), Advice::Send);
    }

    #[test]
    fn what_was_lost_after_a_long_time_is_not_waited_for_for_long() {
        let now = Instant::now();
        let mut traffic = Traffic::new();
        let lost = send(&mut traffic, now, 20);
        let lost_at = now + 10_000 * MS;
        send(&mut traffic, lost_at, 20);
        traffic.answered(lost_at, lost, 20);
        assert_eq!(traffic.advise(lost_at, 1, 256), Advice::SendAt(lost_at + PATIENCE_BEHIND_MAX));
    }

    /// Twenty callers are answered again and again, and so many are there the next time; answers how many of a hundred
    /// answers were waited behind.
    fn waits_of_100(came_before: usize, came_back: usize) -> usize {
        let mut now = Instant::now();
        let mut traffic = Traffic::new();
        let mut waits = 0;
        for _ in 0..100 {
            let request = traffic.sent(now, 20);
            (0..came_before).for_each(|_| traffic.came());
            now += MS;
            traffic.answered(now, request, 20);
            waits += usize::from(traffic.advise(now, 1, 1) != Advice::Send);
            (0..came_back).for_each(|_| traffic.came());
            now += PATIENCE;
        }
        waits
    }

    #[test]
    fn who_comes_anyway_is_seldom_waited_for_at_two_sessions() {
        let mut now = Instant::now();
        let mut traffic = Traffic::new();
        let mut before = traffic.sent(now, 20);
        let mut waits = 0;
        for _ in 0..100 {
            // A caller comes each millisecond, and each request is sent 20 ms behind the one before, and takes 40.
            (0..20).for_each(|_| traffic.came());
            now += 20 * MS;
            let next = traffic.sent(now, 20);
            traffic.answered(now, std::mem::replace(&mut before, next), 20);
            waits += usize::from(traffic.advise(now, 1, 256) != Advice::Send);
        }
        assert!(waits < 20, "{waits} of 100");
    }

    #[test]
    fn what_was_waited_for_in_vain_is_seldom_waited_for_again() {
        assert_eq!(waits_of_100(0, 20), 100);
        assert_eq!(waits_of_100(0, 11), 100);
        assert!(waits_of_100(0, 10) < 10, "half of them stay away");
        assert!(waits_of_100(20, 20) < 10, "they come whether or not somebody was answered");
    }
}
