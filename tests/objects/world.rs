//! One bucket on paused time, and the steps that tests take with it.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::client::{BucketObject, BucketReservation, InProcess, IntoDefinition};
use ledger_limiter::ledger::memory::MemoryLedger;
use ledger_limiter::testing::TokioClock;
use tokio::time::{Instant, sleep_until};

/// The key of the bucket that most tests use.
pub const KEY: &str = "calls";

/// Times of steps count in this unit.
pub const TENTH: Duration = Duration::from_millis(100);

pub type Home = InProcess<MemoryLedger<Arc<TokioClock>>>;
pub type Bucket = BucketObject<Home>;
pub type Reservation = BucketReservation<Home>;

/// A call of an object.
#[derive(Debug, Clone, Copy)]
pub enum Call {
    /// Takes as many tokens if they are available.
    Allow(u64),
    /// Takes tokens that may only be available later.
    Reserve(u64),
    /// The same, but only if they are available in so many tenths of a second.
    ReserveWithin(u64, u32),
    /// Cancels a reservation: the first one that was made is 0.
    Cancel(usize),
    Release(u64),
    SetLimit(f64),
    SetBurst(u64),
    /// The tokens available less those owed.
    Tokens,
}

/// What a call answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Yes,
    No,
    /// Reserved, to act at so many tenths of a second.
    At(u128),
    /// So many tokens.
    Left(i64),
}

/// When, in tenths of a second since the bucket was defined; the call; its answer.
pub type Step = (u32, Call, Answer);

pub struct World {
    pub home: Arc<Home>,
    pub clock: Arc<TokioClock>,
    pub bucket: Bucket,
    started: Instant,
    reservations: Vec<Reservation>,
}

impl World {
    /// A bucket that was defined just now.
    pub async fn new(limit: impl IntoDefinition) -> Self {
        let clock = Arc::new(TokioClock::new());
        let home = InProcess::with_clock(Arc::clone(&clock), [limit]).await.expect("the limit is valid");
        let home = Arc::new(home);
        let bucket = BucketObject::new(Arc::clone(&home), KEY).expect("a valid key");
        Self { home, clock, bucket, started: Instant::now(), reservations: Vec::new() }
    }

    /// Takes the steps, and checks each answer.
    pub async fn run(&mut self, steps: &[Step]) {
        for (index, &(at, call, expected)) in steps.iter().enumerate() {
            sleep_until(self.started + TENTH * at).await;
            assert_eq!(self.answer(call).await, expected, "step {index}: {call:?} at {at}");
        }
    }

    async fn answer(&mut self, call: Call) -> Answer {
        let answered = "an answer";
        match call {
            Call::Allow(tokens) => yes(self.bucket.allow_n(tokens).await.expect(answered)),
            Call::Reserve(tokens) => {
                let reservation = self.bucket.reserve(tokens).await.expect(answered);
                self.reserved(reservation)
            }
            Call::ReserveWithin(tokens, tenths) => {
                let reservation = self.bucket.reserve_within(tokens, TENTH * tenths).await.expect(answered);
                self.reserved(reservation)
            }
            Call::Cancel(index) => yes(self.reservations[index].cancel().await.expect(answered)),
            Call::Release(tokens) => {
                let available = self.bucket.release(tokens).await.expect(answered);
                Answer::Left(available.try_into().expect("few tokens"))
            }
            Call::SetLimit(limit) => {
                self.bucket.set_limit(limit).await.expect(answered);
                Answer::Yes
            }
            Call::SetBurst(burst) => {
                self.bucket.set_burst(burst).await.expect(answered);
                Answer::Yes
            }
            Call::Tokens => Answer::Left(self.bucket.state().await.expect(answered).tokens),
        }
    }

    fn reserved(&mut self, reservation: Reservation) -> Answer {
        let answer = if reservation.ok() {
            let acts_after = self.started.elapsed() + reservation.delay();
            // Refills are at whole milliseconds, so a date may be rounded up.
            Answer::At(acts_after.as_millis() / TENTH.as_millis())
        } else {
            Answer::No
        };
        self.reservations.push(reservation);
        answer
    }
}

/// Takes the steps with a fresh bucket.
pub async fn run(limit: impl IntoDefinition, steps: &[Step]) {
    World::new(limit).await.run(steps).await;
}

fn yes(is_so: bool) -> Answer {
    if is_so { Answer::Yes } else { Answer::No }
}
