//! Decides when the waiting messages are worth a request. Pure: it holds no messages, and callers pass the time in.
//!
//! # The problem
//!
//! A request costs the ledger as much as some two hundred transfers, so callers should share requests. Callers that
//! wait for their answer and then ask again do not mix on their own. With two sessions they form three groups, two in
//! flight and one in the queue, and each group stays together: every request carries a third of the callers.
//!
//! # The rule
//!
//! A full batch never waits. For any other batch:
//!
//! - Up to [`FEW_CALLERS`], counting those in flight, do not wait: each gets its answer sooner alone.
//! - A small batch, of fewer than [`LARGE_BATCH_TRANSFERS`], waits while requests are in flight, except stalled ones
//!   ([`STALLED_AFTER`]). After that it waits up to [`IDLE_WAIT_MAX`] for the callers that were just answered, until as
//!   many have arrived as were answered.
//! - A large batch waits for the answered callers only while another request is in flight. The ledger makes one request
//!   after another, so it has work meanwhile. The wait is a third of the time of the answered request, at most
//!   [`BUSY_WAIT_MAX`].
//! - Some callers arrive whether or not others were answered, and waiting for them gains nothing. A wait was in vain if
//!   half of the answered callers or fewer arrived in it, or if callers arrived hardly more often than before
//!   ([`RATE_RATIO_MIN`]). After waits in vain the next 1, 2, 4, ... waits are skipped, up to [`SKIPPED_WAITS_MAX`].
//!
//! # The gain
//!
//! Against sending every batch at once, on two cores with one replica:
//!
//! | load | at once | with this rule |
//! | --- | --- | --- |
//! | one reserve per request, 16 connections | 5,504/s | 7,375/s |
//! | 32 connections | 9,347/s | 10,822/s |
//! | 64 connections | 11,861/s | 13,435/s |
//! | 256 connections | | the same |
//! | batches of 256 on 64 connections: transfers in a request | 5,150 | 7,200 |
//! | their rate, of what the client crate reaches directly | 0.75 | 0.82 |
//!
//! The ledger also writes half as much to its disk. To measure the gain again, run this command (64 and 256
//! connections) with the rule, and with an [`advise`](Traffic::advise) that always returns [`Advice::Send`]:
//!
//! ```text
//! scripts/bench --only http-tigerbeetle,batches
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// A batch of at least this many transfers does not wait while the ledger is idle: other callers arrive while the
/// ledger makes it.
const LARGE_BATCH_TRANSFERS: usize = 32;
/// This many callers do not wait for each other.
const FEW_CALLERS: usize = 8;
/// The longest wait for answered callers while no request is in flight.
const IDLE_WAIT_MAX: Duration = Duration::from_millis(1);
/// The longest wait for answered callers while another request is in flight.
const BUSY_WAIT_MAX: Duration = Duration::from_millis(50);
/// The age at which a request in flight counts as stalled: its session may be lost.
const STALLED_AFTER: Duration = Duration::from_millis(25);
/// Callers that arrive because they were answered arrive more than this many times as often as before.
const RATE_RATIO_MIN: f64 = 1.5;
/// The most waits that are skipped after one in vain.
const SKIPPED_WAITS_MAX: u32 = 64;

/// The requests in flight, and the callers that may ask again.
#[derive(Debug)]
pub(super) struct Traffic {
    in_flight: Vec<RequestInFlight>,
    /// All callers that ever arrived.
    arrivals: usize,
    wait: Option<Wait>,
    waits_to_skip: u32,
    /// The waits to skip after the next one in vain.
    next_skip: u32,
}

/// A request in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestInFlight {
    sent_at: Instant,
    callers: usize,
    /// All callers that had arrived when it was sent, its own included.
    arrivals: usize,
}

/// A wait for the callers of an answered request.
#[derive(Debug, Clone, Copy)]
struct Wait {
    since: Instant,
    until: Instant,
    /// Whether another request is in flight, so that the ledger has work during the wait.
    is_ledger_busy: bool,
    callers_answered: usize,
    /// All callers that had arrived when the wait began.
    arrivals_at_start: usize,
    /// The callers that arrived while the answered request was in flight.
    arrivals_in_flight: usize,
    /// How long the answered request was in flight.
    request_time: Duration,
}

/// What to do with the waiting messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advice {
    /// Send them now.
    Send,
    /// Send them at this time, unless a message arrives or a request is answered before.
    SendAt(Instant),
}

impl Traffic {
    pub(super) fn new() -> Self {
        Self { in_flight: Vec::new(), arrivals: 0, wait: None, waits_to_skip: 0, next_skip: 1 }
    }

    /// Whether to send the messages of this many callers, with this many transfers, now or later.
    pub(super) fn advise(&self, now: Instant, callers: usize, transfers: usize) -> Advice {
        let wait = self.wait.filter(|wait| self.arrivals_in(wait) < wait.callers_answered);
        let until = if transfers >= LARGE_BATCH_TRANSFERS {
            wait.filter(|wait| wait.is_ledger_busy).map(|wait| wait.until)
        } else {
            let live = self.in_flight.iter().filter(|request| now < request.stalled_at());
            match live.clone().map(RequestInFlight::stalled_at).max() {
                Some(_) if live.map(|request| request.callers).sum::<usize>() + callers <= FEW_CALLERS => {
                    None
                }
                Some(stalled_at) => Some(stalled_at),
                None => wait.map(|wait| wait.until),
            }
        };
        until.filter(|&until| now < until).map_or(Advice::Send, Advice::SendAt)
    }

    /// Counts a caller that hands its message over.
    pub(super) fn arrived(&mut self) {
        self.arrivals += 1;
    }

    fn arrivals_in(&self, wait: &Wait) -> usize {
        self.arrivals - wait.arrivals_at_start
    }

    /// Begins a request for this many callers, and ends the wait before it.
    pub(super) fn sent(&mut self, now: Instant, callers: usize) -> RequestInFlight {
        // A batch that was sent before the end of the wait, because it was large or full, does not tell whether the
        // answered callers would have arrived.
        if let Some(wait) = self.wait.take()
            && (now >= wait.until || self.arrivals_in(&wait) >= wait.callers_answered)
        {
            self.learn(wait, now);
        }
        let request = RequestInFlight { sent_at: now, callers, arrivals: self.arrivals };
        self.in_flight.push(request);
        request
    }

    /// Ends a request, and begins the wait for its callers. `callers` are those that still wait for their answers.
    pub(super) fn finished(&mut self, now: Instant, request: RequestInFlight, callers: usize) {
        if let Some(index) = self.in_flight.iter().position(|other| *other == request) {
            self.in_flight.swap_remove(index);
        }
        let request_time = now - request.sent_at;
        // A request that is in flight for far longer than this one may be lost, and the ledger idle.
        let is_live = |other: &RequestInFlight| now - other.sent_at < 3 * request_time.max(STALLED_AFTER);
        let is_ledger_busy = self.in_flight.iter().any(is_live);
        if let (false, Some(wait)) = (is_ledger_busy, &mut self.wait) {
            wait.is_ledger_busy = false;
            wait.until = wait.until.min(now + IDLE_WAIT_MAX);
        }
        if self.waits_to_skip > 0 {
            self.waits_to_skip -= 1;
        } else if callers > FEW_CALLERS {
            // With two sessions the ledger made another request before this one, so `request_time` is that of two, and
            // the request still in flight needs about half of it. A third is within that.
            let busy_wait = (request_time / 3).clamp(IDLE_WAIT_MAX, BUSY_WAIT_MAX);
            self.wait = Some(Wait {
                since: now,
                until: now + if is_ledger_busy { busy_wait } else { IDLE_WAIT_MAX },
                is_ledger_busy,
                callers_answered: callers,
                arrivals_at_start: self.arrivals,
                arrivals_in_flight: self.arrivals - request.arrivals,
                request_time,
            });
        }
    }

    fn learn(&mut self, wait: Wait, now: Instant) {
        if wait.was_worth_it(now, self.arrivals_in(&wait)) {
            self.next_skip = 1;
        } else {
            self.waits_to_skip = self.next_skip;
            self.next_skip = (self.next_skip * 2).min(SKIPPED_WAITS_MAX);
        }
    }
}

impl RequestInFlight {
    fn stalled_at(&self) -> Instant {
        self.sent_at + STALLED_AFTER
    }
}

impl Wait {
    /// Whether the callers that arrived did so because they were answered: most of the answered ones arrived, and
    /// callers arrived more often than while the request was in flight.
    fn was_worth_it(&self, now: Instant, arrivals: usize) -> bool {
        let waited = now - self.since;
        // Both rates are multiplied by the two times, which saves divisions by zero.
        let rate_before = self.arrivals_in_flight as f64 * waited.as_secs_f64();
        let rate = arrivals as f64 * self.request_time.as_secs_f64();
        arrivals * 2 > self.callers_answered && rate > RATE_RATIO_MIN * rate_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// This many callers arrive, and one request is sent for all of them.
    fn send(traffic: &mut Traffic, now: Instant, callers: usize) -> RequestInFlight {
        (0..callers).for_each(|_| traffic.arrived());
        traffic.sent(now, callers)
    }

    #[test]
    fn a_small_batch_waits_for_a_request_in_flight_until_that_counts_as_stalled() {
        let now = Instant::now();
        let mut traffic = Traffic::new();
        assert_eq!(traffic.advise(now, 20, 20), Advice::Send, "no request is in flight");
        send(&mut traffic, now, 20);
        let stalled_at = now + STALLED_AFTER;
        assert_eq!(traffic.advise(now + MS, 1, 1), Advice::SendAt(stalled_at));
        assert_eq!(traffic.advise(now + MS, 1, LARGE_BATCH_TRANSFERS), Advice::Send);
        assert_eq!(traffic.advise(stalled_at, 1, 1), Advice::Send);
        // Other requests that are sent and answered do not make the stalled one count again.
        let next = send(&mut traffic, stalled_at, 1);
        traffic.finished(stalled_at + MS, next, 1);
        assert_eq!(traffic.advise(stalled_at + MS, 1, 1), Advice::Send);
    }

    #[test]
    fn few_callers_do_not_wait_for_each_other() {
        let now = Instant::now();
        let mut traffic = Traffic::new();
        let few = send(&mut traffic, now, 3);
        assert_eq!(traffic.advise(now, FEW_CALLERS - 3, 5), Advice::Send);
        assert_ne!(traffic.advise(now, FEW_CALLERS - 2, 6), Advice::Send);
        traffic.finished(now + MS, few, 3);
        assert_eq!(traffic.advise(now + MS, 1, 1), Advice::Send, "nor for few answered callers");
    }

    #[test]
    fn a_small_batch_waits_until_all_answered_callers_have_arrived() {
        let now = Instant::now();
        let mut traffic = Traffic::new();
        let request = send(&mut traffic, now, 20);
        let answered_at = now + 2 * MS;
        traffic.finished(answered_at, request, 20);
        for arrived in 1..20 {
            traffic.arrived();
            let advice = traffic.advise(answered_at, arrived, arrived);
            assert_eq!(advice, Advice::SendAt(answered_at + IDLE_WAIT_MAX), "{arrived} have arrived");
        }
        assert_eq!(traffic.advise(answered_at + IDLE_WAIT_MAX, 19, 19), Advice::Send);
        traffic.arrived();
        assert_eq!(traffic.advise(answered_at, 20, 20), Advice::Send);
    }

    #[test]
    fn a_large_batch_waits_for_answered_callers_while_another_request_is_in_flight() {
        let now = Instant::now();
        let mut traffic = Traffic::new();
        let (first, second) = (send(&mut traffic, now, 20), send(&mut traffic, now + MS, 20));
        let answered_at = now + 30 * MS;
        traffic.finished(answered_at, first, 20);
        for arrived in 1..20 {
            traffic.arrived();
            let advice = traffic.advise(answered_at, arrived, arrived * 256);
            assert_eq!(advice, Advice::SendAt(answered_at + 10 * MS), "{arrived} have arrived");
        }
        assert_eq!(traffic.advise(answered_at + 10 * MS, 19, 19 * 256), Advice::Send);
        traffic.arrived();
        assert_eq!(traffic.advise(answered_at, 20, 20 * 256), Advice::Send);
        traffic.finished(answered_at, second, 20);
        assert_eq!(traffic.advise(answered_at, 20, 20 * 256), Advice::Send, "the ledger is idle");
    }

    #[test]
    fn a_wait_becomes_an_idle_wait_when_the_last_request_in_flight_ends() {
        let now = Instant::now();
        let mut traffic = Traffic::new();
        let (first, few) = (send(&mut traffic, now, 20), send(&mut traffic, now, 3));
        let answered_at = now + 150 * MS;
        traffic.finished(answered_at, first, 20);
        assert_eq!(traffic.advise(answered_at, 12, 12 * 256), Advice::SendAt(answered_at + 50 * MS));
        traffic.finished(answered_at + MS, few, 3);
        assert_eq!(traffic.advise(answered_at + MS, 12, 12 * 256), Advice::Send);
        let idle_until = answered_at + MS + IDLE_WAIT_MAX;
        assert_eq!(traffic.advise(answered_at + MS, 12, 12), Advice::SendAt(idle_until));
    }

    #[test]
    fn a_large_batch_does_not_wait_while_only_a_stalled_request_is_in_flight() {
        let now = Instant::now();
        let mut traffic = Traffic::new();
        send(&mut traffic, now, 20);
        let sent_at = now + 10_000 * MS;
        let next = send(&mut traffic, sent_at, 20);
        traffic.finished(sent_at + 30 * MS, next, 20);
        assert_eq!(traffic.advise(sent_at + 30 * MS, 1, 256), Advice::Send);
    }

    #[test]
    fn a_wait_after_a_request_that_was_lost_late_is_bounded() {
        let now = Instant::now();
        let mut traffic = Traffic::new();
        let lost = send(&mut traffic, now, 20);
        let lost_at = now + 10_000 * MS;
        send(&mut traffic, lost_at, 20);
        traffic.finished(lost_at, lost, 20);
        assert_eq!(traffic.advise(lost_at, 1, 256), Advice::SendAt(lost_at + BUSY_WAIT_MAX));
    }

    /// Answers twenty callers a hundred times, one request at a time. Each time, `before` callers arrive during the
    /// request and `after` callers after its answer. Returns the number of answers with a wait behind them.
    fn waits_of_100(before: usize, after: usize) -> usize {
        let mut now = Instant::now();
        let mut traffic = Traffic::new();
        let mut waits = 0;
        for _ in 0..100 {
            let request = traffic.sent(now, 20);
            (0..before).for_each(|_| traffic.arrived());
            now += MS;
            traffic.finished(now, request, 20);
            waits += usize::from(traffic.advise(now, 1, 1) != Advice::Send);
            (0..after).for_each(|_| traffic.arrived());
            now += IDLE_WAIT_MAX;
        }
        waits
    }

    #[test]
    fn steady_arrivals_on_two_sessions_seldom_cause_a_wait() {
        let mut now = Instant::now();
        let mut traffic = Traffic::new();
        let mut earlier = traffic.sent(now, 20);
        let mut waits = 0;
        for _ in 0..100 {
            // A caller arrives each millisecond. Each request is sent 20 ms after the one before, and takes 40 ms.
            (0..20).for_each(|_| traffic.arrived());
            now += 20 * MS;
            let next = traffic.sent(now, 20);
            traffic.finished(now, std::mem::replace(&mut earlier, next), 20);
            waits += usize::from(traffic.advise(now, 1, 256) != Advice::Send);
        }
        assert!(waits < 20, "{waits} of 100");
    }

    #[test]
    fn after_a_wait_in_vain_waits_are_seldom() {
        assert_eq!(waits_of_100(0, 20), 100);
        assert_eq!(waits_of_100(0, 11), 100);
        assert!(waits_of_100(0, 10) < 10, "half of the answered callers stay away");
        assert!(waits_of_100(20, 20) < 10, "as many arrive before an answer as after it");
    }
}
