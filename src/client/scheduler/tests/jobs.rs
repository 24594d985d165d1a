//! Jobs over a limiter that takes 10 ms for a call.

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
async fn a_job_runs_under_a_lease_and_settles_what_it_said_it_used() {
    let limiter = ScriptedLimiter::new(&[("slots", 1), ("tokens", 100)]);
    let scheduler = start(&limiter, OPTIONS);
    let work = async |permit: Permit| {
        permit.used(&key("tokens"), 70).expect("reserved");
        permit.used(&key("tokens"), 30).expect("reserved");
        assert_eq!(permit.used(&key("other"), 1), Err(NotReserved { key: key("other") }));
        permit.lease()
    };
    let lease = scheduler.run(job("j", "p", &[("slots", 1), ("tokens", 50)]), work).await.expect("it ran");
    scheduler.shutdown().await;
    assert_eq!(limiter.books().settled, [(lease, vec![("tokens".to_owned(), 30)])]);
    assert_eq!(limiter.books().attempts, [("j".to_owned(), lease)]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_panics_is_completed_and_told() {
    let limiter = ScriptedLimiter::new(&[("slots", 1)]);
    let scheduler = start(&limiter, OPTIONS);
    let work = async |permit: Permit| {
        permit.used(&key("slots"), 1).expect("reserved");
        panic!("out of {}", "luck")
    };
    let panicked = scheduler.run(job("j", "p", &[("slots", 1)]), work).await;
    assert!(
        matches!(panicked, Err::<(), _>(ScheduleError::Panicked { message }) if message == "out of luck")
    );
    // Nor does one that fails before it begins.
    let begins = |_permit: Permit| -> std::future::Ready<()> { panic!("no luck at all") };
    let panicked = scheduler.run(job("j", "p", &[("slots", 1)]), begins).await;
    assert!(matches!(panicked, Err(ScheduleError::Panicked { message }) if message == "no luck at all"));
    scheduler.shutdown().await;
    assert_eq!(limiter.books().settled.len(), 2);
    assert!(limiter.books().live.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_blocked_provider_holds_up_no_other() {
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
        // Its own attempt, and at most one of the other provider before it.
        assert!(before.elapsed() <= Duration::from_millis(20), "{:?}", before.elapsed());
    }
    drop(blocker);
    while let Some(ran) = waiting.join_next().await {
        ran.expect("no panic").expect("it ran");
    }
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(limiter.books().granted, 26);
}

#[tokio::test(start_paused = true)]
async fn who_is_denied_comes_back_with_a_new_lease_id_when_the_hint_is_over() {
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
    // An attempt, the hint with up to 10 ms of jitter, another attempt.
    let waited = started.elapsed();
    assert!((Duration::from_millis(120)..=Duration::from_millis(131)).contains(&waited), "{waited:?}");
    let leases: Vec<_> = limiter.books().attempts.iter().map(|(_, lease)| *lease).collect();
    assert_eq!(leases.len(), 3);
    assert_ne!(leases[1], leases[2]);
    assert_eq!(second.expect("a free slot").lease(), leases[2]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_is_asked_for_again_under_the_same_lease_id() {
    // Of the reserve, then of the complete.
    let limiter = ScriptedLimiter::new(&[("slots", 1)]).losing([0, 1, 3]);
    let scheduler = start(&limiter, OPTIONS);
    scheduler.run(job("j", "p", &[("slots", 1)]), async |_| ()).await.expect("it ran");
    scheduler.shutdown().await;
    let books = limiter.books();
    assert_eq!((books.granted, books.settled.len(), books.calls), (1, 1, 5));
    assert!(books.attempts.iter().all(|attempt| *attempt == books.attempts[0]));
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_is_told_why() {
    let limiter = ScriptedLimiter::new(&[("slots", 1)]).losing(1..100);
    let scheduler = start(&limiter, OPTIONS);
    let unknown_key = scheduler.acquire(job("j", "p", &[("nothing", 1)])).await.err();
    assert!(
        matches!(unknown_key, Some(ScheduleError::Never(Denial::UnknownKey { key: name })) if name == key("nothing"))
    );
    let lost = scheduler.acquire(job("j", "p", &[("slots", 1)])).await.err();
    assert!(matches!(lost, Some(ScheduleError::Call(CallError::Unknown(_)))), "{lost:?}");
    scheduler.shutdown().await;
    let books = limiter.books();
    assert_eq!((books.granted, books.settled.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_what_runs_and_tells_what_waits() {
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
    // Until it was dropped, and completed. Timers are a millisecond coarse.
    assert!((510..=512).contains(&took.as_millis()), "{took:?}");
    assert!(matches!(
        scheduler.acquire(job("late", "p", &[("slots", 1)])).await.err(),
        Some(ScheduleError::ShutDown)
    ));
    // Another one has nothing left to do.
    scheduler.shutdown().await;
    let books = limiter.books();
    assert_eq!((books.granted, books.settled.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn without_handles_the_scheduler_ends_when_its_jobs_have() {
    let limiter = ScriptedLimiter::new(&[("slots", 1)]);
    let scheduler = start(&limiter, OPTIONS);
    let permit = scheduler.acquire(job("runs", "p", &[("slots", 1)])).await.expect("a free slot");
    drop(scheduler);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(limiter.books().live.len(), 1);
    drop(permit);
    sleep(Duration::from_millis(20)).await;
    assert!(limiter.books().live.is_empty());
    // The scheduler held the other one.
    assert_eq!(limiter.holders(), 1);
}

/// Tells what it hears, and panics every time.
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Observer for Recorder {
    fn observe(&mut self, queue: &QueueKey, event: &SchedulerEvent<'_>) {
        let told = match event {
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
        self.0.lock().expect("not poisoned").push(format!("{}/{}: {told}", queue.provider(), queue.model()));
        panic!("observers may be broken");
    }
}

#[tokio::test(start_paused = true)]
async fn the_observer_hears_everything_and_can_break_nothing() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let limiter = ScriptedLimiter::new(&[("slots", 1)]).losing([0]);
    let scheduler = Scheduler::start(limiter.clone(), OPTIONS, Recorder(Arc::clone(&heard)));
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
    assert_eq!(*heard.lock().expect("not poisoned"), expected);
}
