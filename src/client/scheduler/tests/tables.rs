//! One row for each event: when, what, and what is to be done.

use std::time::Duration;

use tokio::time::Instant;

use super::super::state::{Action, CompleteAnswer, Event, JobNumber, ReserveAnswer, State};
use super::super::{QueueKey, ScheduleError, SchedulerOptions};
use super::{Counted, OPTIONS, key};
use crate::client::CallError;

fn check(options: SchedulerOptions, rows: &[(u64, &str, &str)]) {
    let start = Instant::now();
    let mut state = State::new(options, Counted::default());
    for (row, (at_ms, event, expected)) in rows.iter().enumerate() {
        let actions = state.handle(start + Duration::from_millis(*at_ms), read(event));
        let told = actions.iter().map(tell).collect::<Vec<_>>().join(", ");
        assert_eq!(told, *expected, "row {row}: {at_ms} ms, {event}");
    }
    let wakes_at_ms = state.wakes_at().map(|at| (at - start).as_millis());
    assert_eq!(wakes_at_ms, None, "nothing is left to wake for");
}

fn read(event: &str) -> Event {
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
        ["left", _] => Event::Left { job },
        ["completed", _] => Event::Completed { job, answer: CompleteAnswer::Settled },
        ["completed", _, "refused"] => Event::Completed { job, answer: CompleteAnswer::Refused },
        ["completed", _, "unknown"] => Event::Completed { job, answer: CompleteAnswer::Unknown },
        ["shutdown"] => Event::ShutDown,
        ["wake"] => Event::Woken,
        _ => panic!("no event: {event}"),
    }
}

fn tell(action: &Action) -> String {
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
            (500, "left 1", "complete 1 #1"),
            (510, "completed 1", "forget 1 Completed"),
            (520, "left 1", ""),
        ],
    );
}

#[test]
fn a_denied_job_waits_out_its_hint_and_jitter_and_takes_a_new_lease_id() {
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
            (131, "left 1", "complete 1 #3"),
            (132, "completed 1", "forget 1 Completed"),
        ],
    );
}

#[test]
fn behind_a_denial_wait_those_who_need_the_same_limit_and_nobody_else() {
    check(
        OPTIONS,
        &[
            (0, "submit 1 a/x a:rpm acme", "reserve 1 #1"),
            (0, "denied 1 acme 100", ""),
            // Of the same tenant, also with another provider.
            (1, "submit 2 a/x a:rpm acme", ""),
            (1, "submit 3 b/y b:rpm acme", ""),
            // Of other tenants, also in the same queue.
            (2, "submit 4 a/x a:rpm zorg", "reserve 4 #2"),
            (3, "submit 5 b/y b:rpm", "reserve 5 #3"),
            (4, "refused 4", "fail 4: the limiter is closed, forget 4 NotGranted"),
            (4, "refused 5", "fail 5: the limiter is closed, forget 5 NotGranted"),
            // Oldest first.
            (105, "wake", "reserve 1 #4, reserve 3 #5"),
            (106, "refused 1", "fail 1: the limiter is closed, forget 1 NotGranted, reserve 2 #6"),
            (106, "refused 3", "fail 3: the limiter is closed, forget 3 NotGranted"),
            (106, "refused 2", "fail 2: the limiter is closed, forget 2 NotGranted"),
        ],
    );
}

#[test]
fn the_longest_of_several_hints_counts() {
    check(
        OPTIONS,
        &[
            (0, "submit 1 a/x rpm", "reserve 1 #1"),
            (0, "submit 2 b/y rpm", "reserve 2 #2"),
            (0, "denied 1 rpm 200", ""),
            (0, "denied 2 rpm 100", ""),
            (105, "wake", ""),
            (205, "wake", "reserve 1 #3, reserve 2 #4"),
            (206, "left 1", ""),
            (206, "denied 1 rpm 100", "forget 1 NotGranted"),
            (206, "refused 2", "fail 2: the limiter is closed, forget 2 NotGranted"),
        ],
    );
}

#[test]
fn an_unknown_outcome_keeps_its_lease_id_and_no_closed_limit_holds_it_back() {
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
            (240, "left 2", "forget 2 NotGranted"),
            (240, "left 1", "complete 1 #1"),
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
            (78, "left 1", "complete 1 #2"),
            (79, "completed 1", "forget 1 Completed"),
        ],
    );
}

#[test]
fn a_job_whose_grants_always_come_too_late_is_told_so() {
    let fails = "fail 1: the call was refused: leases are over before their grants are heard of";
    check(
        OPTIONS,
        &[
            (0, "submit 1 a/x rpm", "reserve 1 #1"),
            (1, "too_late 1", "reserve 1 #2"),
            (2, "too_late 1", "reserve 1 #3"),
            (3, "too_late 1", &format!("{fails}, forget 1 NotGranted")),
        ],
    );
}

#[test]
fn an_outcome_that_stays_unknown_is_told_and_the_lease_is_completed_all_the_same() {
    check(
        OPTIONS,
        &[
            (0, "submit 1 a/x rpm", "reserve 1 #1"),
            (0, "unknown 1", ""),
            (75, "wake", "reserve 1 #1"),
            (75, "unknown 1", ""),
            (225, "wake", "reserve 1 #1"),
            (225, "unknown 1", "fail 1: the outcome is unknown, complete 1 #1"),
            (226, "left 1", ""),
            (230, "completed 1", "forget 1 Completed"),
        ],
    );
}

#[test]
fn a_job_that_is_left_while_it_waits_goes_at_once() {
    check(
        OPTIONS,
        &[
            (0, "submit 1 a/x rpm", "reserve 1 #1"),
            (0, "submit 2 a/x rpm", "reserve 2 #2"),
            (0, "submit 3 a/x rpm", ""),
            (1, "left 3", "forget 3 NotGranted"),
            (2, "denied 1 rpm 50", ""),
            (3, "left 1", "forget 1 NotGranted"),
            (4, "refused 2", "fail 2: the limiter is closed, forget 2 NotGranted"),
            (57, "wake", ""),
        ],
    );
}

#[test]
fn a_job_that_is_left_during_an_attempt_is_completed_if_it_was_granted() {
    check(
        OPTIONS,
        &[
            (0, "submit 1 a/x rpm", "reserve 1 #1"),
            (1, "left 1", ""),
            (2, "granted 1", "complete 1 #1"),
            (3, "completed 1", "forget 1 Completed"),
            (4, "submit 2 a/x rpm", "reserve 2 #2"),
            (4, "unknown 2", ""),
            (5, "left 2", ""),
            // What became of it must be found out first.
            (79, "wake", "reserve 2 #2"),
            (80, "granted 2", "complete 2 #2"),
            (81, "completed 2", "forget 2 Completed"),
        ],
    );
}

#[test]
fn a_complete_is_made_again_until_it_is_known_or_too_late() {
    check(
        OPTIONS,
        &[
            (0, "submit 1 a/x rpm", "reserve 1 #1"),
            (0, "granted 1", "start 1 #1"),
            (0, "left 1", "complete 1 #1"),
            (0, "completed 1 unknown", ""),
            (75, "wake", "complete 1 #1"),
            (80, "completed 1 unknown", ""),
            (230, "wake", "complete 1 #1"),
            (400, "completed 1 unknown", "forget 1 LeftToExpire"),
            (400, "submit 2 a/x rpm", "reserve 2 #2"),
            (400, "granted 2", "start 2 #2"),
            (400, "left 2", "complete 2 #2"),
            (401, "completed 2 refused", "forget 2 LeftToExpire"),
        ],
    );
}

#[test]
fn what_waits_counts_against_its_queue_and_all_queues_and_what_runs_does_not() {
    let full = "the queue is full";
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
            (2, "left 6", "forget 6 NotGranted"),
            (2, "left 4", ""),
            (2, "refused 4", "forget 4 NotGranted"),
            (2, "refused 2", "fail 2: the limiter is closed, forget 2 NotGranted"),
            (2, "left 1", "complete 1 #1"),
            (2, "completed 1", "forget 1 Completed"),
        ],
    );
}

#[test]
fn shutdown_tells_those_who_wait_and_lets_the_others_end() {
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
            (90, "left 1", "complete 1 #1"),
            (91, "completed 1", "forget 1 Completed"),
        ],
    );
}
