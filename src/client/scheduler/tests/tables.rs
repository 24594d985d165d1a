//! Tables of events: the time in milliseconds, the event, and the expected actions.

use std::time::Duration;

use tokio::time::Instant;

use super::super::event::{Action, CompleteAnswer, Event, ReserveAnswer};
use super::super::job::JobNumber;
use super::super::state::State;
use super::super::{QueueKey, ScheduleError, SchedulerOptions};
use super::{FixedRandom, OPTIONS, key};
use crate::client::CallError;

fn check(options: SchedulerOptions, rows: &[(u64, &str, &str)]) {
    let start = Instant::now();
    let mut state = State::new(options, FixedRandom::default());
    for (row, (at_ms, event, expected)) in rows.iter().enumerate() {
        let actions = state.handle(start + Duration::from_millis(*at_ms), parse(event));
        let actions = actions.iter().map(format).collect::<Vec<_>>().join(", ");
        assert_eq!(actions, *expected, "row {row}: {at_ms} ms, {event}");
    }
    let wakes_at_ms = state.wakes_at().map(|at| (at - start).as_millis());
    assert_eq!(wakes_at_ms, None, "the state has no reason to wake");
}

fn parse(event: &str) -> Event {
    let words: Vec<&str> = event.split(' ').collect();
    let job = JobNumber(words.get(1).map_or(0, |word| word.parse().expect("a number")));
    let reserved = |answer| Event::Reserved { job, answer };
    match words[..] {
        ["submit", _, queue, ref keys @ ..] => {
            let (provider, model) = queue.split_once('/').expect("a queue");
            let keys = keys.iter().map(|name| key(name)).collect();
            Event::Submitted { job, queue: QueueKey::new(provider, model), keys }
        }
        ["granted", _] => reserved(ReserveAnswer::Granted),
        ["denied", _, name, ms] => {
            let retry_after = Duration::from_millis(ms.parse().expect("a number"));
            reserved(ReserveAnswer::Denied { key: key(name), retry_after })
        }
        ["refused", _] => reserved(ReserveAnswer::Refused(ScheduleError::Call(CallError::Closed))),
        ["too_late", _] => reserved(ReserveAnswer::TooLate),
        ["unknown", _] => reserved(ReserveAnswer::Unknown(CallError::unknown(std::fmt::Error))),
        ["drop", _] => Event::Dropped { job },
        ["completed", _] => Event::Completed { job, answer: CompleteAnswer::Settled },
        ["completed", _, "refused"] => Event::Completed { job, answer: CompleteAnswer::Refused },
        ["completed", _, "unknown"] => Event::Completed { job, answer: CompleteAnswer::Unknown },
        ["shutdown"] => Event::ShutDown,
        ["wake"] => Event::Woken,
        _ => panic!("unknown event: {event}"),
    }
}

fn format(action: &Action) -> String {
    match action {
        Action::Reserve { job, lease } => format!("reserve {} #{}", job.0, lease.as_u128()),
        Action::Start { job, lease } => format!("start {} #{}", job.0, lease.as_u128()),
        Action::Complete { job, lease } => format!("complete {} #{}", job.0, lease.as_u128()),
        Action::Fail { job, error } => format!("fail {}: {error}", job.0),
        Action::Forget { job, end } => format!("forget {} {end:?}", job.0),
    }
}

#[test]
fn a_job_is_granted_a_lease_runs_and_completes_it() {
    check(
        OPTIONS,
        &[
            (0, "submit 1 a/x rpm", "reserve 1 #1"),
            (10, "granted 1", "start 1 #1"),
            (500, "drop 1", "complete 1 #1"),
            (510, "completed 1", "forget 1 Completed"),
            (520, "drop 1", ""),
        ],
    );
}

#[test]
fn a_denied_job_waits_for_its_hint_and_jitter_and_takes_a_fresh_lease_id() {
    check(
        OPTIONS,
        &[
            (0, "submit 1 a/x rpm", "reserve 1 #1"),
            (10, "denied 1 rpm 100", ""),
            (114, "wake", ""),
            (115, "wake", "reserve 1 #2"),
            (120, "denied 1 rpm 1", ""),
            (126, "wake", "reserve 1 #3"),
            (130, "granted 1", "start 1 #3"),
            (131, "drop 1", "complete 1 #3"),
            (132, "completed 1", "forget 1 Completed"),
        ],
    );
}

#[test]
fn only_jobs_that_need_a_denied_limit_wait_for_it() {
    check(
        OPTIONS,
        &[
            (0, "submit 1 a/x a:rpm acme", "reserve 1 #1"),
            (0, "denied 1 acme 100", ""),
            // Jobs of the denied tenant wait, with either provider.
            (1, "submit 2 a/x a:rpm acme", ""),
            (1, "submit 3 b/y b:rpm acme", ""),
            // Jobs of another tenant or without one do not wait.
            (2, "submit 4 a/x a:rpm zorg", "reserve 4 #2"),
            (3, "submit 5 b/y b:rpm", "reserve 5 #3"),
            (4, "refused 4", "fail 4: the limiter is closed, forget 4 NotGranted"),
            (4, "refused 5", "fail 5: the limiter is closed, forget 5 NotGranted"),
            // The oldest job of each queue goes first.
            (105, "wake", "reserve 1 #4, reserve 3 #5"),
            (106, "refused 1", "fail 1: the limiter is closed, forget 1 NotGranted, reserve 2 #6"),
            (106, "refused 3", "fail 3: the limiter is closed, forget 3 NotGranted"),
            (106, "refused 2", "fail 2: the limiter is closed, forget 2 NotGranted"),
        ],
    );
}

#[test]
fn a_job_waits_for_the_latest_of_several_hints() {
    check(
        OPTIONS,
        &[
            (0, "submit 1 a/x rpm", "reserve 1 #1"),
            (0, "submit 2 b/y rpm", "reserve 2 #2"),
            (0, "denied 1 rpm 200", ""),
            (0, "denied 2 rpm 100", ""),
            (105, "wake", ""),
            (205, "wake", "reserve 1 #3, reserve 2 #4"),
            (206, "drop 1", ""),
            (206, "denied 1 rpm 100", "forget 1 NotGranted"),
            (206, "refused 2", "fail 2: the limiter is closed, forget 2 NotGranted"),
        ],
    );
}

#[test]
fn an_attempt_with_an_unknown_outcome_keeps_its_lease_id_and_ignores_the_backoff_of_its_limits() {
    check(
        OPTIONS,
        &[
            (0, "submit 1 a/x rpm", "reserve 1 #1"),
            (0, "submit 2 a/x rpm", "reserve 2 #2"),
            (0, "unknown 1", ""),
            (0, "denied 2 rpm 1000", ""),
            (75, "wake", "reserve 1 #1"),
            (80, "unknown 1", ""),
            (229, "wake", ""),
            (230, "wake", "reserve 1 #1"),
            (231, "granted 1", "start 1 #1"),
            (240, "drop 2", "forget 2 NotGranted"),
            (240, "drop 1", "complete 1 #1"),
            (240, "completed 1", "forget 1 Completed"),
            (1005, "wake", ""),
        ],
    );
}

#[test]
fn a_lease_that_expired_while_its_outcome_was_unknown_is_replaced() {
    check(
        OPTIONS,
        &[
            (0, "submit 1 a/x rpm", "reserve 1 #1"),
            (0, "unknown 1", ""),
            (75, "wake", "reserve 1 #1"),
            (76, "too_late 1", "reserve 1 #2"),
            (77, "granted 1", "start 1 #2"),
            (78, "drop 1", "complete 1 #2"),
            (79, "completed 1", "forget 1 Completed"),
        ],
    );
}

#[test]
fn a_job_whose_grants_always_arrive_too_late_fails() {
    let failure = "fail 1: the call was refused: the lease expired before its grant arrived; raise the window or the time-out";
    check(
        OPTIONS,
        &[
            (0, "submit 1 a/x rpm", "reserve 1 #1"),
            (1, "too_late 1", "reserve 1 #2"),
            (2, "too_late 1", "reserve 1 #3"),
            (3, "too_late 1", &format!("{failure}, forget 1 NotGranted")),
        ],
    );
}

#[test]
fn a_job_whose_outcome_stays_unknown_fails_and_its_lease_is_completed() {
    check(
        OPTIONS,
        &[
            (0, "submit 1 a/x rpm", "reserve 1 #1"),
            (0, "unknown 1", ""),
            (75, "wake", "reserve 1 #1"),
            (75, "unknown 1", ""),
            (225, "wake", "reserve 1 #1"),
            (225, "unknown 1", "fail 1: the limiter did not answer; the outcome is unknown, complete 1 #1"),
            (226, "drop 1", ""),
            (230, "completed 1", "forget 1 Completed"),
        ],
    );
}

#[test]
fn a_job_that_is_dropped_while_it_waits_is_forgotten_at_once() {
    check(
        OPTIONS,
        &[
            (0, "submit 1 a/x rpm", "reserve 1 #1"),
            (0, "submit 2 a/x rpm", "reserve 2 #2"),
            (0, "submit 3 a/x rpm", ""),
            (1, "drop 3", "forget 3 NotGranted"),
            (2, "denied 1 rpm 50", ""),
            (3, "drop 1", "forget 1 NotGranted"),
            (4, "refused 2", "fail 2: the limiter is closed, forget 2 NotGranted"),
            (57, "wake", ""),
        ],
    );
}

#[test]
fn the_grant_of_a_job_that_is_dropped_during_an_attempt_is_completed() {
    check(
        OPTIONS,
        &[
            (0, "submit 1 a/x rpm", "reserve 1 #1"),
            (1, "drop 1", ""),
            (2, "granted 1", "complete 1 #1"),
            (3, "completed 1", "forget 1 Completed"),
            (4, "submit 2 a/x rpm", "reserve 2 #2"),
            (4, "unknown 2", ""),
            (5, "drop 2", ""),
            // The reserve is repeated, because a complete needs a known outcome.
            (79, "wake", "reserve 2 #2"),
            (80, "granted 2", "complete 2 #2"),
            (81, "completed 2", "forget 2 Completed"),
        ],
    );
}

#[test]
fn a_complete_with_an_unknown_outcome_is_repeated_until_the_policy_gives_up() {
    check(
        OPTIONS,
        &[
            (0, "submit 1 a/x rpm", "reserve 1 #1"),
            (0, "granted 1", "start 1 #1"),
            (0, "drop 1", "complete 1 #1"),
            (0, "completed 1 unknown", ""),
            (75, "wake", "complete 1 #1"),
            (80, "completed 1 unknown", ""),
            (230, "wake", "complete 1 #1"),
            (400, "completed 1 unknown", "forget 1 LeftToExpire"),
            (400, "submit 2 a/x rpm", "reserve 2 #2"),
            (400, "granted 2", "start 2 #2"),
            (400, "drop 2", "complete 2 #2"),
            (401, "completed 2 refused", "forget 2 LeftToExpire"),
        ],
    );
}

#[test]
fn only_waiting_jobs_count_against_the_maximum_of_a_queue_and_of_all() {
    let full = "the queue is full; try again later or raise jobs_max or queue_jobs_max";
    check(
        SchedulerOptions { jobs_max: 3, queue_jobs_max: 2, ..OPTIONS },
        &[
            (0, "submit 1 a/x rpm", "reserve 1 #1"),
            (0, "submit 2 a/x rpm", "reserve 2 #2"),
            (0, "submit 3 a/x rpm", &format!("fail 3: {full}, forget 3 NotGranted")),
            (0, "submit 4 b/y rpm", ""),
            (0, "submit 5 c/z rpm", &format!("fail 5: {full}, forget 5 NotGranted")),
            (1, "granted 1", "start 1 #1, reserve 4 #3"),
            (1, "submit 6 a/x rpm", ""),
            (2, "drop 6", "forget 6 NotGranted"),
            (2, "drop 4", ""),
            (2, "refused 4", "forget 4 NotGranted"),
            (2, "refused 2", "fail 2: the limiter is closed, forget 2 NotGranted"),
            (2, "drop 1", "complete 1 #1"),
            (2, "completed 1", "forget 1 Completed"),
        ],
    );
}

#[test]
fn shutdown_fails_waiting_jobs_and_lets_running_jobs_end() {
    let shut = "the scheduler is shut down";
    check(
        OPTIONS,
        &[
            (0, "submit 1 a/x rpm", "reserve 1 #1"),
            (0, "granted 1", "start 1 #1"),
            (0, "submit 2 a/x rpm", "reserve 2 #2"),
            (0, "unknown 2", ""),
            (0, "submit 3 a/x tpm", "reserve 3 #3"),
            (0, "denied 3 tpm 10", ""),
            (0, "submit 4 a/x rpm", "reserve 4 #4"),
            (1, "shutdown", &format!("fail 2: {shut}, fail 3: {shut}, forget 3 NotGranted, fail 4: {shut}")),
            (2, "submit 5 a/x rpm", &format!("fail 5: {shut}, forget 5 NotGranted")),
            (3, "granted 4", "complete 4 #4"),
            (4, "completed 4", "forget 4 Completed"),
            (75, "wake", "reserve 2 #2"),
            (80, "denied 2 rpm 10", "forget 2 NotGranted"),
            (90, "drop 1", "complete 1 #1"),
            (91, "completed 1", "forget 1 Completed"),
        ],
    );
}
