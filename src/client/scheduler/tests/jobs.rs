//! Jobs over a scripted limiter that takes 10 ms for a call.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::{
    Job, NotReserved, Observer, Permit, QueueKey, ScheduleError, Scheduler, SchedulerEvent, SchedulerOptions,
};
use super::limiter::ScriptedLimiter;
use super::{OPTIONS, key};
use crate::client::{CallError, Denial, Requirements};

fn job(name: &str, provider: &str, wants: &[(&str, u64)]) -> Job {
    let wants = Requirements::new(wants.iter().copied()).and_then(|wants| wants.with_job_id(name));
    Job { queue: QueueKey::new(provider, "m"), wants: wants.expect("valid") }
}

fn start(limiter: &ScriptedLimiter, options: SchedulerOptions) -> Scheduler {
    Scheduler::start(limiter.clone(), options, ())
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_under_a_lease_and_completes_it_with_the_amounts_used() {
    let limiter = ScriptedLimiter::new(&[("slots", 1), ("tokens", 100)]);
    let scheduler = start(&limiter, OPTIONS);
    let work = async |permit: Permit| {
        permit.used("tokens", 70).expect("reserved");
        permit.used("tokens", 30).expect("reserved");
        assert_eq!(permit.used("other", 1), Err(NotReserved { key: "other".to_owned() }));
        permit.lease()
    };
    let lease = scheduler.run(job("j", "p", &[("slots", 1), ("tokens", 50)]), work).await.expect("it ran");
    scheduler.shutdown().await;
    assert_eq!(limiter.state().settled, [(lease, vec![("tokens".to_owned(), 30)])]);
    assert_eq!(limiter.state().attempts, [("j".to_owned(), lease)]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_panics_fails_and_its_lease_is_completed() {
    let limiter = ScriptedLimiter::new(&[("slots", 1)]);
    let scheduler = start(&limiter, OPTIONS);
    let work = async |permit: Permit| {
        permit.used("slots", 1).expect("reserved");
        panic!("out of {}", "luck")
    };
    let panicked = scheduler.run(job("j", "p", &[("slots", 1)]), work).await;
    assert!(
        matches!(panicked, Err::<(), _>(ScheduleError::Panicked { message }) if message == "out of luck")
    );
    // The work panics before it returns its future.
    let panics_at_once = |_permit: Permit| -> std::future::Ready<()> { panic!("no luck at all") };
    let panicked = scheduler.run(job("j", "p", &[("slots", 1)]), panics_at_once).await;
    assert!(matches!(panicked, Err(ScheduleError::Panicked { message }) if message == "no luck at all"));
    scheduler.shutdown().await;
    assert_eq!(limiter.state().settled.len(), 2);
    assert!(limiter.state().live.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_blocked_provider_delays_no_other() {
    let limiter = ScriptedLimiter::new(&[("slow", 1), ("quick", 100)]);
    let scheduler = start(&limiter, SchedulerOptions { reserves_in_flight_max: 1, ..OPTIONS });
    let started = Instant::now();
    let blocker = scheduler.acquire(job("first", "slow", &[("slow", 1)])).await.expect("a free slot");
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let scheduler = scheduler.clone();
        waiting.spawn(async move { scheduler.run(job("waits", "slow", &[("slow", 1)]), async |_| ()).await });
    }
    sleep(Duration::from_millis(1)).await;
    for _ in 0..5 {
        let before = Instant::now();
        scheduler.run(job("quick", "quick", &[("quick", 1)]), async |_| ()).await.expect("it ran");
        // The attempt takes 10 ms, and at most one attempt of the other provider comes before it.
        assert!(before.elapsed() <= Duration::from_millis(20), "{:?}", before.elapsed());
    }
    drop(blocker);
    while let Some(ran) = waiting.join_next().await {
        ran.expect("no panic").expect("it ran");
    }
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(limiter.state().granted, 26);
}

#[tokio::test(start_paused = true)]
async fn a_denied_job_tries_again_after_the_hint_with_a_fresh_lease_id() {
    let limiter = ScriptedLimiter::new(&[("slots", 1)]);
    let scheduler = start(&limiter, OPTIONS);
    let first = scheduler.acquire(job("first", "p", &[("slots", 1)])).await.expect("a free slot");
    let started = Instant::now();
    let second = scheduler.acquire(job("second", "p", &[("slots", 1)]));
    let release = async {
        sleep(Duration::from_millis(50)).await;
        drop(first);
    };
    let (second, ()) = tokio::join!(second, release);
    // An attempt of 10 ms, the hint of 100 ms with up to 10 ms of jitter, another attempt of 10 ms.
    let waited = started.elapsed();
    assert!((Duration::from_millis(120)..=Duration::from_millis(131)).contains(&waited), "{waited:?}");
    let leases: Vec<_> = limiter.state().attempts.iter().map(|(_, lease)| *lease).collect();
    assert_eq!(leases.len(), 3);
    assert_ne!(leases[1], leases[2]);
    assert_eq!(second.expect("a free slot").lease(), leases[2]);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_answer_is_lost_is_repeated_with_the_same_lease_id() {
    // Calls 0 and 1 are reserves, call 3 is a complete.
    let limiter = ScriptedLimiter::new(&[("slots", 1)]).losing([0, 1, 3]);
    let scheduler = start(&limiter, OPTIONS);
    scheduler.run(job("j", "p", &[("slots", 1)]), async |_| ()).await.expect("it ran");
    scheduler.shutdown().await;
    let state = limiter.state();
    assert_eq!(state.granted, 1);
    assert_eq!(state.settled.len(), 1);
    assert_eq!(state.calls, 5);
    assert!(state.attempts.iter().all(|attempt| *attempt == state.attempts[0]));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_never_starts_fails_with_the_reason() {
    let limiter = ScriptedLimiter::new(&[("slots", 1)]).losing(1..100);
    let scheduler = start(&limiter, OPTIONS);
    let unknown_key = scheduler.acquire(job("j", "p", &[("nothing", 1)])).await.err();
    assert!(
        matches!(unknown_key, Some(ScheduleError::Never(Denial::UnknownKey { key: name })) if name == key("nothing"))
    );
    let lost = scheduler.acquire(job("j", "p", &[("slots", 1)])).await.err();
    assert!(matches!(lost, Some(ScheduleError::Call(CallError::Unknown { .. }))), "{lost:?}");
    scheduler.shutdown().await;
    let state = limiter.state();
    assert_eq!(state.granted, 1);
    assert_eq!(state.settled.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_running_jobs_and_fails_waiting_jobs() {
    let limiter = ScriptedLimiter::new(&[("slots", 1)]);
    let scheduler = start(&limiter, OPTIONS);
    let runs = scheduler.acquire(job("runs", "p", &[("slots", 1)])).await.expect("a free slot");
    let waits = scheduler.acquire(job("waits", "p", &[("slots", 1)]));
    let shutdown = async {
        sleep(Duration::from_millis(30)).await;
        let begun = Instant::now();
        tokio::join!(scheduler.shutdown(), async {
            sleep(Duration::from_millis(500)).await;
            drop(runs);
        });
        begun.elapsed()
    };
    let (waits, took) = tokio::join!(waits, shutdown);
    assert!(matches!(waits.err(), Some(ScheduleError::ShutDown)));
    // 500 ms until the permit is dropped, 10 ms to complete the lease. Timers are exact to a millisecond.
    assert!((510..=512).contains(&took.as_millis()), "{took:?}");
    assert!(matches!(
        scheduler.acquire(job("late", "p", &[("slots", 1)])).await.err(),
        Some(ScheduleError::ShutDown)
    ));
    // A second shutdown ends at once.
    scheduler.shutdown().await;
    let state = limiter.state();
    assert_eq!(state.granted, 1);
    assert_eq!(state.settled.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_scheduler_without_handles_ends_after_its_last_job() {
    let limiter = ScriptedLimiter::new(&[("slots", 1)]);
    let scheduler = start(&limiter, OPTIONS);
    let permit = scheduler.acquire(job("runs", "p", &[("slots", 1)])).await.expect("a free slot");
    drop(scheduler);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(limiter.state().live.len(), 1);
    drop(permit);
    sleep(Duration::from_millis(20)).await;
    assert!(limiter.state().live.is_empty());
    // The scheduler has dropped its clone.
    assert_eq!(limiter.clones(), 1);
}

/// Records the events as texts, and panics at each.
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Observer for Recorder {
    fn observe(&mut self, queue: &QueueKey, event: &SchedulerEvent<'_>) {
        let text = match event {
            SchedulerEvent::Queued { jobs_waiting } => format!("queued, {jobs_waiting}"),
            SchedulerEvent::Attempted { .. } => "attempted".to_owned(),
            SchedulerEvent::Denied { key, retry_after } => format!("denied by {key} for {retry_after:?}"),
            SchedulerEvent::Unknown => "unknown".to_owned(),
            SchedulerEvent::Started { .. } => "started".to_owned(),
            SchedulerEvent::Failed { error } => format!("failed, {error}"),
            SchedulerEvent::Ended { .. } => "ended".to_owned(),
            SchedulerEvent::Completed => "completed".to_owned(),
            SchedulerEvent::LeftToExpire => "left to expire".to_owned(),
        };
        self.0.lock().expect("not poisoned").push(format!("{}/{}: {text}", queue.provider(), queue.model()));
        panic!("a broken observer");
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_still_gets_every_event() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let limiter = ScriptedLimiter::new(&[("slots", 1)]).losing([0]);
    let scheduler = Scheduler::start(limiter.clone(), OPTIONS, Recorder(Arc::clone(&events)));
    let first = scheduler.acquire(job("j", "p", &[("slots", 1)])).await.expect("a free slot");
    let second = scheduler.acquire(job("j", "q", &[("slots", 1)]));
    let shutdown = async {
        sleep(Duration::from_millis(30)).await;
        drop(first);
        scheduler.shutdown().await;
    };
    tokio::join!(shutdown, async { second.await.err() });
    let expected = [
        "p/m: queued, 1",
        "p/m: attempted",
        "p/m: unknown",
        "p/m: attempted",
        "p/m: started",
        "q/m: queued, 1",
        "q/m: attempted",
        "q/m: denied by slots for 100ms",
        "p/m: ended",
        "q/m: failed, the scheduler is shut down",
        "p/m: completed",
    ];
    assert_eq!(*events.lock().expect("not poisoned"), expected);
}
