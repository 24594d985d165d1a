//! Buckets with the largest and smallest legal numbers: no sequence of operations destroys or makes capacity.

use std::time::Duration;

use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::{LeaseId, REFILL_INTERVAL_MS_MAX};
use proptest::prelude::*;

use super::block_on;
use crate::fixtures::*;
use crate::memory::MemoryBackend;

const NAME: &str = "bucket";
const LARGEST: u64 = i64::MAX as u64;
const LEASES: usize = 6;

/// An operation on the bucket. Leases are named by their index.
#[derive(Debug, Clone)]
enum Operation {
    Put { capacity: u64, refill_amount: u64, refill_interval_ms: u64 },
    ReserveAhead { lease: usize, tokens: u64 },
    Take { lease: usize, tokens: u64 },
    Cancel { lease: usize },
    Complete { lease: usize, used: u64 },
    Release { tokens: u64 },
    ApplyDecreases,
    Pass { ms: u64 },
}

fn extreme(largest: u64) -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => Just(largest),
        1 => Just(largest - 1),
        1 => Just(largest / 2 + 1),
        2 => Just(1),
        1 => Just(2),
        1 => 1..=largest,
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let put = (extreme(LARGEST), extreme(LARGEST), extreme(REFILL_INTERVAL_MS_MAX));
    prop_oneof![
        3 => put.prop_map(|(capacity, refill_amount, refill_interval_ms)| {
            Operation::Put { capacity, refill_amount, refill_interval_ms }
        }),
        6 => (0..LEASES, extreme(LARGEST)).prop_map(|(lease, tokens)| Operation::ReserveAhead { lease, tokens }),
        2 => (0..LEASES, extreme(LARGEST)).prop_map(|(lease, tokens)| Operation::Take { lease, tokens }),
        2 => (0..LEASES).prop_map(|lease| Operation::Cancel { lease }),
        2 => (0..LEASES, 0..=LARGEST).prop_map(|(lease, used)| Operation::Complete { lease, used }),
        1 => extreme(LARGEST).prop_map(|tokens| Operation::Release { tokens }),
        1 => Just(Operation::ApplyDecreases),
        2 => extreme(REFILL_INTERVAL_MS_MAX).prop_map(|ms| Operation::Pass { ms }),
    ]
}

/// The bucket, with all leases that its operations name.
struct Bucket {
    backend: MemoryBackend,
    replica: Replica<<MemoryBackend as Backend>::Ledger>,
    leases: [LeaseId; LEASES],
}

impl Bucket {
    async fn new() -> Self {
        let backend = MemoryBackend::new();
        let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
        let bucket = Self { backend, replica, leases: std::array::from_fn(|_| lease()) };
        bucket.put(LARGEST, 1, 1).await;
        bucket
    }

    async fn put(&self, capacity: u64, refill_amount: u64, refill_interval_ms: u64) {
        self.replica.put(token_bucket(NAME, capacity, refill_amount, refill_interval_ms)).await;
    }

    async fn run(&self, operation: &Operation) {
        let key = key(NAME);
        let (object, leases) = (self.replica.limiter().object(&key), self.leases);
        match *operation {
            Operation::Put { capacity, refill_amount, refill_interval_ms } => {
                self.put(capacity, refill_amount, refill_interval_ms).await;
            }
            Operation::ReserveAhead { lease, tokens } => {
                // A lease that was used for other tokens is an error, and takes nothing.
                if let Ok(reservation) = object.reserve(amount(tokens), leases[lease]).await {
                    let wait_ms = reservation.date_to_act.saturating_sub(reservation.creation_date);
                    assert!(wait_ms <= REFILL_INTERVAL_MS_MAX, "{reservation:?}");
                }
            }
            Operation::Take { lease, tokens } => {
                self.replica.reserve(leases[lease], &[(NAME, tokens)]).await;
            }
            Operation::Cancel { lease } => {
                object.cancel(leases[lease]).await.expect("the ledger answers");
            }
            Operation::Complete { lease, used } => {
                self.replica.complete(leases[lease], &[(NAME, used)]).await;
            }
            Operation::Release { tokens } => {
                object.release(amount(tokens), release_id()).await.expect("the ledger answers");
            }
            Operation::ApplyDecreases => {
                self.replica.admin().apply_decreases().await.expect("the ledger answers");
            }
            Operation::Pass { ms } => self.backend.clock.advance(Duration::from_millis(ms)),
        }
    }

    /// Checks that no capacity was destroyed or made, and that the state agrees with the accounts.
    async fn check(&self) {
        let info = self.replica.info(NAME).await;
        let capacity = u128::from(info.state().definition.capacity);
        assert_eq!(info.available + info.reserved, capacity, "{info:?}");
        let key = key(NAME);
        let state = self.replica.limiter().object(&key).state().await.expect("the ledger answers");
        assert_eq!(u128::from(state.tokens.max(0).unsigned_abs()), info.available, "{state:?}");
        let borrowed = info.limit().borrowed_account().expect("buckets lend");
        let accounts = self.replica.ledger.accounts(vec![borrowed]).await.expect("the ledger answers");
        let owed = accounts[0].expect("it was created").owed();
        assert_eq!(u128::from(state.tokens.min(0).unsigned_abs()), owed, "what is owed is told exactly");
    }

    /// Refills fast until everything is repaid.
    async fn fill(&self) {
        self.replica.admin().apply_decreases().await.expect("the ledger answers");
        let capacity = self.replica.info(NAME).await.state().definition.capacity.get();
        self.put(capacity, LARGEST, 1).await;
        self.backend.clock.advance(Duration::from_secs(1));
        assert_eq!(
            self.replica.usage(NAME).await.available,
            u128::from(capacity),
            "all of it is available again"
        );
    }
}

#[test]
fn a_bucket_that_lends_all_it_has_keeps_its_capacity() {
    block_on(async {
        let bucket = Bucket::new().await;
        bucket.put(LARGEST, LARGEST, 1_000).await;
        for lease in 0..3 {
            bucket.run(&Operation::ReserveAhead { lease, tokens: LARGEST }).await;
            bucket.check().await;
        }
        let key = key(NAME);
        let state = bucket.replica.limiter().object(&key).state().await.expect("the ledger answers");
        assert_eq!(state.tokens, -i64::MAX, "the third finds the most owed that a bucket may owe");
        bucket.put(LARGEST, LARGEST, 2_000).await;
        bucket.check().await;
        bucket.fill().await;
    });
}

#[test]
fn a_bucket_whose_rate_changes_once_a_year_is_refilled() {
    block_on(async {
        let bucket = Bucket::new().await;
        for refill_interval_ms in [REFILL_INTERVAL_MS_MAX / 2 + 1, 1, REFILL_INTERVAL_MS_MAX] {
            bucket.run(&Operation::Pass { ms: REFILL_INTERVAL_MS_MAX }).await;
            bucket.put(LARGEST, LARGEST, refill_interval_ms).await;
        }
        bucket.run(&Operation::ReserveAhead { lease: 0, tokens: LARGEST }).await;
        bucket.check().await;
        bucket.fill().await;
    });
}

proptest! {
    #[test]
    fn no_sequence_of_operations_destroys_capacity(operations in prop::collection::vec(operation(), 1..40)) {
        block_on(async {
            let bucket = Bucket::new().await;
            for operation in &operations {
                bucket.run(operation).await;
                bucket.check().await;
            }
            bucket.fill().await;
        });
    }
}
